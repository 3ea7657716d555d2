//! Lists, and their query parameters.

use serde::{Deserialize, Serialize};
use startclaw_engine::AlertRecord;
use startclaw_model::{Check, Event, Name, Operation, Timestamp};
use utoipa::{IntoParams, ToSchema};

/// Selects an instance, optionally.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NameQuery {
    /// This instance only.
    #[param(nullable = false)]
    pub name: Option<Name>,
}

/// Selects an instance.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NamedQuery {
    /// The instance.
    pub name: Name,
}

/// Selects operations.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OperationsQuery {
    /// Of this instance only.
    #[param(nullable = false)]
    pub name: Option<Name>,
    /// At most this many, 1 to 1000; 50 when left out.
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// Selects events.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Of this instance only.
    #[param(nullable = false)]
    pub name: Option<Name>,
    /// At most this many, 1 to 1000; 50 when left out.
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// Selects an instance's log, and a part of it.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// The instance.
    pub name: Name,
    /// The last so many lines, 0 to 10000; 100 when left out.
    #[param(minimum = 0, maximum = 10000, nullable = false)]
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

/// What a stream of an operation sends: the operation, each time that it changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OperationEvent {
    /// The kind of event: `operation`.
    #[schema(example = "operation")]
    pub event: String,
    /// The number of the event in this stream, from 0.
    #[schema(example = "0")]
    pub id: String,
    /// The operation, as `GET /operations/{id}` answers it.
    #[schema(content_media_type = "application/json")]
    pub data: String,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The newest first.
    pub events: Vec<Event>,
}

/// Selects alerts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// At most this many, 1 to 1000; 50 when left out.
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// A condition that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// What it is about.
    #[schema(example = "backup/alice")]
    pub key: String,
    /// What is wrong, and what to do.
    pub detail: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it was resolved; null while it is firing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
}

impl From<AlertRecord> for Alert {
    fn from(alert: AlertRecord) -> Self {
        let AlertRecord { key, detail, since, resolved_at } = alert;
        Self { key, detail, since, resolved_at }
    }
}

/// Alerts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Alerts {
    /// The newest first.
    pub alerts: Vec<Alert>,
}

/// The results of all checks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckList {
    /// One result per check.
    pub checks: Vec<Check>,
}
