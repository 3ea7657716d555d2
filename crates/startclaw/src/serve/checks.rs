//! Checks besides the engine's: those of the edge.

use std::sync::Arc;

use startclaw_api::Checks;

use crate::settings::Settings;

pub fn all(settings: &Settings) -> Checks {
    let edge = Arc::new(settings.edge.clone());
    Arc::new(move || {
        let edge = Arc::clone(&edge);
        Box::pin(async move { startclaw_edge::check(&edge).await })
    })
}
