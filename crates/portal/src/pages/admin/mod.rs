//! What admins see: everything.

pub(crate) mod account;
pub(crate) mod accounts;
pub(crate) mod alerts;
pub(crate) mod instances;
pub(crate) mod invites;
pub(crate) mod machine;
pub(crate) mod operations;
mod table;

use crate::{answer::Refused, who::Admin};

/// How many troubles there are now; stands beside the tab.
async fn troubles(admin: &Admin) -> Result<u64, Refused> {
    let all = admin.engine().troubles().await.map_err(|e| admin.refuse(e))?;
    Ok(u64::try_from(all.len()).unwrap_or(u64::MAX))
}
