//! Lists, and the query parameters that choose what is in them.

use serde::{Deserialize, Serialize};
use startclaw_model::{Check, Event, Name, Operation};
use utoipa::{IntoParams, ToSchema};

/// Which instance, if one.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NameQuery {
    /// This instance only.
    #[param(value_type = Option<String>, example = "alice")]
    pub name: Option<Name>,
}

/// Which instance.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NamedQuery {
    /// The instance.
    #[param(value_type = String, example = "alice")]
    pub name: Name,
}

/// Which operations.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OperationsQuery {
    /// Of this instance only.
    #[param(value_type = Option<String>, example = "alice")]
    pub name: Option<Name>,
    /// At most this many, 1 to 1000; 50 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Which events.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Of this instance only.
    #[param(value_type = Option<String>, example = "alice")]
    pub name: Option<Name>,
    /// At most this many, 1 to 1000; 50 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Which part of whose log.
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
    /// Go on with new lines as they come.
    #[serde(default)]
    pub follow: bool,
}

/// Operations.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Operations {
    /// The newest first.
    pub operations: Vec<Operation>,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The newest first.
    pub events: Vec<Event>,
}

/// The results of all checks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckList {
    /// One for each check.
    pub checks: Vec<Check>,
}
