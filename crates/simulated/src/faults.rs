//! Fault injection for a simulated host.

use std::time::Duration;

use startclaw_host::{HostError, objects::Step};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing: it works.
    #[default]
    None,
    /// It fails without effect.
    FailBefore,
    /// It takes effect, but returns an error.
    FailAfter,
    /// It is refused without effect.
    Refuse,
    /// It takes this long.
    Lag(Duration),
    /// It never returns, without effect: a point at which the caller can crash.
    HangBefore,
    /// It takes effect and never returns.
    HangAfter,
}

impl Fault {
    pub(super) async fn before(self) -> Result<(), HostError> {
        match self {
            Self::FailBefore => Err(HostError::unavailable("simulated: failed before")),
            Self::Refuse => Err(HostError::refused("simulated: refused")),
            Self::Lag(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Self::HangBefore => std::future::pending().await,
            Self::None | Self::FailAfter | Self::HangAfter => Ok(()),
        }
    }

    pub(super) async fn after(self) -> Result<(), HostError> {
        match self {
            Self::FailAfter => Err(HostError::unavailable("simulated: failed after")),
            Self::HangAfter => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

/// A kind of call about one instance that hangs, as Docker can hang for one container or volume
/// and answer for all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hang {
    /// The name of the instance.
    pub name: String,
    /// `observe`, or the name of a step.
    pub call: &'static str,
    /// When it fails; with [`Duration::MAX`] it never returns.
    pub limit: Duration,
}

/// Decides for each call, by its number and, when it is one, its step.
#[derive(Default)]
pub struct Faults(Option<Box<Decider>>);

type Decider = dyn Fn(u64, Option<&Step>) -> Fault + Send;

impl Faults {
    /// Nothing fails.
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls `decide` for each call.
    pub fn by(decide: impl Fn(u64, Option<&Step>) -> Fault + Send + 'static) -> Self {
        Self(Some(Box::new(decide)))
    }

    pub(super) fn at(&self, call: u64, step: Option<&Step>) -> Fault {
        self.0.as_ref().map_or(Fault::None, |decide| decide(call, step))
    }
}
