//! Authentication and authorization of the API. A handler gets at the engine only through
//! [`Caller`], and a `Caller<W>` exists only if the caller has the scope `W`: a route without a
//! check cannot be written.

use std::{
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, connect_info::Connected},
    http::{HeaderMap, header, request::Parts},
    serve::IncomingStream,
};
use startclaw_accounts::{Accounts, network_of};
use startclaw_engine::{AccessGuard, Engine, Holder, Subject};
use startclaw_model::{Actor, InstanceId, InstanceRef, Name, Principal, Scope, Scopes};
use tokio::net::UnixListener;

use crate::{
    problem::{Kind, Problem},
    shared::{Access, Settings, Shared},
};

/// The peer of a Unix socket connection, as reported by the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The user id; `None` if the kernel does not report it.
    pub uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|c| c.uid()) }
    }
}

/// A scope as a type.
pub(crate) trait RequiredScope: Send + Sync {
    const SCOPE: Scope;
}

/// Read instances.
pub(crate) enum Read {}
/// Change instances.
pub(crate) enum Write {}
/// Change accounts and tokens.
pub(crate) enum Admin {}

impl RequiredScope for Read {
    const SCOPE: Scope = Scope::Read;
}
impl RequiredScope for Write {
    const SCOPE: Scope = Scope::Write;
}
impl RequiredScope for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// An authenticated caller with the scope `W`.
pub(crate) struct Caller<W> {
    shared: Shared,
    actor: Actor,
    scopes: Scopes,
    /// The instance that its token is restricted to.
    instance: Option<InstanceId>,
    wanted: PhantomData<fn() -> W>,
}

impl Caller<Admin> {
    /// The accounts; for admins only, because a token of one instance has no access to accounts.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.shared.accounts
    }
}

impl<W> Caller<W> {
    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// The settings of the API.
    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The actor, for the audit log.
    pub(crate) const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Whether the caller is at the Unix socket.
    pub(crate) fn is_local(&self) -> bool {
        self.shared.access == Access::Socket
    }

    /// A permit for a stream, which ends when the caller loses access.
    pub(crate) async fn open_stream(&self, subject: Subject) -> Result<AccessGuard, Problem> {
        let holder = match self.actor.token_id() {
            Some(id) => Holder::Token(id.to_owned()),
            None => Holder::Operator,
        };
        Ok(self.engine().open_stream(holder, subject).await?)
    }

    /// The instance that a request is about. One that the caller has no access to is rejected as
    /// if it did not exist. A restricted token gets the instance that it is for, and none that has
    /// the name after it.
    pub(crate) fn require_access<'a>(&'a self, name: &'a Name) -> Result<InstanceRef<'a>, Problem> {
        let unseen = || startclaw_engine::EngineError::NoInstance(name.clone());
        if !Principal::Token(self.scopes.clone()).can_access(name, None) {
            return Err(unseen().into());
        }
        match &self.scopes.instance {
            None => Ok(name.into()),
            Some(_) => {
                let id = self.instance.as_ref().ok_or_else(unseen)?;
                Ok(InstanceRef { name, id: Some(id) })
            }
        }
    }

    /// The one instance of a restricted token.
    pub(crate) fn own(&self) -> Result<Option<InstanceRef<'_>>, Problem> {
        self.scopes.instance.as_ref().map(|name| self.require_access(name)).transpose()
    }

    /// The instance that a list is restricted to: the requested one, else the one of a restricted
    /// token, else `None` for all.
    pub(crate) fn filter(&self, asked: Option<Name>) -> Result<Option<Name>, Problem> {
        if let Some(name) = &asked {
            self.require_access(name)?;
        }
        Ok(asked.or_else(|| self.scopes.instance.clone()))
    }

    /// Rejects a token of one instance where the whole platform is concerned.
    pub(crate) fn require_global(&self) -> Result<(), Problem> {
        match &self.scopes.instance {
            None => Ok(()),
            Some(_) => Err(Problem::new(
                Kind::Forbidden,
                "this token is for one instance, and this is about all of them",
            )),
        }
    }
}

impl<W: RequiredScope> FromRequestParts<Shared> for Caller<W> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let (actor, scopes, instance) = match shared.access {
            Access::Socket => (at_socket(parts)?, Scopes::admin(), None),
            Access::Bearer => with_token(parts, shared).await?,
        };
        tracing::Span::current().record("actor", actor.as_str());
        if !scopes.allow(W::SCOPE) {
            let scope = scope_name(W::SCOPE);
            let detail = format!("this needs a token with the scope {scope}");
            let challenge = format!(
                "Bearer realm=\"startclaw\", error=\"insufficient_scope\", scope=\"{scope}\""
            );
            return Err(
                Problem::new(Kind::Forbidden, detail).with(header::WWW_AUTHENTICATE, &challenge)
            );
        }
        Ok(Self { shared: shared.clone(), actor, scopes, instance, wanted: PhantomData })
    }
}

const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Write => "write",
        Scope::Admin => "admin",
    }
}

fn at_socket(parts: &Parts) -> Result<Actor, Problem> {
    let peer = parts.extensions.get::<ConnectInfo<Peer>>().and_then(|info| info.0.uid);
    let uid = peer.ok_or_else(|| {
        Problem::new(
            Kind::Unauthenticated,
            "the kernel does not report the user of this socket connection",
        )
    })?;
    Ok(Actor::socket(uid))
}

async fn with_token(
    parts: &Parts,
    shared: &Shared,
) -> Result<(Actor, Scopes, Option<InstanceId>), Problem> {
    let Some(token) = bearer(&parts.headers) else {
        return Err(Problem::new(
            Kind::Unauthenticated,
            "send a token as Authorization: Bearer …; startclaw tokens create makes one",
        )
        .with(header::WWW_AUTHENTICATE, "Bearer realm=\"startclaw\""));
    };
    let address = client_address(parts);
    let network = network_of(address);
    if let Some(pause) = shared.throttle.pause(&network, Instant::now()) {
        let seconds = pause.as_secs().max(1).to_string();
        return Err(Problem::new(
            Kind::TooManyAttempts,
            format!("too many bad tokens from this address; try again in {seconds} seconds"),
        )
        .with(header::RETRY_AFTER, &seconds));
    }
    let Some(known) = shared.engine.authenticate(token).await? else {
        shared.throttle.failed(network, Instant::now());
        metrics::counter!("startclaw_api_bad_tokens_total").increment(1);
        tracing::info!(%address, "rejected an invalid token");
        return Err(Problem::new(
            Kind::Unauthenticated,
            "this token is unknown, expired or revoked",
        )
        .with(header::WWW_AUTHENTICATE, "Bearer realm=\"startclaw\", error=\"invalid_token\""));
    };
    Ok((Actor::token(&known.id), known.scopes, known.instance))
}

/// The token in `Authorization: Bearer …`; `None` for anything else.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The client's address, as forwarded by Caddy.
fn client_address(parts: &Parts) -> IpAddr {
    startclaw_edge::client_address(&parts.headers)
        .or_else(|| parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_counts() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer sclaw_x").as_deref(), Some("sclaw_x"));
        assert_eq!(with("bearer sclaw_x").as_deref(), Some("sclaw_x"));
        for other in ["Basic sclaw_x", "Bearer", "Bearer ", "sclaw_x"] {
            assert_eq!(with(other), None, "{other}");
        }
    }
}
