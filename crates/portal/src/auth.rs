//! Authentication and authorization of the portal: the one place where access is decided.
//!
//! A page that is for somebody takes a [`CurrentUser`]; one about an instance an [`OwnedInstance`];
//! one about an operation an [`VisibleOperation`]; one for admins an [`Admin`]. Such a value exists
//! only when the person may, and it alone leads to the engine: a page without a check cannot be
//! written.

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

/// The visitor, signed in or not.
pub(crate) struct MaybeUser {
    portal: Portal,
    user: Option<CurrentUser>,
    pub origin: Origin,
}

impl MaybeUser {
    /// Who it is, if they are signed in.
    pub fn user(&self) -> Option<&CurrentUser> {
        self.user.as_ref()
    }

    /// The accounts, to sign in or up.
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
    /// Who, with which session.
    pub fn signed_in(&self) -> &SignedIn {
        &self.signed_in
    }

    /// Who, for the audit trail.
    pub fn actor(&self) -> Actor {
        self.signed_in.actor()
    }

    /// The accounts, for what is about their own.
    pub fn accounts(&self) -> &Accounts {
        &self.portal.accounts
    }

    /// Their own instances, by name.
    pub async fn instances(&self) -> Result<Vec<InstanceStatus>, Rejection> {
        let all = self.portal.engine.status_all().await.map_err(|e| self.refuse(e))?;
        let own = &self.signed_in.account.id;
        Ok(all.into_iter().filter(|i| i.account.as_ref() == Some(own)).collect())
    }

    /// The engine, to make something that will be theirs.
    pub fn engine_for_new(&self) -> &Engine {
        &self.portal.engine
    }

    /// The right to a stream, which ends when they lose access.
    async fn open_stream(&self, subject: Subject) -> Result<AccessGuard, Rejection> {
        let holder = self.signed_in.holder();
        self.portal.engine.open_stream(holder, subject).await.map_err(|e| self.refuse(e))
    }

    /// Rejects the request.
    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.portal.refuse(why, Some(self))
    }
}

/// An instance that the user may see and change.
pub(crate) struct OwnedInstance {
    pub user: CurrentUser,
    /// The instance, as it is.
    pub instance: InstanceStatus,
}

impl OwnedInstance {
    /// The engine, for this instance.
    pub fn engine(&self) -> &Engine {
        &self.user.portal.engine
    }

    /// The right to a stream about it.
    pub async fn open_stream(&self) -> Result<AccessGuard, Rejection> {
        self.user.open_stream(Subject::Instance(self.instance.id.clone())).await
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.instance.name
    }

    /// Rejects the request.
    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.user.refuse(why)
    }
}

/// An operation that the person may see: of an instance of theirs, or one that they asked for when
/// the instance is gone.
pub(crate) struct VisibleOperation {
    pub user: CurrentUser,
    /// The operation, as it was when it was asked for.
    pub operation: Operation,
}

impl VisibleOperation {
    /// The right to a stream about it.
    pub async fn open_stream(&self) -> Result<AccessGuard, Rejection> {
        self.user.open_stream(Subject::operation(&self.operation)).await
    }

    /// The engine, for this operation.
    pub fn engine(&self) -> &Engine {
        &self.user.portal.engine
    }
}

/// An admin.
pub(crate) struct Admin {
    pub user: CurrentUser,
}

impl Admin {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.user.portal.engine
    }

    /// Rejects the request.
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

    /// Whoever is not signed in is sent to do so, and then to where they wanted.
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

    /// An instance that is somebody else's is one that does not exist.
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
        // Only Caddy gets here, and it says where from.
        address: startclaw_edge::client_address(headers)
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        device: device.unwrap_or_default().to_owned(),
    }
}
