//! The portal's pages: how long the daemon takes to render them with many instances, and how long a
//! real Chromium takes to the first paint, against OpenClaw's own page.

mod many;
mod paint;

use crate::{machine, samples::Samples};

/// The size of the measurement.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Simulated instances, each of its own account.
    instances: usize,
    /// Number of requests per page.
    requests: usize,
    /// Number of paints per page, in a fresh browser and at the next visit.
    paints: usize,
}

impl Sizes {
    pub const FULL: Self = Self { instances: 1_000, requests: 300, paints: 15 };
    pub const QUICK: Self = Self { instances: 1_000, requests: 50, paints: 3 };
}

/// A page, requested repeatedly.
pub struct Made {
    pub name: &'static str,
    pub took: Samples,
    /// Bytes of the page, uncompressed.
    pub size: usize,
}

/// A page, painted repeatedly.
pub struct Painted {
    pub name: &'static str,
    pub ours: bool,
    /// In a browser with no cache but cookies.
    pub fresh: Samples,
    /// At the next visit.
    pub again: Samples,
}

/// The results.
pub struct Pages {
    pub instances: usize,
    pub made: Vec<Made>,
    pub painted: Vec<Painted>,
    pub busy: f64,
}

pub async fn measure(sizes: Sizes) -> anyhow::Result<Pages> {
    let busy = machine::quiet().await?;
    let made = many::measure(sizes).await?;
    let busy = busy.max(machine::quiet().await?);
    let painted = paint::measure(sizes).await?;
    Ok(Pages { instances: sizes.instances, made, painted, busy })
}
