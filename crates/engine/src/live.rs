//! The current state of every instance, in memory: for status, and for the edge, which reads it at
//! each request.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use startclaw_host::Endpoints;
use startclaw_model::{
    BackupPause, Health, Instance, InstanceId, InstanceState, Name, OperationId, Presence,
    Timestamp, VerifiedBackup,
};

/// One instance.
#[derive(Debug, Clone)]
pub struct Entry {
    pub instance: Arc<Instance>,
    pub endpoints: Endpoints,
    pub state: InstanceState,
    pub since: Timestamp,
    /// An error of the host: it does not answer, or a step failed.
    pub host_error: Option<String>,
    pub operation: Option<OperationId>,
    /// When its newest snapshot was taken.
    pub last_backup: Option<Timestamp>,
    /// Its newest snapshot that was found whole.
    pub verified_backup: Option<VerifiedBackup>,
    /// How long it was frozen for its last backup.
    pub last_pause: Option<BackupPause>,
}

/// All instances, by name and by id.
#[derive(Debug, Default)]
pub(crate) struct Table(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<Name, Entry>,
    names: HashMap<InstanceId, Name>,
}

impl Table {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an instance, or updates its desired state. A row that is older than the present one is
    /// ignored.
    pub fn put(
        &self,
        instance: Arc<Instance>,
        endpoints: Endpoints,
        operation: Option<OperationId>,
    ) {
        let mut inner = self.write();
        inner.names.insert(instance.id.clone(), instance.name.clone());
        match inner.entries.get_mut(&instance.name) {
            Some(entry) if entry.instance.id == instance.id => {
                // An instance that was removed and restored has the same id and starts with the
                // first revision.
                let same_life = entry.instance.created_at == instance.created_at;
                if same_life && instance.revision < entry.instance.revision {
                    return;
                }
                entry.instance = instance;
                entry.operation = operation.or(entry.operation.take());
            }
            _ => {
                let entry = Entry {
                    instance: instance.clone(),
                    endpoints,
                    state: InstanceState::Unknown,
                    since: Timestamp::now(),
                    host_error: None,
                    operation,
                    last_backup: None,
                    verified_backup: None,
                    last_pause: None,
                };
                inner.entries.insert(instance.name.clone(), entry);
            }
        }
    }

    /// Changes the entry of an instance; `since` is set when its state changes.
    pub fn update(&self, id: &InstanceId, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.write();
        let Some(name) = inner.names.get(id).cloned() else { return };
        let Some(entry) = inner.entries.get_mut(&name) else { return };
        let before = entry.state;
        change(entry);
        if entry.state != before {
            entry.since = Timestamp::now();
        }
    }

    /// Updates the health.
    pub fn set_health(&self, id: &InstanceId, health: &Health) {
        self.update(id, |entry| Arc::make_mut(&mut entry.instance).health = health.clone());
    }

    /// Removes an instance.
    pub fn remove(&self, id: &InstanceId) {
        let mut inner = self.write();
        if let Some(name) = inner.names.remove(id)
            && inner.entries.get(&name).is_some_and(|e| e.instance.id == *id)
        {
            inner.entries.remove(&name);
        }
    }

    /// One instance.
    pub fn get(&self, name: &Name) -> Option<Entry> {
        self.read().entries.get(name).cloned()
    }

    /// One instance, by its id.
    pub fn by_id(&self, id: &InstanceId) -> Option<Entry> {
        let inner = self.read();
        inner.names.get(id).and_then(|name| inner.entries.get(name)).cloned()
    }

    /// All instances, by name.
    pub fn all(&self) -> Vec<Entry> {
        self.read().entries.values().cloned().collect()
    }
}

impl Entry {
    /// The state; a requested removal takes precedence over the observed state.
    pub fn shown_state(&self) -> InstanceState {
        match self.instance.desired.presence {
            Presence::Absent => InstanceState::Removing,
            Presence::Present => self.state,
        }
    }

    /// The reason why it is not live.
    pub fn reason(&self) -> Option<String> {
        let own =
            || self.instance.health.reason.clone().filter(|_| self.state != InstanceState::Live);
        self.host_error.clone().or_else(own)
    }
}
