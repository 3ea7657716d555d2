//! Access: the only way from a page to the engine and to the accounts.
//!
//! [`Portal`] keeps both to itself. A handler reaches them through a value that exists only if
//! access was checked: a [`CurrentUser`] is signed in, an [`OwnedInstance`] is one that the user
//! may change, a [`VisibleOperation`] one that they may see, an [`Admin`] has admin rights, and a
//! [`MaybeUser`] is anyone. Their methods act on that user, instance or operation and take no name
//! of another, and their fields are private to this module: a page without a check cannot be
//! written.

mod account;
mod admin;
mod current_user;
mod maybe_user;
mod names;
mod owned;
mod visible;

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderValue, request::Parts},
};
use startclaw_accounts::{Accounts, SignUp};
use startclaw_engine::Engine;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Settings, check::Checker, guard};

pub(crate) use self::{
    admin::Admin,
    current_user::{CurrentUser, NewInstance},
    maybe_user::MaybeUser,
    names::Names,
    owned::OwnedInstance,
    visible::VisibleOperation,
};

/// Maximum number of concurrent streams (progress, logs); further ones are rejected as busy.
const STREAMS: usize = 1024;

/// The state of every page. What it offers to a handler needs no check of access.
#[derive(Clone)]
pub(crate) struct Portal(Arc<Inner>);

struct Inner {
    engine: Engine,
    accounts: Accounts,
    settings: Settings,
    check: Checker,
    policy: HeaderValue,
    streams: Arc<Semaphore>,
}

impl Portal {
    pub fn new(engine: Engine, accounts: Accounts, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            engine,
            accounts,
            check: Checker::new(settings.reach.clone()),
            policy: guard::policy(&settings.site),
            settings,
            streams: Arc::new(Semaphore::new(STREAMS)),
        }))
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The content security policy.
    pub fn policy(&self) -> HeaderValue {
        self.0.policy.clone()
    }

    /// Who may sign up.
    pub fn sign_up(&self) -> SignUp {
        self.0.accounts.settings().sign_up
    }

    /// Whether signing up begins with a link by mail.
    pub fn signs_up_by_mail(&self) -> bool {
        self.0.accounts.signs_up_by_mail()
    }

    /// Whether mail can be sent.
    pub fn has_mail(&self) -> bool {
        self.0.accounts.has_mail()
    }

    /// Room for one more stream, until it is dropped; `None` if there is none.
    pub fn stream_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.0.streams.clone().try_acquire_owned().ok()
    }
}

/// A parameter of the address, such as `name` of `/instances/{name}`.
async fn parameter(parts: &mut Parts, portal: &Portal, name: &str) -> Option<String> {
    let Path(all) =
        Path::<HashMap<String, String>>::from_request_parts(parts, portal).await.ok()?;
    all.get(name).cloned()
}
