//! Live grants: the open streams of all callers, and the loop that ends those whose caller lost
//! access.
//!
//! Level-triggered: a pass checks each open stream against the database, and closes the connections
//! of every instance that a transaction marked. A request that revokes access runs a pass at once;
//! the loop runs one periodically and at the start, for what a crash or a dropped request left.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use startclaw_model::{AccountId, Actor, InstanceId, Operation, Principal, Timestamp};
use startclaw_store::{Disconnect, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{Engine, EngineError};

/// The interval of passes.
const PASS_EVERY: Duration = Duration::from_secs(5);
/// How long Caddy tries to connect to an instance after an authorization (`lb_try_duration`).
pub const CONNECT_TIME: Duration = Duration::from_secs(2);
/// The longest time from an authorization to Caddy's connection, with a second of tolerance. Then
/// connections are closed once more.
const CONNECTED: Duration = CONNECT_TIME.saturating_add(Duration::from_secs(1));
/// How long the host may take to close the connections of one instance.
const CUT: Duration = Duration::from_secs(10);
/// Caddy closes a WebSocket after a day; after that there is nothing left to close.
const GIVEN_UP: Duration = Duration::from_secs(24 * 3600);
/// The limit of concurrent streams of one account, and of one token.
const PER_ACCOUNT: usize = 32;
const PER_TOKEN: usize = 128;

/// The caller of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The operator, at the Unix socket.
    Operator,
    /// A token, by its id.
    Token(String),
    /// A user, by account and the digest of the session.
    Session(AccountId, String),
}

/// The subject of a stream.
#[derive(Debug, Clone)]
pub enum Subject {
    /// An instance's log.
    Instance(InstanceId),
    /// An operation, which may outlive its instance.
    Operation {
        instance: InstanceId,
        /// Who requested it.
        actor: Actor,
    },
}

impl Subject {
    /// The subject of a stream of an operation.
    pub fn operation(operation: &Operation) -> Self {
        Self::Operation { instance: operation.instance.clone(), actor: operation.actor.clone() }
    }
}

struct Grant {
    holder: Holder,
    subject: Subject,
    ended: CancellationToken,
}

/// All open streams, and the disconnects in progress.
#[derive(Default)]
pub(crate) struct Grants {
    open: Mutex<HashMap<u64, Grant>>,
    next: AtomicU64,
    /// Disconnects that were made or are in progress: the time of the revocation, and whether it is
    /// the second one.
    cuts: Mutex<HashMap<InstanceId, (Timestamp, bool)>>,
    changed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The grant of a stream, released when dropped.
pub struct AccessGuard {
    grants: Arc<Grants>,
    id: u64,
    ended: CancellationToken,
    expires_at: Option<Timestamp>,
}

impl Drop for AccessGuard {
    fn drop(&mut self) {
        lock(&self.grants.open).remove(&self.id);
    }
}

impl AccessGuard {
    /// Waits until the caller loses access.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (ended, expires_at) = (self.ended.clone(), self.expires_at);
        async move {
            let expiry = async {
                match expires_at {
                    Some(at) => tokio::time::sleep(at.since(Timestamp::now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended.cancelled() => {}
                () = expiry => {}
            }
        }
    }
}

impl Engine {
    /// Grants `holder` a stream about `subject`.
    ///
    /// # Errors
    /// [`EngineError::NoAccess`] when access was lost meanwhile; [`EngineError::TooManyStreams`].
    pub async fn open_stream(
        &self,
        holder: Holder,
        subject: Subject,
    ) -> Result<AccessGuard, EngineError> {
        let grants = &self.inner.grants;
        let mut guard = {
            let mut open = lock(&grants.open);
            let same = |other: &Holder| match (&holder, other) {
                (Holder::Session(a, _), Holder::Session(b, _)) => a == b,
                (a, b) => a == b,
            };
            let most = match &holder {
                Holder::Operator => usize::MAX,
                Holder::Token(_) => PER_TOKEN,
                Holder::Session(..) => PER_ACCOUNT,
            };
            if open.values().filter(|grant| same(&grant.holder)).count() >= most {
                return Err(EngineError::TooManyStreams);
            }
            let (id, ended) =
                (grants.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
            let (holder, subject) = (holder.clone(), subject.clone());
            open.insert(id, Grant { holder, subject, ended: ended.clone() });
            AccessGuard { grants: grants.clone(), id, ended, expires_at: None }
        };
        // Only now: a revocation before this check is seen by it, and a later one finds the grant.
        let now = Timestamp::now();
        let found = self.principal(&holder, now).await?.ok_or(EngineError::NoAccess)?;
        if !self.may_see(&found.0, &subject).await? {
            return Err(EngineError::NoAccess);
        }
        guard.expires_at = found.1;
        Ok(guard)
    }

    /// Enforces the access in the database: ends streams whose caller lost access, drops cached
    /// sessions, and closes open connections of marked instances. Completes even if the caller is
    /// dropped.
    pub async fn enforce_access(&self) {
        let engine = self.clone();
        self.detached(async move { engine.access_pass().await }).await;
        self.inner.grants.changed.notify_one();
    }

    /// Enforces access until the engine stops.
    pub(crate) async fn keep_access(self) {
        loop {
            self.access_pass().await;
            let cuts_open = !lock(&self.inner.grants.cuts).is_empty();
            let pause = if cuts_open { CONNECTED } else { PASS_EVERY };
            tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return,
                () = self.inner.grants.changed.notified() => {
                    // A second disconnect follows the first one.
                    tokio::select! {
                        () = self.inner.stop.cancelled() => return,
                        () = tokio::time::sleep(CONNECTED) => {}
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn access_pass(&self) {
        let now = Timestamp::now();
        if let Err(e) = self.store().expire_sessions(now).await {
            tracing::error!(error = %e, "cannot delete expired sessions; retrying");
        }
        let marked = match self.store().disconnects().await {
            Ok(marked) => marked,
            Err(e) => {
                tracing::error!(error = %e, "cannot read whose connections must be closed; retrying");
                Vec::new()
            }
        };
        let instances: Vec<_> = marked.iter().map(|m| m.instance.clone()).collect();
        if !instances.is_empty() {
            self.sessions().forget(&instances);
        }
        self.end_streams(now).await;
        futures::future::join_all(marked.iter().map(|m| self.cut(m, now))).await;
        lock(&self.inner.grants.cuts).retain(|id, _| instances.contains(id));
    }

    async fn end_streams(&self, now: Timestamp) {
        let open: Vec<_> = lock(&self.inner.grants.open)
            .values()
            .map(|g| (g.holder.clone(), g.subject.clone(), g.ended.clone()))
            .collect();
        let mut principals: HashMap<Holder, Option<Principal>> = HashMap::new();
        for (holder, subject, ended) in open {
            let found = match principals.get(&holder) {
                Some(found) => Ok(found.clone()),
                None => self.principal(&holder, now).await.map(|found| found.map(|(p, _)| p)),
            };
            let may = match found {
                Ok(found) => {
                    principals.insert(holder, found.clone());
                    match found {
                        Some(principal) => self.may_see(&principal, &subject).await,
                        None => Ok(false),
                    }
                }
                Err(e) => Err(e),
            };
            match may {
                Ok(true) => {}
                Ok(false) => ended.cancel(),
                Err(e) => {
                    tracing::error!(error = %e, "cannot check the access of a stream; retrying")
                }
            }
        }
    }

    /// The current principal of a holder, and its expiry; none when the token or session has ended.
    async fn principal(
        &self,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<Option<(Principal, Option<Timestamp>)>, StoreError> {
        Ok(match holder {
            Holder::Operator => Some((Principal::Operator, None)),
            Holder::Token(id) => {
                let found = self.store().token(id, now).await?;
                found.map(|token| (Principal::Token(token.scopes), token.expires_at))
            }
            Holder::Session(_, hash) => {
                let Some(session) = self.store().account_session(hash, now).await? else {
                    return Ok(None);
                };
                let account = self.store().account(&session.account).await?;
                account.map(|a| (Principal::of_account(&a), Some(session.expires_at)))
            }
        })
    }

    async fn may_see(&self, principal: &Principal, subject: &Subject) -> Result<bool, StoreError> {
        let (Subject::Instance(id) | Subject::Operation { instance: id, .. }) = subject;
        if let Some((instance, _)) = self.store().instance_and_key(id).await? {
            return Ok(principal.can_access(&instance.name, instance.account.as_ref()));
        }
        // The end of an operation may be seen by who requested it.
        Ok(match subject {
            Subject::Instance(_) => false,
            Subject::Operation { actor, .. } => principal.can_see_operation_of_removed(actor),
        })
    }

    /// Closes the open connections of an instance: Caddy authorizes a WebSocket only when it is
    /// opened. Clients that still have access reconnect automatically.
    async fn cut(&self, marked: &Disconnect, now: Timestamp) {
        let second = now.since(marked.at) >= CONNECTED;
        {
            let mut cuts = lock(&self.inner.grants.cuts);
            if cuts
                .get(&marked.instance)
                .is_some_and(|&(at, done)| at == marked.at && done >= second)
            {
                return;
            }
            cuts.insert(marked.instance.clone(), (marked.at, second));
        }
        let cut = tokio::time::timeout(CUT, self.inner.host.disconnect(marked.slot)).await;
        let failed = match cut {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(_) => Some("the host does not answer in time".to_owned()),
        };
        if let Some(error) = &failed {
            lock(&self.inner.grants.cuts).remove(&marked.instance);
            if now.since(marked.at) < GIVEN_UP {
                tracing::error!(instance = %marked.instance, error, "cannot close the open connections of a caller who lost access; retrying");
                return;
            }
        }
        if second && let Err(e) = self.store().disconnected(marked).await {
            lock(&self.inner.grants.cuts).remove(&marked.instance);
            tracing::error!(error = %e, "cannot store that connections were closed; closing them again");
        }
    }
}
