//! Access: login tokens, sessions in instances, and API tokens.
//!
//! All of them are random 256-bit values; the database holds SHA-256 digests only, which for values
//! of that size are as secure as a slow hash and take microseconds.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rand::RngCore;
use sha2::{Digest, Sha256};
use startclaw_model::{
    Actor, EventKind, InstanceId, InstanceRef, Name, Scopes, Secret, Timestamp, is_label,
};
use startclaw_store::{NewToken, Session, StoredToken};

use crate::{Engine, EngineError};

/// The lifetime of a login token.
pub const LOGIN_TOKEN_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// The lifetime of a session.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a cached session is used without a query of the database. A session that ends is
/// dropped at once.
const CACHE_TTL: Duration = Duration::from_secs(10);
/// The maximum number of cached sessions; beyond it the cache is cleared.
const CACHE_CAPACITY: usize = 20_000;
/// The prefix of API tokens, by which people and secret scanners recognize them.
const TOKEN_PREFIX: &str = "sclaw_";

/// A cache of sessions.
#[derive(Debug, Default)]
pub(crate) struct SessionCache(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    sessions: HashMap<String, (Session, Timestamp)>,
    /// How often sessions ended. A session that was read from the database before the last time is
    /// not cached: it may have ended.
    endings: u64,
}

impl SessionCache {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, if it is cached, and the current `endings`.
    fn get(&self, hash: &str, now: Timestamp) -> (Option<Session>, u64) {
        let cache = self.lock();
        let found = cache
            .sessions
            .get(hash)
            .filter(|(session, seen)| now.since(*seen) < CACHE_TTL && session.expires_at > now);
        (found.map(|(session, _)| session.clone()), cache.endings)
    }

    /// Caches a session that was read when `endings` had this value.
    fn put(&self, hash: &str, session: &Session, now: Timestamp, endings: u64) {
        let mut cache = self.lock();
        if cache.endings != endings {
            return;
        }
        if cache.sessions.len() >= CACHE_CAPACITY {
            cache.sessions.clear();
        }
        cache.sessions.insert(hash.to_owned(), (session.clone(), now));
    }

    /// Drops the sessions in these instances.
    pub(crate) fn forget(&self, instances: &[InstanceId]) {
        let mut cache = self.lock();
        cache.endings += 1;
        cache.sessions.retain(|_, (session, _)| !instances.contains(&session.instance));
    }
}

/// A one-time login token for an instance.
#[derive(Debug, Clone)]
pub struct LoginToken {
    /// The token in the link.
    pub value: Secret,
    /// The link itself.
    pub link: Secret,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A new API token: the only time that its secret part is visible.
#[derive(Debug, Clone)]
pub struct FreshToken {
    /// The value that the client sends as `Authorization: Bearer …`.
    pub value: Secret,
    /// The stored part.
    pub stored: StoredToken,
}

/// A random secret.
pub(crate) fn random_secret() -> Secret {
    Secret::new(random())
}

/// 256 random bits as 43 URL-safe characters.
pub fn random() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    BASE64.encode(bytes)
}

/// The digest that is stored of a random secret.
pub fn digest(value: &str) -> String {
    BASE64.encode(Sha256::digest(value.as_bytes()))
}

impl Engine {
    /// Creates a one-time login token with which its bearer signs in to the instance as its owner.
    /// A session from a login token ends with `account_session` (the digest of an account's
    /// session), or with the API token that created the login token.
    pub async fn create_login_token(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
        account_session: Option<String>,
    ) -> Result<LoginToken, EngineError> {
        let of = of.into();
        let name = of.name;
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(name, e))?;
        let value = random();
        let expires_at = Timestamp::now().plus(LOGIN_TOKEN_LIFETIME);
        let grant = Session {
            instance: instance.id,
            identity: instance.owner.to_string(),
            account_session,
            token: actor.token_id().map(str::to_owned),
            expires_at,
        };
        if !self.store().add_login_token(&digest(&value), &grant).await? {
            return Err(match grant.account_session {
                Some(_) => EngineError::Conflict("you have signed out; sign in again".into()),
                None => EngineError::NoInstance(name.clone()),
            });
        }
        let about = Some((&grant.instance, name));
        self.record(EventKind::Changed, about, actor, "created a sign-in link").await;
        let origin = crate::spec::origin(&self.inner.settings, name);
        let link = Secret::new(format!("{origin}/.startclaw/enter?ticket={value}"));
        Ok(LoginToken { value: Secret::new(value), link, expires_at })
    }

    /// Redeems a login token of `instance` for a session; `None` when the token was used,
    /// has expired, or belongs to another instance.
    pub async fn sign_in(
        &self,
        instance: &InstanceId,
        name: &Name,
        ticket: &str,
    ) -> Result<Option<(Secret, Session)>, EngineError> {
        let now = Timestamp::now();
        let Some(grant) = self.store().take_login_token(&digest(ticket), instance, now).await?
        else {
            return Ok(None);
        };
        let value = random();
        let session = Session { expires_at: now.plus(SESSION_LIFETIME), ..grant };
        if !self.store().add_session(&digest(&value), &session).await? {
            // The account signed out, or the instance was removed, meanwhile.
            return Ok(None);
        }
        let about = Some((instance, name));
        self.record(EventKind::SignedIn, about, &Actor::system(), &session.identity).await;
        Ok(Some((Secret::new(value), session)))
    }

    /// The session of `cookie` in `instance`. The hot path of every request through Caddy: answered
    /// from the cache, and from the database every ten seconds.
    pub async fn session(
        &self,
        instance: &InstanceId,
        cookie: &str,
    ) -> Result<Option<Session>, EngineError> {
        let now = Timestamp::now();
        let hash = digest(cookie);
        let session = match self.sessions().get(&hash, now) {
            (Some(session), _) => Some(session),
            (None, endings) => {
                let found = self.store().session_by_hash(&hash, now).await?;
                if let Some(session) = &found {
                    self.sessions().put(&hash, session, now, endings);
                }
                found
            }
        };
        Ok(session.filter(|s| s.instance == *instance))
    }

    /// Ends a session.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), EngineError> {
        let (engine, hash) = (self.clone(), digest(cookie));
        self.detached(async move {
            if engine.store().remove_session(&hash).await? {
                engine.enforce_access().await;
            }
            Ok(())
        })
        .await
    }

    /// Creates an API token.
    pub async fn create_token(
        &self,
        actor: &Actor,
        label: &str,
        scopes: Scopes,
        life: Option<Duration>,
    ) -> Result<FreshToken, EngineError> {
        if !is_label(label, 100) {
            return Err(EngineError::invalid("label", "a label has 1 to 100 visible characters"));
        }
        let value = format!("{TOKEN_PREFIX}{}", random());
        let new = NewToken {
            id: random()[..10].replace(['-', '_'], "x"),
            hash: digest(&value),
            label: label.to_owned(),
            scopes,
            expires_at: life.map(|d| Timestamp::now().plus(d)),
        };
        let stored =
            self.store().add_token(&new).await.map_err(|e| match &new.scopes.instance {
                Some(name) => EngineError::of(name, e),
                None => e.into(),
            })?;
        self.record(EventKind::Changed, None, actor, &format!("created token {}", new.id)).await;
        Ok(FreshToken { value: Secret::new(value), stored })
    }

    /// All API tokens, without their secret parts.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, EngineError> {
        Ok(self.store().tokens().await?)
    }

    /// Revokes an API token at once, with its streams and the sessions from its sign-in links.
    pub async fn revoke_token(&self, actor: &Actor, id: &str) -> Result<(), EngineError> {
        let (engine, actor, id) = (self.clone(), actor.clone(), id.to_owned());
        self.detached(async move {
            if !engine.store().remove_token(&id).await? {
                return Err(EngineError::NoToken(id));
            }
            engine.enforce_access().await;
            engine.record(EventKind::Changed, None, &actor, &format!("revoked token {id}")).await;
            Ok(())
        })
        .await
    }

    /// The API token that a client sent, if it is valid.
    pub async fn authenticate(&self, token: &str) -> Result<Option<StoredToken>, EngineError> {
        if !token.starts_with(TOKEN_PREFIX) || token.len() > 200 {
            return Ok(None);
        }
        let now = Timestamp::now();
        let found = self.store().token_by_hash(&digest(token), now).await?;
        if let Some(found) = &found
            && found.last_used_at.is_none_or(|t| now.since(t) > Duration::from_secs(60))
        {
            self.store().touch_token(&found.id, now).await?;
        }
        Ok(found)
    }
}
