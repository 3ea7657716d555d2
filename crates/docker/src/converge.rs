//! Convergence: takes the next step towards a target.

use std::ops::ControlFlow;

use startclaw_host::{
    Convergence, HostError, InstanceSpec, Observed, StepReporter, Target, objects::next_step,
};
use startclaw_model::StepName;

use super::DockerHost;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The image is not on the host: it must be pulled first.
    #[error("the image {0} is not here")]
    NoImage(String),
    /// Something else.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl DockerHost {
    pub(super) async fn take_step(
        &self,
        spec: &InstanceSpec,
        target: Target,
        observed: &Observed,
        report: &mut dyn StepReporter,
    ) -> Result<Convergence, HostError> {
        let step = match next_step(spec, target, observed).step(observed) {
            ControlFlow::Continue(step) => step,
            ControlFlow::Break(outcome) => return outcome,
        };
        report.begin(step.name()).await;
        match self.apply(spec, &step).await {
            Ok(()) => Ok(Convergence::Step(step.name())),
            Err(StepError::NoImage(image)) => {
                report.begin(StepName::Image).await;
                self.fetch_image(&image).await?;
                Ok(Convergence::Step(StepName::Image))
            }
            Err(StepError::Host(e)) => Err(e),
        }
    }
}
