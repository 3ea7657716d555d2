//! A restore test (drill): an instance's newest backup is restored into a test instance, its
//! databases are checked, and OpenClaw is booted on it in isolation: without a network, and with
//! placeholders as secrets.
//!
//! Its objects belong to a test instance that is not in the database, so the reconcile loop never
//! takes them for those of the real one. The sweep removes them after a crash.

use std::time::Duration;

use futures::StreamExt;
use startclaw_backup::{BackupError, BackupErrorKind, Report, Repository, Work};
use startclaw_engine::{EngineError, REMOVED, has_started};
use startclaw_host::{
    ContainerState, Convergence, Enforced, HostError, InstanceSpec, InventoryItem, LogRequest,
    NoReport, SecretFile, Target, VolumeMount, excerpt,
};
use startclaw_model::{
    Instance, InstanceId, Limits, Name, Operation, Presence, Secret, Slot, StepName, Timestamp,
};
use startclaw_openclaw as openclaw;
use startclaw_store::{Copy, Drill};
use tokio::time::Instant;

use crate::{
    Backups,
    attempts::Attempts,
    drill, passes,
    take::{inside, unavailable},
};

/// The number of attempts before a drill fails.
const TRIES: u32 = 3;
/// The prefix of the ids of test instances; real ones are UUIDs.
const MARK: &str = "drill-";
/// CPUs of a test instance: it boots in 20 s without affecting other instances.
const CPUS: f64 = 0.5;
/// The placeholder for every secret. It has the format of a bot's token, the only format that
/// OpenClaw checks.
const PLACEHOLDER: &str = "1:placeholder-for-a-drill";
/// The number of log lines that are kept when it does not start.
const LINES: usize = 10;
/// The interval of boot checks, as a multiple of that of a normal boot, which users wait for.
const POLLS_PER_CHECK: u32 = 5;

/// More steps than a test instance takes.
const STEPS: u32 = 30;
/// The wait until Docker tells which volumes there are.
const POLL: Duration = Duration::from_secs(1);

fn test_instance_id(of: &InstanceId) -> InstanceId {
    InstanceId(format!("{MARK}{of}"))
}

impl Backups {
    /// Runs a requested drill.
    pub(crate) async fn run_restore_test(
        &self,
        mut operation: Operation,
    ) -> Result<(), EngineError> {
        let mut attempts = Attempts::default();
        while let Some(_room) =
            self.next_attempt(&mut attempts, &mut operation, &self.inner.jobs.rooms.drills).await?
        {
            let found = self.engine.store().instance_and_key(&operation.instance).await?;
            let instance = found.map(|(instance, _)| instance);
            let Some(instance) = instance.filter(|i| i.desired.presence == Presence::Present)
            else {
                return self.end_removed(operation).await;
            };
            let done = self.run_restore_test_once(&instance, &mut operation).await;
            match done {
                // The next daemon starts it again.
                Err(_) if self.engine.is_stopping() => return Ok(()),
                Err(_) if self.is_to_go(&instance.id) => return self.end_removed(operation).await,
                Err(e) if attempts.retries(&e, TRIES) => attempts.failed(e),
                done => return self.end_drill(operation, done.map_err(|e| e.message)).await,
            }
        }
        Ok(())
    }

    /// The instance is being removed: that is not a failure of its backup.
    async fn end_removed(&self, mut operation: Operation) -> Result<(), EngineError> {
        self.engine.store().resolve(&alert_key(&operation.name)).await?;
        self.engine.finish(&mut operation, Err(REMOVED.into())).await
    }

    fn is_to_go(&self, id: &InstanceId) -> bool {
        let entry = self.engine.instance(id);
        entry.is_none_or(|entry| entry.instance.desired.presence == Presence::Absent)
    }

    async fn run_restore_test_once(
        &self,
        instance: &Instance,
        operation: &mut Operation,
    ) -> Result<(), BackupError> {
        let spec = InstanceSpec {
            id: test_instance_id(&instance.id),
            volume: 0,
            volume_holds_data: true,
            kept_volumes: Vec::new(),
            isolated: true,
            limits: Limits { cpus: CPUS, ..instance.desired.profile.limits },
            secrets: self.placeholders(&instance.id).await.map_err(inside)?,
            ..self.engine.spec_of(instance).await.map_err(unavailable)?
        };
        // First remove what a crash left.
        self.remove_test_instance(&spec).await?;
        let done = self.restore_and_boot(instance, &spec, operation).await;
        if self.engine.is_stopping() {
            return done;
        }
        if done.is_ok() {
            self.engine.step(operation, StepName::Cleanup).await;
        }
        if let Err(e) = self.remove_test_instance(&spec).await {
            tracing::warn!(name = %spec.name, error = %e.message, "cannot remove leftovers of a restore test yet");
        }
        done
    }

    async fn restore_and_boot(
        &self,
        instance: &Instance,
        spec: &InstanceSpec,
        operation: &mut Operation,
    ) -> Result<(), BackupError> {
        let known = self.engine.store().snapshots(&instance.id).await.map_err(inside)?;
        let newest = known.into_iter().find(|s| s.remote).ok_or_else(|| BackupError {
            kind: BackupErrorKind::NoSnapshot,
            message: "it has no backup at the destination".into(),
        })?;
        operation.snapshot = Some(newest.id.clone());
        let room = self.room_for(operation, &instance.id, &newest.id).await?;
        let repository = self.offsite_repository(instance.id.as_str()).await?;
        let data = self.restore_into_volume(spec, repository, &newest.id, &room, operation).await?;
        drop(room);
        self.check_databases(data, operation).await?;
        self.engine.step(operation, StepName::Boot).await;
        let booted = self.engine.unless_stopped(self.boot_test_instance(instance, spec)).await;
        let booted = booted.unwrap_or_else(|| Err(crate::take::stopped()));
        if let Err(e) = &booted
            && !passes(e)
        {
            let said = self.last_lines(&spec.id).await;
            operation.fail_step(&format!("{}. It said: {said}", e.message));
        }
        booted
    }

    async fn check_databases(
        &self,
        data: VolumeMount,
        operation: &mut Operation,
    ) -> Result<(), BackupError> {
        self.engine.step(operation, StepName::Databases).await;
        // The worker that opens a tenant's databases must not have the repository's key.
        let work = Work::CheckDatabases { root: data.root, uid: data.uid };
        match self.run(None::<Repository>, work).await? {
            Report::DatabasesChecked { good, unknown } => {
                if let Some(step) = operation.steps.last_mut() {
                    step.detail = Some(match unknown {
                        0 => format!("{good} are good"),
                        n => format!("{good} are good, {n} cannot be checked"),
                    });
                }
                Ok(())
            }
            other => Err(crate::unexpected_report(other)),
        }
    }

    /// Boots OpenClaw on the volume, prepared as after a restore, and waits until it has started.
    async fn boot_test_instance(
        &self,
        instance: &Instance,
        spec: &InstanceSpec,
    ) -> Result<(), BackupError> {
        let host = &self.engine.host();
        let timing = &self.engine.timing();
        self.start_test_instance(instance, spec).await?;
        let begun = Instant::now();
        loop {
            let seen = host.observe(spec).await.map_err(unavailable)?;
            if has_started(&seen.probe) {
                return Ok(());
            }
            if self.is_to_go(&instance.id) {
                // The removal waits for this job.
                return Err(no_boot(REMOVED.into()));
            }
            match seen.container.map(|c| c.state) {
                Some(ContainerState::Exited(exit)) => {
                    return Err(no_boot(openclaw::exit_reason(exit.code, exit.oom_killed)));
                }
                None => return Err(no_boot("its container was removed".into())),
                Some(_) if begun.elapsed() >= timing.boot_limit => {
                    let limit = timing.boot_limit.as_secs();
                    return Err(no_boot(format!("it did not start within {limit} s")));
                }
                Some(_) => tokio::time::sleep(timing.boot_poll * POLLS_PER_CHECK).await,
            }
        }
    }

    async fn start_test_instance(
        &self,
        instance: &Instance,
        spec: &InstanceSpec,
    ) -> Result<(), BackupError> {
        let endpoints = self.engine.endpoints_of(instance).await.map_err(unavailable)?;
        let setup = self.engine.setup(instance, &endpoints);
        let mut spec = spec.clone();
        let target = Target::Running(Enforced::Nothing);
        for _ in 0..STEPS {
            let seen = self.engine.host().observe(&spec).await.map_err(unavailable)?;
            // An unreadable file is left to OpenClaw.
            spec.config = openclaw::configuration(seen.config.as_deref(), &setup)
                .ok()
                .filter(|wanted| seen.config.as_deref() != Some(wanted.as_slice()))
                .map(bytes::Bytes::from);
            match self.engine.host().converge(&spec, target, &seen, &mut NoReport).await {
                // Not again, if it ends at once.
                Ok(Convergence::Step(StepName::Start) | Convergence::Done) => return Ok(()),
                Ok(Convergence::Step(_)) => {}
                Ok(Convergence::Waiting(_)) => tokio::time::sleep(POLL).await,
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(unavailable(HostError::unavailable("the test instance does not converge")))
    }

    /// The secrets file with a placeholder for each secret.
    async fn placeholders(&self, id: &InstanceId) -> Result<Vec<SecretFile>, EngineError> {
        let names = self.engine.store().secrets(id).await?.into_iter().map(|s| s.name.to_string());
        let all: serde_json::Map<_, _> = names.map(|name| (name, PLACEHOLDER.into())).collect();
        let content = serde_json::to_string(&all).map_err(EngineError::inside)?;
        let name = openclaw::SECRETS_FILE.to_owned();
        Ok(vec![SecretFile { name, value: Secret::new(content) }])
    }

    async fn last_lines(&self, id: &InstanceId) -> String {
        let request = LogRequest { tail: LINES, follow: false };
        let Ok(lines) = self.engine.host().logs(id, request).await else { return "nothing".into() };
        let lines = lines.filter_map(async |line| line.ok().map(excerpt));
        let lines: Vec<_> = lines.take(LINES).collect().await;
        if lines.is_empty() { "nothing".into() } else { lines.join("\n") }
    }

    /// Stores the result of a drill, and ends the operation.
    async fn end_drill(
        &self,
        mut operation: Operation,
        outcome: Result<(), String>,
    ) -> Result<(), EngineError> {
        if self.engine.operation(&operation.id).await?.state.is_over() {
            // The instance was removed meanwhile.
            return Ok(());
        }
        let alert = alert_key(&operation.name);
        metrics::counter!("startclaw_drills_total").increment(1);
        match &outcome {
            Ok(()) => {
                self.engine.store().resolve(&alert).await?;
                let whole = operation.snapshot.as_slice();
                self.note_whole(&operation.instance, Copy::Remote, whole).await?;
            }
            Err(why) => {
                tracing::error!(name = %operation.name, error = why, "a drill failed");
                metrics::counter!("startclaw_drills_failed_total").increment(1);
                self.engine.store().fire(&alert, why).await?;
            }
        }
        self.engine.alerts_changed();
        let last = Drill {
            instance: operation.instance.clone(),
            name: operation.name.clone(),
            snapshot: operation.snapshot.clone(),
            at: Timestamp::now(),
            error: outcome.as_ref().err().cloned(),
        };
        self.engine.store().note_drill(&last).await?;
        drill::show(&last);
        self.engine.finish(&mut operation, outcome).await
    }

    /// Removes the test instance; the volume last, because the sweep finds leftovers by it.
    async fn remove_test_instance(&self, spec: &InstanceSpec) -> Result<(), BackupError> {
        let target = Target::Absent { keep_volumes: false };
        for _ in 0..STEPS {
            let seen = self.engine.host().observe(spec).await.map_err(unavailable)?;
            match self.engine.host().converge(spec, target, &seen, &mut NoReport).await {
                Ok(Convergence::Done) => return Ok(()),
                Ok(Convergence::Step(_)) => {}
                Ok(Convergence::Waiting(_)) => tokio::time::sleep(POLL).await,
                Err(e) => return Err(unavailable(e)),
            }
        }
        Err(unavailable(HostError::unavailable("the test instance does not converge")))
    }

    /// Removes a test instance whose restore test does not run any more; `false` when the found
    /// item is not a test instance.
    pub(crate) async fn remove_stray_test_instance(&self, found: &InventoryItem) -> bool {
        let Some(of) = found.id.as_str().strip_prefix(MARK) else { return false };
        let Ok(name) = Name::parse(&found.name) else { return false };
        // A running restore test holds the claim of its instance.
        let Some(_claim) = self.inner.jobs.claim(&InstanceId(of.to_owned())) else { return true };
        let spec = InstanceSpec {
            id: found.id.clone(),
            name,
            slot: Slot(0),
            volume: 0,
            volume_holds_data: true,
            kept_volumes: Vec::new(),
            isolated: true,
            image: String::new(),
            limits: Limits::default(),
            digest: String::new(),
            config: None,
            secrets_revision: 0,
            secrets: Vec::new(),
            workload: self.engine.workload(),
        };
        match self.remove_test_instance(&spec).await {
            Ok(()) => {
                tracing::info!(name = %spec.name, "removed leftovers of a restore test")
            }
            Err(e) => {
                tracing::warn!(name = %spec.name, error = %e.message, "cannot remove leftovers of a restore test yet");
            }
        }
        true
    }
}

fn alert_key(name: &Name) -> String {
    format!("drill/{name}")
}

fn no_boot(why: String) -> BackupError {
    let message = format!("OpenClaw does not start on the restored data: {why}");
    BackupError { kind: BackupErrorKind::Damaged, message }
}
