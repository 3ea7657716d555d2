//! An operation that the user may see, and its progress.

use axum::{extract::FromRequestParts, http::request::Parts};
use futures::{Stream, StreamExt};
use startclaw_engine::{AccessGuard, Engine, Subject};
use startclaw_model::{InstanceState, Operation, OperationId};

use super::{CurrentUser, Portal, parameter};
use crate::{answer::Rejection, error::RejectionKind, frame::Site};

/// Changes that are waiting are merged into the newest one, at most this many.
const MERGED: usize = 64;

/// An operation that the user may see: of an instance that they can access, or one that they
/// requested if the instance is removed.
pub(crate) struct VisibleOperation {
    user: CurrentUser,
    operation: Operation,
}

impl VisibleOperation {
    pub fn user(&self) -> &CurrentUser {
        &self.user
    }

    pub fn site(&self) -> Site {
        self.user.site()
    }

    /// The operation, as of this request.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The state of its instance now; `None` when that is removed.
    pub async fn instance_state(&self) -> Option<InstanceState> {
        state_of(self.user.engine(), &self.operation).await
    }

    /// The operation as it changes until it is over, with the state of its instance.
    pub async fn changes(
        &self,
    ) -> Result<
        impl Stream<Item = (Operation, Option<InstanceState>)> + Send + 'static + use<>,
        Rejection,
    > {
        let engine = self.user.engine().clone();
        let changes = engine.watch(&self.operation.id).await.map_err(|e| self.user.refuse(e))?;
        Ok(changes.ready_chunks(MERGED).filter_map(move |mut news| {
            let engine = engine.clone();
            async move {
                let newest = news.pop()?;
                let state = state_of(&engine, &newest).await;
                Some((newest, state))
            }
        }))
    }

    /// A permit for a stream about it, which ends when the user loses access.
    pub async fn open_stream(&self) -> Result<AccessGuard, Rejection> {
        self.user.open_stream(Subject::operation(&self.operation)).await
    }
}

/// The state of the instance that an operation is about, and not of a later one with its name.
async fn state_of(engine: &Engine, operation: &Operation) -> Option<InstanceState> {
    engine.status(operation).await.ok().map(|status| status.state)
}

impl FromRequestParts<Portal> for VisibleOperation {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let user = CurrentUser::from_request_parts(parts, portal).await?;
        let Some(id) = parameter(parts, portal, "id").await else {
            return Err(user.refuse(RejectionKind::Nothing));
        };
        let Ok(operation) = portal.0.engine.operation(&OperationId(id)).await else {
            return Err(user.refuse(RejectionKind::Nothing));
        };
        let instance = portal.0.engine.status(&operation).await.ok();
        let principal = user.signed_in.principal();
        let may = match instance {
            Some(there) => principal.can_access(&there.name, there.account.as_ref()),
            None => principal.can_see_operation_of_removed(&operation.actor),
        };
        if may { Ok(Self { user, operation }) } else { Err(user.refuse(RejectionKind::Nothing)) }
    }
}
