//! Pages for admins.

pub(crate) mod account;
pub(crate) mod accounts;
pub(crate) mod alerts;
pub(crate) mod instances;
pub(crate) mod invites;
pub(crate) mod machine;
pub(crate) mod operations;
mod table;

use crate::{answer::Rejection, auth::Admin};

/// Number of unresolved alerts; shown beside the tab.
async fn alerts(admin: &Admin) -> Result<u64, Rejection> {
    let all = admin.engine().alerts().await.map_err(|e| admin.refuse(e))?;
    Ok(u64::try_from(all.len()).unwrap_or(u64::MAX))
}
