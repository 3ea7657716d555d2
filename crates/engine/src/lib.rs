//! The engine: stores the desired state of every instance, observes the host, and applies one step
//! after the other until both agree.

mod access;
mod alerts;
mod backup_requests;
mod boot_limiter;
mod decide;
mod detached;
mod error;
mod grants;
mod healing;
mod host_faults;
mod jobs;
mod live;
mod lost;
mod progress;
mod queue;
mod reconcile;
mod removed;
mod request;
mod run;
mod settings;
mod space;
mod spec;
mod spec_digest;
mod status;
mod submit;
mod supervisor;
mod sweep;
mod telegram;
mod usage;
mod verbs;
mod work;

use std::sync::{Arc, Mutex};

use startclaw_host::Host;
use startclaw_model::{Actor, Event, EventKind, InstanceId, Name, Timestamp};
use startclaw_store::Store;
use startclaw_vault::Vault;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use access::{FreshToken, LOGIN_TOKEN_LIFETIME, LoginToken, SESSION_LIFETIME, digest, random};
pub use alerts::{NoopNotifier, Notifier};
pub use backup_requests::RestoreRequest;
pub use decide::{backoff, has_started};
pub use error::EngineError;
pub use grants::{AccessGuard, CONNECT_TIME, Holder, Subject};
pub use jobs::{JobContext, JobService, NoJobs};
pub use live::Entry as LiveEntry;
pub use queue::InstanceLock;
pub use reconcile::REMOVED;
pub use removed::{PurgedBackups, RemovedInstance, RemovedOf};
pub use request::{ProvisionRequest, is_reserved};
pub use settings::{EngineSettings, InstanceSettings, Timing};
pub use space::{SPACE_RESERVE, free_space, lack_of_space, space_for};
pub use startclaw_host::{Disk, HostError, LogRequest, MachineUsage};
pub use startclaw_openclaw::telegram::{PairingRequest, TelegramUser};
pub use startclaw_store::{Alert, AlertRecord, Idempotency, Session, StoredToken};
pub use status::{InstanceStatus, Route};
pub use supervisor::Supervisor;
pub use sweep::Dependencies;
pub use telegram::{TelegramConnection, TelegramStatus};
pub use usage::{MachineHistory, Sample};
pub use verbs::SecretInfo;

/// The engine. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    vault: Vault,
    host: Arc<dyn Host>,
    settings: EngineSettings,
    sessions: access::SessionCache,
    grants: Arc<grants::Grants>,
    live: live::Table,
    queue: queue::Queue,
    worker_states: reconcile::WorkerStates,
    progress: progress::Progress,
    /// When this engine started.
    started_at: Timestamp,
    boot_limiter: boot_limiter::BootLimiter,
    job_service: Arc<dyn JobService>,
    notifier: Arc<dyn Notifier>,
    alerts: alerts::Alerts,
    history: usage::History,
    /// Why the host does not answer, and since when.
    host_trouble: Mutex<Option<(Timestamp, String)>>,
    /// Why the firewall rules of instances are not in place.
    firewall_error: Mutex<Option<String>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    supervisor: Supervisor,
    /// Detached work of callers.
    calls: TaskTracker,
}

impl Engine {
    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn sessions(&self) -> &access::SessionCache {
        &self.inner.sessions
    }

    /// Stores an event. An error is only logged: what the event reports has happened anyway.
    pub(crate) async fn record(
        &self,
        kind: EventKind,
        about: Option<(&InstanceId, &Name)>,
        actor: &Actor,
        detail: &str,
    ) {
        let event = Event {
            at: Timestamp::now(),
            kind,
            name: about.map(|(_, name)| name.clone()),
            actor: actor.clone(),
            detail: detail.to_owned(),
        };
        if let Err(e) = self.store().record(&event, about.map(|(id, _)| id)).await {
            tracing::error!(error = %e, detail, "cannot store an event");
        }
    }
}
