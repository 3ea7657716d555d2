//! What is known of every instance just now, in memory: for status, and for the edge, which
//! asks at each request.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use startclaw_host::Endpoints;
use startclaw_model::{
    Health, Instance, InstanceId, InstanceState, Name, OperationId, Presence, Timestamp,
};

/// One instance.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub instance: Arc<Instance>,
    pub endpoints: Endpoints,
    pub state: InstanceState,
    pub since: Timestamp,
    /// An error that is not the instance's own: the host does not answer, a step failed.
    pub host_error: Option<String>,
    pub operation: Option<OperationId>,
    /// When its newest snapshot was taken.
    pub last_backup: Option<Timestamp>,
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

    /// Puts an instance in, or its new wishes beside what is known of it. A row that was read
    /// before the one that is in here changes nothing.
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
                // One that was removed and came back under its id begins with the first revision.
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
                };
                inner.entries.insert(instance.name.clone(), entry);
            }
        }
    }

    /// Changes what is known of an instance; its `since` follows its state.
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

    /// Notes what healing remembers.
    pub fn set_health(&self, id: &InstanceId, health: &Health) {
        self.update(id, |entry| Arc::make_mut(&mut entry.instance).health = health.clone());
    }

    /// Takes an instance out.
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
    /// The state, where the wish to remove goes before what was seen last.
    pub fn shown_state(&self) -> InstanceState {
        match self.instance.desired.presence {
            Presence::Absent => InstanceState::Removing,
            Presence::Present => self.state,
        }
    }

    /// What is wrong, in words.
    pub fn reason(&self) -> Option<String> {
        let own =
            || self.instance.health.reason.clone().filter(|_| self.state != InstanceState::Live);
        self.host_error.clone().or_else(own)
    }
}
