//! An operation: a requested change, with steps, progress and an outcome.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Actor, InstanceId, Name, SnapshotId, StepName, Timestamp};

/// Identifies an operation; ids sort by the time they were made.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct OperationId(pub String);

impl OperationId {
    /// A new id.
    #[expect(clippy::new_without_default, reason = "a new id each time is no default")]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Create and start an instance.
    Provision,
    /// Recreate its container.
    Restart,
    /// Update its secrets.
    SetSecrets,
    /// Remove it and its data.
    Deprovision,
    /// Store a snapshot of its volume.
    Backup,
    /// Restore a snapshot.
    Restore,
    /// Test-restore its newest snapshot in isolation.
    Drill,
}

impl OperationKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Restart => "restart",
            Self::SetSecrets => "set-secrets",
            Self::Deprovision => "deprovision",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Drill => "drill",
        }
    }
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// Behind another operation of the same instance, or not begun.
    Queued,
    /// Under way.
    Running,
    /// Done.
    Succeeded,
    /// Failed; `error` says why.
    Failed,
}

impl OperationState {
    /// Whether nothing more will happen.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Under way.
    Running,
    /// Done.
    Done,
    /// Failed; it may be tried again as a new step.
    Failed,
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperationStep {
    /// What is done. Later versions may have other names.
    #[schema(value_type = String)]
    pub name: StepName,
    /// How far it is.
    pub state: StepState,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// What went wrong, or a remark.
    pub detail: Option<String>,
    /// Progress, where it is known. Shown while it runs, not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<StepProgress>,
}

/// How far a step is that reads or writes many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepProgress {
    /// Files done.
    pub files: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes to do, where that is known.
    pub total_bytes: Option<u64>,
}

/// A requested change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What was requested.
    pub kind: OperationKind,
    /// Of which instance; the id outlives the instance.
    pub instance: InstanceId,
    /// The instance's name at that time.
    pub name: Name,
    /// Who requested it.
    #[schema(value_type = String)]
    pub actor: Actor,
    /// How far it is.
    pub state: OperationState,
    /// The steps so far, in order.
    pub steps: Vec<OperationStep>,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// The snapshot that a backup made, that a restore brings back or that a drill tried.
    #[schema(value_type = Option<String>)]
    pub snapshot: Option<SnapshotId>,
    /// The instance that a restored snapshot was taken of.
    pub source: Option<InstanceId>,
    /// When it was requested.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its first step began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl Operation {
    /// A new, queued operation.
    pub fn new(kind: OperationKind, instance: InstanceId, name: Name, actor: Actor) -> Self {
        Self {
            id: OperationId::new(),
            kind,
            instance,
            name,
            actor,
            state: OperationState::Queued,
            steps: Vec::new(),
            error: None,
            snapshot: None,
            source: None,
            created_at: Timestamp::now(),
            started_at: None,
            finished_at: None,
        }
    }
}

impl Operation {
    /// Begins a step and ends the previous one. Returns `false` when the same step is running
    /// already, such as the wait for the boot.
    pub fn begin_step(&mut self, name: StepName) -> bool {
        if self.steps.last().is_some_and(|s| s.name == name && s.state == StepState::Running) {
            return false;
        }
        self.close_step(StepState::Done);
        let now = Timestamp::now();
        self.state = OperationState::Running;
        self.started_at.get_or_insert(now);
        self.steps.push(OperationStep {
            name,
            state: StepState::Running,
            started_at: now,
            finished_at: None,
            detail: None,
            progress: None,
        });
        true
    }

    /// Marks the current step as failed; it will be retried.
    pub fn fail_step(&mut self, why: &str) {
        if let Some(step) = self.running_step() {
            step.detail = Some(why.to_owned());
        }
        self.close_step(StepState::Failed);
    }

    /// Sets the outcome.
    pub fn close(&mut self, outcome: Result<(), String>) {
        let now = Timestamp::now();
        self.close_step(if outcome.is_ok() { StepState::Done } else { StepState::Failed });
        self.started_at.get_or_insert(now);
        self.finished_at = Some(now);
        self.state =
            if outcome.is_ok() { OperationState::Succeeded } else { OperationState::Failed };
        self.error = outcome.err();
    }

    fn running_step(&mut self) -> Option<&mut OperationStep> {
        self.steps.last_mut().filter(|step| step.state == StepState::Running)
    }

    fn close_step(&mut self, state: StepState) {
        if let Some(step) = self.running_step() {
            step.state = state;
            step.progress = None;
            step.finished_at = Some(Timestamp::now());
        }
    }
}
