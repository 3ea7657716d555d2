//! Authentication and authorization of the portal: the one place where access is decided.
//!
//! A page for signed-in users takes a [`CurrentUser`]; one about an instance an [`OwnedInstance`];
//! one about an operation a [`VisibleOperation`]; one for admins an [`Admin`]. Such a value exists
//! only if the user has access, and only through it does a handler get at the engine: a page
//! without a check cannot be written.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderMap, Method, header, request::Parts},
};
use startclaw_accounts::{Accounts, Origin, SignedIn};
use startclaw_engine::{AccessGuard, Engine, InstanceStatus, Subject};
use startclaw_model::{Actor, Name, Operation, OperationId};

use crate::{
    Portal,
    answer::{Rejection, go},
    cookie,
    error::RejectionKind,
};

/// The client of a request, signed in or not.
pub(crate) struct MaybeUser {
    portal: Portal,
    user: Option<CurrentUser>,
    pub origin: Origin,
}

impl MaybeUser {
    /// The user, if signed in.
    pub fn user(&self) -> Option<&CurrentUser> {
        self.user.as_ref()
    }

    /// The accounts, for signing in and signing up.
    pub fn accounts(&self) -> &Accounts {
        &self.portal.accounts
    }
}

/// A signed-in user.
#[derive(Clone)]
pub(crate) struct CurrentUser {
    portal: Portal,
    signed_in: SignedIn,
    pub origin: Origin,
}

impl CurrentUser {
    /// The account and its session.
    pub fn signed_in(&self) -> &SignedIn {
        &self.signed_in
    }

    /// The actor, for the audit log.
    pub fn actor(&self) -> Actor {
        self.signed_in.actor()
    }

    /// The accounts, for changes to the user's own account.
    pub fn accounts(&self) -> &Accounts {
        &self.portal.accounts
    }

    /// The user's own instances, by name.
    pub async fn instances(&self) -> Result<Vec<InstanceStatus>, Rejection> {
        let all = self.portal.engine.status_all().await.map_err(|e| self.refuse(e))?;
        let own = &self.signed_in.account.id;
        Ok(all.into_iter().filter(|i| i.account.as_ref() == Some(own)).collect())
    }

    /// The engine, for creating an instance of this user.
    pub fn engine_for_new(&self) -> &Engine {
        &self.portal.engine
    }

    /// A permit for a stream, which ends when the user loses access.
    async fn open_stream(&self, subject: Subject) -> Result<AccessGuard, Rejection> {
        let holder = self.signed_in.holder();
        self.portal.engine.open_stream(holder, subject).await.map_err(|e| self.refuse(e))
    }

    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.portal.refuse(why, Some(self))
    }
}

/// An instance that the user may see and change.
pub(crate) struct OwnedInstance {
    pub user: CurrentUser,
    pub instance: InstanceStatus,
}

impl OwnedInstance {
    pub fn engine(&self) -> &Engine {
        &self.user.portal.engine
    }

    /// A permit for a stream about this instance.
    pub async fn open_stream(&self) -> Result<AccessGuard, Rejection> {
        self.user.open_stream(Subject::Instance(self.instance.id.clone())).await
    }

    pub fn name(&self) -> &Name {
        &self.instance.name
    }

    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.user.refuse(why)
    }
}

/// An operation that the user may see: of an instance that they can access, or one that they
/// requested if the instance is removed.
pub(crate) struct VisibleOperation {
    pub user: CurrentUser,
    /// The operation, as of this request.
    pub operation: Operation,
}

impl VisibleOperation {
    /// A permit for a stream about this operation.
    pub async fn open_stream(&self) -> Result<AccessGuard, Rejection> {
        self.user.open_stream(Subject::operation(&self.operation)).await
    }

    pub fn engine(&self) -> &Engine {
        &self.user.portal.engine
    }
}

pub(crate) struct Admin {
    pub user: CurrentUser,
}

impl Admin {
    pub fn engine(&self) -> &Engine {
        &self.user.portal.engine
    }

    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.user.refuse(why)
    }
}

impl FromRequestParts<Portal> for MaybeUser {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let origin = origin_of(&parts.headers);
        let found = match cookie::read(&parts.headers, cookie::SESSION) {
            Some(value) => portal
                .accounts
                .authenticate(value, &origin)
                .await
                .map_err(|e| portal.refuse(e, None))?,
            None => None,
        };
        let user = found.map(|signed_in| CurrentUser {
            portal: portal.clone(),
            signed_in,
            origin: origin.clone(),
        });
        Ok(Self { portal: portal.clone(), user, origin })
    }
}

impl FromRequestParts<Portal> for CurrentUser {
    type Rejection = Rejection;

    /// Without a session: redirects to the sign-in page, and from there to the requested page.
    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let visitor = MaybeUser::from_request_parts(parts, portal).await?;
        visitor.user.ok_or_else(|| {
            let wanted = parts.uri.path();
            let reads = parts.method == Method::GET && wanted != "/instances";
            let to = if reads { format!("/sign-in?next={wanted}") } else { "/sign-in".to_owned() };
            Rejection(Box::new(go(&to)))
        })
    }
}

impl FromRequestParts<Portal> for OwnedInstance {
    type Rejection = Rejection;

    /// Another account's instance is reported as not found.
    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let user = CurrentUser::from_request_parts(parts, portal).await?;
        let name = parameter(parts, portal, "name").await.and_then(|n| Name::parse(&n).ok());
        let Some(name) = name else { return Err(user.refuse(RejectionKind::Nothing)) };
        match portal.engine.status(&name).await {
            Ok(instance)
                if user.signed_in.can_access(&instance.name, instance.account.as_ref()) =>
            {
                Ok(Self { user, instance })
            }
            _ => Err(user.refuse(RejectionKind::Nothing)),
        }
    }
}

impl FromRequestParts<Portal> for VisibleOperation {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let user = CurrentUser::from_request_parts(parts, portal).await?;
        let Some(id) = parameter(parts, portal, "id").await else {
            return Err(user.refuse(RejectionKind::Nothing));
        };
        let Ok(operation) = portal.engine.operation(&OperationId(id)).await else {
            return Err(user.refuse(RejectionKind::Nothing));
        };
        let instance = portal.engine.status(&operation.name).await.ok();
        let principal = user.signed_in.principal();
        let may = match instance.filter(|i| i.id == operation.instance) {
            Some(there) => principal.can_access(&there.name, there.account.as_ref()),
            None => principal.can_see_operation_of_removed(&operation.actor),
        };
        if may { Ok(Self { user, operation }) } else { Err(user.refuse(RejectionKind::Nothing)) }
    }
}

impl FromRequestParts<Portal> for Admin {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let user = CurrentUser::from_request_parts(parts, portal).await?;
        if user.signed_in.account.admin {
            Ok(Self { user })
        } else {
            Err(user.refuse(RejectionKind::NotAdmin))
        }
    }
}

async fn parameter(parts: &mut Parts, portal: &Portal, name: &str) -> Option<String> {
    let Path(all) =
        Path::<HashMap<String, String>>::from_request_parts(parts, portal).await.ok()?;
    all.get(name).cloned()
}

fn origin_of(headers: &HeaderMap) -> Origin {
    let device = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    Origin {
        // Only Caddy connects here; it forwards the client's address.
        address: startclaw_edge::client_address(headers)
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        device: device.unwrap_or_default().to_owned(),
    }
}
