//! Who looks, and what they may touch: the one place where that is decided.
//!
//! A page that is for somebody takes a [`Person`]; one about an instance an [`Own`]; one about an
//! operation an [`OwnOperation`]; one for admins an [`Admin`]. Such a value exists only when the person may, and it
//! alone leads to the engine: a page without a check cannot be written.

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
    answer::{Refused, go},
    cookie,
    error::Refusal,
};

/// Whoever looks, signed in or not.
pub(crate) struct Visitor {
    portal: Portal,
    person: Option<Person>,
    /// Where from.
    pub origin: Origin,
}

impl Visitor {
    /// Who it is, if they are signed in.
    pub fn person(&self) -> Option<&Person> {
        self.person.as_ref()
    }

    /// The accounts, to sign in or up.
    pub fn accounts(&self) -> &Accounts {
        &self.portal.accounts
    }
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(crate) struct Person {
    portal: Portal,
    signed_in: SignedIn,
    /// Where from.
    pub origin: Origin,
}

impl Person {
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
    pub async fn instances(&self) -> Result<Vec<InstanceStatus>, Refused> {
        let all = self.portal.engine.status_all().await.map_err(|e| self.refuse(e))?;
        let own = &self.signed_in.account.id;
        Ok(all.into_iter().filter(|i| i.account.as_ref() == Some(own)).collect())
    }

    /// The engine, to make something that will be theirs.
    pub fn engine_for_new(&self) -> &Engine {
        &self.portal.engine
    }

    /// The right to a stream, which ends when they lose access.
    async fn open_stream(&self, subject: Subject) -> Result<AccessGuard, Refused> {
        let holder = self.signed_in.holder();
        self.portal.engine.open_stream(holder, subject).await.map_err(|e| self.refuse(e))
    }

    /// Says no.
    pub fn refuse(&self, why: impl Into<Refusal>) -> Refused {
        self.portal.refuse(why, Some(self))
    }
}

/// An instance that the person may see and change.
pub(crate) struct Own {
    /// Who.
    pub person: Person,
    /// The instance, as it is.
    pub instance: InstanceStatus,
}

impl Own {
    /// The engine, for this instance.
    pub fn engine(&self) -> &Engine {
        &self.person.portal.engine
    }

    /// The right to a stream about it.
    pub async fn open_stream(&self) -> Result<AccessGuard, Refused> {
        self.person.open_stream(Subject::Instance(self.instance.id.clone())).await
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.instance.name
    }

    /// Says no.
    pub fn refuse(&self, why: impl Into<Refusal>) -> Refused {
        self.person.refuse(why)
    }
}

/// An operation that the person may see: of an instance of theirs, or one that they asked for when
/// the instance is gone.
pub(crate) struct OwnOperation {
    /// Who.
    pub person: Person,
    /// The operation, as it was when it was asked for.
    pub operation: Operation,
}

impl OwnOperation {
    /// The right to a stream about it.
    pub async fn open_stream(&self) -> Result<AccessGuard, Refused> {
        self.person.open_stream(Subject::operation(&self.operation)).await
    }

    /// The engine, for this operation.
    pub fn engine(&self) -> &Engine {
        &self.person.portal.engine
    }
}

/// An admin.
pub(crate) struct Admin {
    /// Who.
    pub person: Person,
}

impl Admin {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.person.portal.engine
    }

    /// Says no.
    pub fn refuse(&self, why: impl Into<Refusal>) -> Refused {
        self.person.refuse(why)
    }
}

impl FromRequestParts<Portal> for Visitor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Refused> {
        let origin = origin_of(&parts.headers);
        let found = match cookie::read(&parts.headers, cookie::SESSION) {
            Some(value) => {
                portal.accounts.who(value, &origin).await.map_err(|e| portal.refuse(e, None))?
            }
            None => None,
        };
        let person = found.map(|signed_in| Person {
            portal: portal.clone(),
            signed_in,
            origin: origin.clone(),
        });
        Ok(Self { portal: portal.clone(), person, origin })
    }
}

impl FromRequestParts<Portal> for Person {
    type Rejection = Refused;

    /// Whoever is not signed in is sent to do so, and then to where they wanted.
    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Refused> {
        let visitor = Visitor::from_request_parts(parts, portal).await?;
        visitor.person.ok_or_else(|| {
            let wanted = parts.uri.path();
            let reads = parts.method == Method::GET && wanted != "/instances";
            let to = if reads { format!("/sign-in?next={wanted}") } else { "/sign-in".to_owned() };
            Refused(Box::new(go(&to)))
        })
    }
}

impl FromRequestParts<Portal> for Own {
    type Rejection = Refused;

    /// An instance that is somebody else's is one that does not exist.
    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Refused> {
        let person = Person::from_request_parts(parts, portal).await?;
        let name = parameter(parts, portal, "name").await.and_then(|n| Name::parse(&n).ok());
        let Some(name) = name else { return Err(person.refuse(Refusal::Nothing)) };
        match portal.engine.status(&name).await {
            Ok(instance) if person.signed_in.sees(&instance.name, instance.account.as_ref()) => {
                Ok(Self { person, instance })
            }
            _ => Err(person.refuse(Refusal::Nothing)),
        }
    }
}

impl FromRequestParts<Portal> for OwnOperation {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Refused> {
        let person = Person::from_request_parts(parts, portal).await?;
        let Some(id) = parameter(parts, portal, "id").await else {
            return Err(person.refuse(Refusal::Nothing));
        };
        let Ok(operation) = portal.engine.operation(&OperationId(id)).await else {
            return Err(person.refuse(Refusal::Nothing));
        };
        let instance = portal.engine.status(&operation.name).await.ok();
        let principal = person.signed_in.principal();
        let may = match instance.filter(|i| i.id == operation.instance) {
            Some(there) => principal.can_access(&there.name, there.account.as_ref()),
            None => principal.can_see_operation_of_removed(&operation.actor),
        };
        if may { Ok(Self { person, operation }) } else { Err(person.refuse(Refusal::Nothing)) }
    }
}

impl FromRequestParts<Portal> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Refused> {
        let person = Person::from_request_parts(parts, portal).await?;
        if person.signed_in.account.admin {
            Ok(Self { person })
        } else {
            Err(person.refuse(Refusal::NotAdmin))
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
