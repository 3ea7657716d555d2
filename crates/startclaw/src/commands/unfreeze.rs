//! `startclaw unfreeze`: unfreezes a frozen container, whatever happens to the daemon.

use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub struct Unfreeze {
    /// Docker's socket
    #[arg(long)]
    docker: String,
    /// The container's name
    #[arg(long)]
    container: String,
    /// Seconds until it is unfrozen
    #[arg(long)]
    after: f64,
}

impl Unfreeze {
    pub async fn run(self) -> anyhow::Result<()> {
        let after = Duration::try_from_secs_f64(self.after)?;
        Ok(startclaw_docker::unfreeze_later(&self.docker, &self.container, after).await?)
    }
}
