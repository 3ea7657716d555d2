//! The pages that people see: how long the daemon takes to make them when there are many instances,
//! and how long a real Chromium takes until it has painted something, against OpenClaw's own page.

mod many;
mod paint;

use crate::{machine, samples::Samples};

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Simulated instances, each of an account of its own.
    instances: usize,
    /// How often each page is asked for.
    requests: usize,
    /// How often each page is painted, in a browser that knows nothing and once more.
    paints: usize,
}

impl Sizes {
    pub const FULL: Self = Self { instances: 1_000, requests: 300, paints: 15 };
    pub const QUICK: Self = Self { instances: 1_000, requests: 50, paints: 3 };
}

/// A page, asked for often.
pub struct Made {
    pub name: &'static str,
    pub took: Samples,
    /// Bytes of the page, before it is compressed.
    pub size: usize,
}

/// A page, painted often.
pub struct Painted {
    pub name: &'static str,
    pub ours: bool,
    /// In a browser that keeps nothing but the cookies.
    pub fresh: Samples,
    /// At the next visit.
    pub again: Samples,
}

/// What was found.
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
