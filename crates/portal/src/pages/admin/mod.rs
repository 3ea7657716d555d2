//! Pages for admins.

pub(crate) mod account;
pub(crate) mod accounts;
pub(crate) mod alerts;
pub(crate) mod instances;
pub(crate) mod invites;
pub(crate) mod machine;
pub(crate) mod operations;
mod table;

use crate::{access::Admin, answer::Rejection};

/// Number of unresolved alerts; shown beside the tab.
async fn alerts(admin: &Admin) -> Result<u64, Rejection> {
    Ok(u64::try_from(admin.alerts().await?.len()).unwrap_or(u64::MAX))
}
