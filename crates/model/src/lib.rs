//! The nouns of StartClaw and the rules they carry. No I/O happens here.

mod desired;
mod event;
mod finding;
mod instance;
mod name;
mod operation;
mod provider;
mod scope;
mod secret;
mod slot;
mod state;
mod time;

pub use desired::{Desired, Limits, LimitsError, Presence, Profile};
pub use event::{Actor, Event, EventKind};
pub use finding::{Finding, Verdict};
pub use instance::{Instance, InstanceId, Owner, OwnerError};
pub use name::{Name, NameError};
pub use operation::{
    Operation, OperationId, OperationKind, OperationState, OperationStep, StepState,
};
pub use provider::{ModelProvider, ModelProviderError, ProviderKind};
pub use scope::{Scope, Scopes, ScopesError};
pub use secret::{Secret, SecretName, SecretNameError};
pub use slot::{AddressPool, AddressPoolError, Slot};
pub use state::{Health, InstanceState, MAX_LOG_LINES};
pub use time::Timestamp;
