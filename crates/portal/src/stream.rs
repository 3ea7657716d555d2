//! Server-sent events: pieces of pages, as things change.

use std::convert::Infallible;

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};

use crate::{Portal, error::Refusal};

/// Streams `pieces` until they end or the daemon does.
pub(crate) fn stream(
    portal: &Portal,
    pieces: impl Stream<Item = Event> + Send + 'static,
) -> Response {
    let Ok(place) = portal.streams.clone().try_acquire_owned() else {
        return Refusal::Busy.page(portal, None);
    };
    let stop = portal.settings.stop.clone();
    let pieces = pieces.take_until(stop.cancelled_owned()).map(move |event| {
        let _held = &place;
        Ok::<_, Infallible>(event)
    });
    Sse::new(pieces).keep_alive(KeepAlive::default()).into_response()
}

/// A piece of a page, under the name that the page listens to.
pub(crate) fn piece(name: &str, html: &str) -> Event {
    // A carriage return would end the line.
    Event::default().event(name).data(html.replace('\r', ""))
}
