//! Server-sent events: parts of pages, as they change.

use std::convert::Infallible;

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use startclaw_engine::AccessGuard;

use crate::{Portal, error::RejectionKind};

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
    Sse::new(pieces).keep_alive(KeepAlive::default()).into_response()
}

/// A part of a page, as an event of the name that the page listens to.
pub(crate) fn piece(name: &str, html: &str) -> Event {
    // A carriage return would end the line.
    Event::default().event(name).data(html.replace('\r', ""))
}
