//! Alerts about the backups of one instance.

use startclaw_engine::EngineError;
use startclaw_model::{InstanceId, Name};
use startclaw_store::Copy;

use crate::Backups;

/// The end of the key of an alert about the copies on this host.
const LOCAL: &str = "local";

/// An alert about the backups of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// What it says, such as `missing`.
    pub kind: &'a str,
    pub id: &'a InstanceId,
    pub name: &'a Name,
    pub copy: Copy,
}

impl About<'_> {
    /// The key for an instance, or for a removed one, which keeps apart from the instance that has
    /// the name now.
    fn key(&self, is_removed: bool) -> String {
        let Self { kind, id, name, copy } = self;
        let mut key = format!("{kind}/{name}");
        if is_removed {
            key.push_str(&format!("/{id}"));
        }
        if *copy == Copy::Local {
            key.push_str(&format!("/{LOCAL}"));
        }
        key
    }
}

/// Whether this is the key of an alert that only exists beside a bucket.
fn is_of_bucket(key: &str) -> bool {
    let mut parts = key.split('/');
    match (parts.next(), parts.next(), parts.next_back()) {
        (Some("bucket"), None, _) | (Some("upload"), Some(_), None) => true,
        (Some("check" | "damaged" | "retention"), Some(_), last) => last == Some(LOCAL),
        _ => false,
    }
}

impl Backups {
    /// Fires an alert, or resolves it without a `detail`.
    pub(crate) async fn set_alert(
        &self,
        about: About<'_>,
        detail: Option<&str>,
    ) -> Result<(), EngineError> {
        let is_removed = self.engine.instance(about.id).is_none();
        let store = self.engine.store();
        let mut news = self.set_key(&about.key(is_removed), detail).await?;
        // From here on its own key tells it, unless another instance has the name.
        let has_heir = || self.engine.instances().iter().any(|e| e.instance.name == *about.name);
        if is_removed && !has_heir() {
            news |= store.resolve(&about.key(false)).await?;
        }
        if news {
            self.engine.alerts_changed();
        }
        Ok(())
    }

    pub(crate) async fn set_key(
        &self,
        key: &str,
        detail: Option<&str>,
    ) -> Result<bool, EngineError> {
        let store = self.engine.store();
        Ok(match detail {
            Some(detail) => store.fire(key, detail).await?,
            None => store.resolve(key).await?,
        })
    }

    /// Since when an alert fires.
    pub(crate) async fn fires_since(
        &self,
        about: About<'_>,
    ) -> Result<Option<startclaw_model::Timestamp>, EngineError> {
        let key = about.key(self.engine.instance(about.id).is_none());
        let all = self.engine.store().alerts().await?;
        let found = all.into_iter().find(|a| a.key == key && a.resolved_at.is_none());
        Ok(found.map(|alert| alert.since))
    }

    /// Resolves the alerts that only exist beside a bucket: the settings name none any more.
    pub(crate) async fn resolve_of_bucket(&self) -> Result<(), EngineError> {
        let store = self.engine.store();
        for alert in store.alerts().await?.into_iter().filter(|alert| is_of_bucket(&alert.key)) {
            store.resolve(&alert.key).await?;
        }
        self.engine.alerts_changed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bucket_needs_is_told_from_what_has_such_a_name() {
        for key in ["bucket", "upload/7", "check/alice/local", "damaged/alice/7/local"] {
            assert!(is_of_bucket(key), "{key}");
        }
        for key in ["check/local", "retention/alice", "damaged/alice/7", "instance/bucket"] {
            assert!(!is_of_bucket(key), "{key}");
        }
    }
}
