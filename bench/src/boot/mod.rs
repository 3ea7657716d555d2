//! From the request for an instance to its first response: StartClaw over HTTPS at the instance's
//! own address, against a bare `docker run` and `openclaw fleet create` of the same image.

mod bare;
mod ours;

use std::path::Path;

use crate::{fleet, machine, samples::Samples};

pub use ours::Steps;

/// The results.
pub struct Boot {
    pub ours: Samples,
    pub bare: Samples,
    pub fleet: Samples,
    /// The duration of StartClaw's steps.
    pub steps: Steps,
    /// The largest share of the cores used by other processes before a start.
    pub busy: f64,
}

/// Starts each of the three in turn, so that changing load on the host affects all alike.
pub async fn measure(rounds: usize, release: &Path) -> anyhow::Result<Boot> {
    let mut platform = ours::Platform::start().await?;
    let fleet = fleet::Fleet::new(release)?;
    fleet.warm_up().await?;
    // One warm-up start: the image's files are cached for all that follow.
    bare::start(0).await?;

    let mut found = Boot {
        ours: Samples::default(),
        bare: Samples::default(),
        fleet: Samples::default(),
        steps: Steps::default(),
        busy: 0.0,
    };
    for round in 1..=rounds {
        found.busy = found.busy.max(machine::quiet().await?);
        let ours = platform.start_instance(round, &mut found.steps).await?;
        found.busy = found.busy.max(machine::quiet().await?);
        let bare = bare::start(round).await?;
        found.busy = found.busy.max(machine::quiet().await?);
        let fleet = fleet.start(round).await?;
        eprintln!(
            "start {round}/{rounds}: StartClaw {ours:.2?}, docker run {bare:.2?}, fleet {fleet:.2?}"
        );
        found.ours.push(ours);
        found.bare.push(bare);
        found.fleet.push(fleet);
    }
    Ok(found)
}
