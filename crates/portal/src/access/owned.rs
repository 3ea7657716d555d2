//! An instance that the user may see and change, and everything that a page does with it.

use axum::{extract::FromRequestParts, http::request::Parts};
use futures::stream::BoxStream;
use startclaw_engine::{
    AccessGuard, EngineError, HostError, InstanceStatus, LogRequest, LoginToken, RestoreRequest,
    Sample, SecretInfo, Subject, TelegramStatus,
};
use startclaw_model::{
    DeletionPolicy, Event, Name, Operation, Secret, SecretName, Snapshot, SnapshotChoice,
    SnapshotId,
};

use super::{CurrentUser, Portal, parameter};
use crate::{Settings, answer::Rejection, error::RejectionKind, frame::Site};

/// Operations among which an unfinished one is looked for.
const NEWEST: u32 = 5;

/// An instance that the user may see and change. Every method is about this instance.
pub(crate) struct OwnedInstance {
    user: CurrentUser,
    status: InstanceStatus,
}

impl OwnedInstance {
    pub fn user(&self) -> &CurrentUser {
        &self.user
    }

    /// Its status, as of this request.
    pub fn status(&self) -> &InstanceStatus {
        &self.status
    }

    pub fn name(&self) -> &Name {
        &self.status.name
    }

    pub fn settings(&self) -> &Settings {
        self.user.settings()
    }

    pub fn site(&self) -> Site {
        self.user.site()
    }

    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.user.refuse(why)
    }

    /// Creates a login token that ends with the user's session.
    pub async fn create_login_token(&self) -> Result<LoginToken, Rejection> {
        let session = Some(self.user.signed_in.session.hash.clone());
        let engine = self.user.engine();
        let token = engine.create_login_token(&self.user.actor(), &self.status, session).await;
        token.map_err(|e| self.refuse(e))
    }

    pub async fn restart(&self) -> Result<Operation, EngineError> {
        self.user.engine().restart(&self.user.actor(), &self.status, None).await
    }

    pub async fn back_up(&self) -> Result<Operation, EngineError> {
        self.user.engine().backup(&self.user.actor(), &self.status).await
    }

    /// Restores one of its backups in place.
    pub async fn restore(&self, snapshot: &SnapshotId) -> Result<Operation, EngineError> {
        let request = RestoreRequest {
            name: self.name().clone(),
            instance: Some(self.status.id.clone()),
            snapshot: SnapshotChoice::Id(snapshot.to_string()),
            as_name: None,
        };
        self.user.engine().restore(&self.user.actor(), request, None).await
    }

    pub async fn undo_restore(&self) -> Result<Operation, EngineError> {
        self.user.engine().undo_restore(&self.user.actor(), &self.status, None).await
    }

    pub async fn deprovision(&self, policy: DeletionPolicy) -> Result<Operation, EngineError> {
        let engine = self.user.engine();
        engine.deprovision(&self.user.actor(), &self.status, policy, None).await
    }

    pub async fn set_secret(
        &self,
        name: SecretName,
        value: Secret,
    ) -> Result<Operation, EngineError> {
        let engine = self.user.engine();
        engine.set_secret(&self.user.actor(), &self.status, name, value, None).await
    }

    /// Its secrets, without their values.
    pub async fn secrets(&self) -> Result<Vec<SecretInfo>, Rejection> {
        self.user.engine().secrets(&self.status).await.map_err(|e| self.refuse(e))
    }

    pub async fn backups(&self) -> Result<Vec<Snapshot>, Rejection> {
        self.user.engine().backups(&self.status).await.map_err(|e| self.refuse(e))
    }

    /// Its newest events first, at most `limit`.
    pub async fn events(&self, limit: u32) -> Result<Vec<Event>, Rejection> {
        let events = self.user.engine().own_events(&self.status, limit).await;
        events.map_err(|e| self.refuse(e))
    }

    /// Its newest unfinished operation.
    pub async fn open_operation(&self) -> Result<Option<Operation>, Rejection> {
        let all = self.user.engine().own_operations(&self.status, NEWEST).await;
        let all = all.map_err(|e| self.refuse(e))?;
        Ok(all.into_iter().find(|o| !o.state.is_over()))
    }

    /// Its usage over the last hours, oldest first.
    pub fn usage(&self) -> Vec<Sample> {
        self.user.engine().usage(&self.status)
    }

    pub async fn logs(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, Rejection> {
        let lines = self.user.engine().logs(&self.status, request).await;
        lines.map_err(|e| self.refuse(e))
    }

    /// The status of its bot, queried from the instance.
    pub async fn telegram(&self) -> Result<TelegramStatus, Rejection> {
        self.user.engine().telegram(&self.status).await.map_err(|e| self.refuse(e))
    }

    /// Approves a Telegram user, by id.
    pub async fn approve_telegram(&self, telegram_user: i64) -> Result<(), EngineError> {
        let engine = self.user.engine();
        engine.approve_telegram(&self.user.actor(), &self.status, telegram_user).await
    }

    /// Makes its bot answer approved users only.
    pub async fn close_telegram(&self) -> Result<(), EngineError> {
        self.user.engine().close_telegram(&self.user.actor(), &self.status).await
    }

    /// A permit for a stream about it, which ends when the user loses access.
    pub async fn open_stream(&self) -> Result<AccessGuard, Rejection> {
        self.user.open_stream(Subject::Instance(self.status.id.clone())).await
    }
}

impl FromRequestParts<Portal> for OwnedInstance {
    type Rejection = Rejection;

    /// Another account's instance is reported as not found.
    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let user = CurrentUser::from_request_parts(parts, portal).await?;
        let name = parameter(parts, portal, "name").await.and_then(|n| Name::parse(&n).ok());
        let Some(name) = name else { return Err(user.refuse(RejectionKind::Nothing)) };
        match portal.0.engine.status(&name).await {
            Ok(status) if user.signed_in.can_access(&status.name, status.account.as_ref()) => {
                Ok(Self { user, status })
            }
            _ => Err(user.refuse(RejectionKind::Nothing)),
        }
    }
}
