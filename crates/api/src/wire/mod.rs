//! Wire types, one file per topic. Requests reject unknown fields, so that a misspelt option is an
//! error and not silently the default.

mod access;
mod account;
mod backup;
mod instance;
mod list;
mod provision;
mod secret;
mod telegram;

pub use access::{CreateToken, FreshToken, SignInLink, Token, TokenQuery, Tokens};
pub use account::{
    Account, AccountLink, Accounts, CreateAccount, EmailBody, EmailQuery, FreshAccount, Invitation,
    InvitationQuery, Invitations, Invite, Quota, SetAdmin, SetQuota, Transfer, Usage,
};
pub use backup::{
    Backup, BackupDestination, Backups, DeprovisionQuery, Drill, PurgeQuery, PurgedBackups,
    RemovedInstance, RemovedInstances, RemovedQuery, RescannedBackups, Restore,
};
pub use instance::{Instance, Instances};
pub use list::{
    Alert, Alerts, AlertsQuery, CheckList, Events, EventsQuery, LogsQuery, NameQuery, NamedQuery,
    OperationEvent, Operations, OperationsQuery,
};
pub use provision::{NameBody, Provision, WantedLimits};
pub use secret::{SecretInfo, SecretQuery, Secrets, SentSecret, SetSecret};
pub use telegram::{ApproveTelegram, PairingRequest, Telegram, TelegramConnection};
