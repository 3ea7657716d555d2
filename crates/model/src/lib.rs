//! The types of StartClaw and their rules. This crate does no I/O.

#![warn(missing_docs)]

mod account;
mod check;
mod desired;
mod event;
mod instance;
mod label;
mod name;
mod operation;
mod principal;
mod provider;
mod schema;
mod scope;
mod secret;
mod slot;
mod snapshot;
mod snapshot_choice;
mod state;
mod step;
mod time;
mod time_zone;
mod volumes;

pub use account::{Account, AccountId, AccountState, Email, EmailError, Quota};
pub use check::{Check, CheckStatus};
pub use desired::{
    DeletionPolicy, Desired, Limits, LimitsError, Presence, Profile, TelegramAccess,
};
pub use event::{Actor, Event, EventKind};
pub use instance::{Instance, InstanceId, InstanceRef, Owner, OwnerError};
pub use label::{is_label, is_visible};
pub use name::{Name, NameError};
pub use operation::{
    Operation, OperationId, OperationKind, OperationState, OperationStep, StepProgress, StepState,
};
pub use principal::Principal;
pub use provider::{ModelProvider, ModelProviderError, ProviderKind};
pub use scope::{Scope, Scopes, ScopesError};
pub use secret::{Secret, SecretName, SecretNameError};
pub use slot::{AddressPool, AddressPoolError, Slot};
pub use snapshot::{BackupPause, BackupPlace, CONTROL_PLANE, Snapshot, SnapshotId, VerifiedBackup};
pub use snapshot_choice::{NoChoice, SnapshotChoice, SnapshotChoiceError};
pub use state::{Health, InstanceState, MAX_LOG_LINES};
pub use step::StepName;
pub use time::Timestamp;
pub use time_zone::{TimeZone, TimeZoneError};
pub use volumes::{Replaced, Volumes};
