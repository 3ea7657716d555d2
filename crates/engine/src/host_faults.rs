//! Faults of the host: an alert for each, while it lasts.

use startclaw_host::HostFault;

use crate::Engine;

impl Engine {
    /// Queries the faults of the host, and fires or resolves their alerts.
    pub(crate) async fn check_host(self) {
        let faults = self.inner.host.admin().faults().await;
        for key in HostFault::KEYS {
            // An alert stays as it is until it is known whether its fault lasts.
            if faults.unknown.contains(&key) {
                continue;
            }
            let fault = faults.found.iter().find(|fault| fault.key == key);
            if let Err(e) = self.tell_fault(key, fault).await {
                tracing::warn!(error = %e, key, "cannot store an alert of the host");
            }
        }
    }

    async fn tell_fault(
        &self,
        key: &str,
        fault: Option<&HostFault>,
    ) -> Result<(), startclaw_store::StoreError> {
        let known = self.store().alerts().await?;
        let known = known.iter().find(|alert| alert.key == key && alert.resolved_at.is_none());
        match (fault, known) {
            (Some(fault), None) => {
                let detail = format!("{}. Remedy: {}", fault.detail, fault.remedy);
                tracing::error!(key, "{detail}");
                self.store().fire(key, &detail).await?;
            }
            (None, Some(_)) => {
                tracing::info!(key, "the fault of the host is over");
                self.store().resolve(key).await?;
            }
            _ => return Ok(()),
        }
        self.inner.alerts.wake();
        Ok(())
    }
}
