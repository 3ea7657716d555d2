//! Streamed responses: limited in number, and ended when the daemon stops.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use futures::{Stream, StreamExt};
use startclaw_engine::AccessGuard;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::{
    problem::{Kind, Problem},
    shared::Shared,
};

/// A permit for one stream, released when the stream is dropped.
pub(crate) struct StreamPermit {
    permit: OwnedSemaphorePermit,
    stop: CancellationToken,
}

impl FromRequestParts<Shared> for StreamPermit {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        match shared.streams.clone().try_acquire_owned() {
            Ok(permit) => Ok(Self { permit, stop: shared.settings.stop.clone() }),
            Err(_) => Err(Problem::new(Kind::Unavailable, "too many streams are open; try again")
                .with(header::RETRY_AFTER, "5")),
        }
    }
}

impl StreamPermit {
    /// Streams `inner` until it ends, the caller loses access, or the daemon stops.
    pub(crate) fn carry<S: Stream + Send + 'static>(
        self,
        guard: AccessGuard,
        inner: S,
    ) -> impl Stream<Item = S::Item> + Send + 'static {
        let Self { permit, stop } = self;
        let end =
            futures::future::select(Box::pin(stop.cancelled_owned()), Box::pin(guard.ended()));
        inner.take_until(end).map(move |item| {
            let _held = (&permit, &guard);
            item
        })
    }
}
