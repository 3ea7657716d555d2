//! Accounts and invitations.

use serde::{Deserialize, Serialize};
use startclaw_accounts::{AccountInfo, FreshLink, Link};
use startclaw_model::{AccountId, AccountState, Email, Name, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::SentSecret;

/// An account with its usage and quota.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its id; `account:ID` is its actor in events and operations.
    #[schema(value_type = String)]
    pub id: AccountId,
    /// Its e-mail address.
    pub email: Email,
    /// Whether it has admin rights.
    pub admin: bool,
    /// Its state.
    pub state: AccountState,
    /// When the address was confirmed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirmed_at: Option<Timestamp>,
    /// The usage of its instances.
    pub usage: Usage,
    /// The quota of its instances.
    pub quota: Quota,
    /// Whether that quota is set for this account, and not the default.
    pub own_quota: bool,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The last sign-in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub signed_in_at: Option<Timestamp>,
}

impl From<AccountInfo> for Account {
    fn from(info: AccountInfo) -> Self {
        let AccountInfo { account, usage, quota } = info;
        Self {
            id: account.id,
            email: account.email,
            admin: account.admin,
            state: account.state,
            confirmed_at: account.confirmed_at,
            usage: Usage {
                instances: usage.instances,
                memory_mib: usage.memory_mib,
                disk_mib: usage.disk_mib,
            },
            quota: quota.into(),
            own_quota: account.quota.is_some(),
            created_at: account.created_at,
            signed_in_at: account.signed_in_at,
        }
    }
}

/// Accounts, by address.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Accounts {
    /// The accounts.
    pub accounts: Vec<Account>,
}

/// The total usage of an account's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(title = "Usage")]
pub struct Usage {
    /// Instances.
    pub instances: u32,
    /// The sum of their hard limits, in MiB.
    pub memory_mib: u64,
    /// The data in their newest backups, in MiB.
    pub disk_mib: u64,
}

/// The total that an account's instances may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Instances.
    #[schema(example = 3, maximum = 1000000)]
    pub instances: u32,
    /// The sum of their hard limits, in MiB.
    #[schema(example = 6144, maximum = 1073741824)]
    pub memory_mib: u64,
    /// Their data, in MiB. With it used up nothing new can be made; what is there continues.
    #[schema(example = 30720, maximum = 1073741824)]
    pub disk_mib: u64,
}

impl Quota {
    /// More instances than any host has.
    const MAX_INSTANCES: u32 = 1_000_000;
    /// One PiB; sums of such numbers stay far from the end of their type.
    const MAX_MIB: u64 = 1 << 30;

    /// The first field that is larger than the document allows, and its maximum.
    pub(crate) fn too_large(&self) -> Option<(&'static str, u64)> {
        [
            ("quota.instances", u64::from(self.instances), u64::from(Self::MAX_INSTANCES)),
            ("quota.memory_mib", self.memory_mib, Self::MAX_MIB),
            ("quota.disk_mib", self.disk_mib, Self::MAX_MIB),
        ]
        .into_iter()
        .find_map(|(field, value, maximum)| (value > maximum).then_some((field, maximum)))
    }
}

impl From<startclaw_model::Quota> for Quota {
    fn from(q: startclaw_model::Quota) -> Self {
        Self { instances: q.instances, memory_mib: q.memory_mib, disk_mib: q.disk_mib }
    }
}

impl From<Quota> for startclaw_model::Quota {
    fn from(q: Quota) -> Self {
        Self { instances: q.instances, memory_mib: q.memory_mib, disk_mib: q.disk_mib }
    }
}

/// An account to create.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    /// Its e-mail address.
    pub email: Email,
    /// Whether it gets admin rights.
    #[serde(default)]
    pub admin: bool,
}

/// A new account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FreshAccount {
    /// The account.
    pub account: Account,
    /// With this link the owner sets a password.
    pub link: AccountLink,
}

/// A one-time link into the portal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccountLink {
    /// Hand it only to the person it is for. Shown once.
    #[schema(read_only, example = "https://example.com/reset/…")]
    pub url: SentSecret,
    /// When it expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl From<FreshLink> for AccountLink {
    fn from(link: FreshLink) -> Self {
        Self { url: SentSecret(link.url), expires_at: link.expires_at }
    }
}

/// Selects an account, in a body.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailBody {
    /// Its e-mail address.
    pub email: Email,
}

/// Selects an account, in a query.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EmailQuery {
    /// Its e-mail address.
    pub email: Email,
}

/// Grants or revokes admin rights.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAdmin {
    /// Its e-mail address.
    pub email: Email,
    /// Whether it has admin rights.
    pub admin: bool,
}

/// Sets the quota of an account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    /// Its e-mail address.
    pub email: Email,
    /// The quota of this account; the default when null or left out.
    pub quota: Option<Quota>,
}

/// Transfers an instance to an account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The account's e-mail address.
    pub email: Email,
    /// The instance.
    pub name: Name,
}

/// An invitation to create.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The only address it can be used for; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Lifetime in days, 1 to 365; 7 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 7, minimum = 1, maximum = 365)]
    pub days: Option<u32>,
}

/// An open invitation, without its token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// Its id.
    pub id: String,
    /// The only address it is for.
    pub email: Option<Email>,
    /// Who created it.
    pub created_by: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

impl From<Link> for Invitation {
    fn from(link: Link) -> Self {
        Self {
            id: link.id,
            email: link.email,
            created_by: link.created_by,
            created_at: link.created_at,
            expires_at: link.expires_at,
        }
    }
}

/// Invitations, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invitations {
    /// The open invitations.
    pub invitations: Vec<Invitation>,
}

/// Selects an invitation.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InvitationQuery {
    /// Its id.
    pub id: String,
}
