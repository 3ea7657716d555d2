//! `startclaw reference`

use crate::{output, settings};

pub fn run() -> anyhow::Result<()> {
    Ok(output::line(settings::reference()?.trim_end())?)
}
