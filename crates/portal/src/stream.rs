//! Server-sent events: parts of pages, as they change.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use startclaw_engine::AccessGuard;

use crate::{Portal, error::RejectionKind};

/// How often a silent stream shows that it is connected; the script of the pages waits three times
/// as long before it says that the connection is lost.
const ALIVE: Duration = Duration::from_secs(5);

/// Streams `pieces` until they end, the user loses access, or the daemon stops.
pub(crate) fn stream(
    portal: &Portal,
    guard: AccessGuard,
    pieces: impl Stream<Item = Event> + Send + 'static,
) -> Response {
    let Some(place) = portal.stream_permit() else {
        return RejectionKind::Busy.page(portal, None);
    };
    let stop = portal.settings().stop.clone();
    let end = futures::future::select(Box::pin(stop.cancelled_owned()), Box::pin(guard.ended()));
    let pieces = pieces.take_until(end).map(move |event| {
        let _held = (&place, &guard);
        Ok::<_, Infallible>(event)
    });
    Sse::new(pieces).keep_alive(alive()).into_response()
}

/// An event, and not a comment, of which a script learns nothing. Without data it would be none.
fn alive() -> KeepAlive {
    KeepAlive::new().interval(ALIVE).event(Event::default().event("alive").data("1"))
}

/// A part of a page, as an event of the name that the page listens to.
pub(crate) fn piece(name: &str, html: &str) -> Event {
    // A carriage return would end the line.
    Event::default().event(name).data(html.replace('\r', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_that_it_is_connected() {
        let silent = futures::stream::pending::<Result<Event, Infallible>>();
        let response = Sse::new(silent).keep_alive(alive()).into_response();
        let first = response.into_body().into_data_stream().next().await.unwrap().unwrap();
        assert_eq!(first, "event: alive\ndata: 1\n\n");
    }
}
