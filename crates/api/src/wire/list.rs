//! Lists, and their query parameters.

use serde::{Deserialize, Serialize};
use startclaw_model::{Check, Event, Name, Operation};
use utoipa::{IntoParams, ToSchema};

/// Selects an instance, optionally.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NameQuery {
    /// Only this instance.
    #[param(value_type = Option<String>, example = "alice")]
    pub name: Option<Name>,
}

/// Selects an instance.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NamedQuery {
    /// The instance.
    #[param(value_type = String, example = "alice")]
    pub name: Name,
}

/// Selects operations.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OperationsQuery {
    /// Only of this instance.
    #[param(value_type = Option<String>, example = "alice")]
    pub name: Option<Name>,
    /// At most this many, 1 to 1000; 50 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Selects events.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only of this instance.
    #[param(value_type = Option<String>, example = "alice")]
    pub name: Option<Name>,
    /// At most this many, 1 to 1000; 50 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Selects an instance's log, and a part of it.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// The instance.
    #[param(value_type = String, example = "alice")]
    pub name: Name,
    /// Number of last lines, 0 to 10000; 100 when left out.
    #[param(minimum = 0, maximum = 10000)]
    pub tail: Option<u32>,
    /// Follow the log.
    #[serde(default)]
    pub follow: bool,
}

/// Operations.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Operations {
    /// The newest first.
    pub operations: Vec<Operation>,
}

/// Events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The newest first.
    pub events: Vec<Event>,
}

/// The results of all checks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckList {
    /// One result per check.
    pub checks: Vec<Check>,
}
