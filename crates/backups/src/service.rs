//! The service: what it holds, and its interface for the engine.

use std::sync::Arc;

use async_trait::async_trait;
use startclaw_backup::BackupError;
use startclaw_engine::{EngineError, JobContext, JobService, Supervisor};
use startclaw_host::InventoryItem;
use startclaw_model::{Actor, Check, Instance, InstanceId, Snapshot};

use crate::{
    BackupSettings, Repositories, RepositoryLayout, bucket::Bucket, control_plane::ControlPlane,
    jobs::Jobs, space::Space,
};

/// Carries out backups, restores and restore tests. Cheap to clone; all clones are the same service.
#[derive(Clone)]
pub struct BackupService(Arc<Inner>);

pub(crate) struct Inner {
    pub settings: BackupSettings,
    pub layout: RepositoryLayout,
    pub repositories: Arc<dyn Repositories>,
    pub jobs: Jobs,
    pub control_plane: ControlPlane,
    pub bucket: Bucket,
    pub space: Space,
    /// Held while the identity of the destination is read or created.
    pub identifying: tokio::sync::Mutex<()>,
    /// Held while the clock is compared with what is known of it.
    pub checking_clock: tokio::sync::Mutex<()>,
}

/// The service, with the engine that it works for.
#[derive(Clone)]
pub(crate) struct Backups {
    pub engine: JobContext,
    pub inner: Arc<Inner>,
}

impl BackupService {
    /// A service with these settings, whose jobs run on `repositories`.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub fn new(
        settings: BackupSettings,
        repositories: Arc<dyn Repositories>,
    ) -> Result<Self, BackupError> {
        let layout = RepositoryLayout::new(&settings)?;
        let jobs = Jobs::new(settings.side_by_side);
        Ok(Self(Arc::new(Inner {
            settings,
            layout,
            repositories,
            jobs,
            control_plane: ControlPlane::default(),
            bucket: Bucket::default(),
            space: Space::default(),
            identifying: tokio::sync::Mutex::default(),
            checking_clock: tokio::sync::Mutex::default(),
        })))
    }

    fn of(&self, engine: &JobContext) -> Backups {
        Backups { engine: engine.clone(), inner: self.0.clone() }
    }
}

#[async_trait]
impl JobService for BackupService {
    fn start(&self, context: &JobContext, tasks: &Supervisor) {
        let service = self.of(context);
        tasks.spawn("backup jobs", service.clone().run_jobs());
        tasks.spawn("nightly backups", service.clone().run_nightly());
        tasks.spawn("restore tests", service.clone().run_drills());
        tasks.spawn("uploads", service.clone().upload_loop());
        tasks.spawn("control plane backup", service.clone().keep_control_plane());
        tasks.spawn("destination", service.clone().watch_destination());
        tasks.spawn("clock", service.clone().watch_clock());
        tasks.spawn("archives", service.collect_archives_daily());
    }

    fn is_busy(&self, id: &InstanceId) -> bool {
        self.0.jobs.is_busy(id)
    }

    fn request_pre_delete(&self, id: &InstanceId) {
        self.0.jobs.request_pre_delete(id);
    }

    fn wake(&self) {
        self.0.jobs.wake();
    }

    async fn choose_for_drill(
        &self,
        context: &JobContext,
    ) -> Result<Option<Instance>, EngineError> {
        self.of(context).choose_for_drill().await
    }

    async fn purge_archives(&self, context: &JobContext) -> Result<(), EngineError> {
        self.of(context).purge_archives().await
    }

    async fn remove_stray(&self, context: &JobContext, found: &InventoryItem) -> bool {
        self.of(context).remove_stray_test_instance(found).await
    }

    async fn accept_destination(
        &self,
        context: &JobContext,
        actor: &Actor,
    ) -> Result<String, EngineError> {
        self.of(context).accept_destination(actor).await
    }

    async fn rescan(&self, context: &JobContext) -> Result<(u64, u64), EngineError> {
        self.of(context).rescan().await
    }

    async fn retention(
        &self,
        context: &JobContext,
        snapshots: &[Snapshot],
    ) -> Result<Vec<String>, EngineError> {
        self.of(context).explain(snapshots).await
    }

    async fn diagnose(&self, context: &JobContext) -> Vec<Check> {
        let service = self.of(context);
        vec![
            service.check_destination().await,
            service.check_verification(),
            service.check_drill().await,
        ]
    }
}
