//! Metrics: recorded by every crate through the `metrics` facade, rendered for Prometheus.

use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio_util::sync::CancellationToken;

/// From an authorize request of Caddy (below a millisecond) to a boot on a busy host (minutes).
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

/// A gauge that is no longer set is dropped: its instance is gone. Those of existing instances are
/// set at each full sweep, several times in this time.
const GONE_AFTER: Duration = Duration::from_secs(300);

/// Starts recording.
pub fn begin() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .map(|builder| builder.idle_timeout(MetricKindMask::GAUGE, Some(GONE_AFTER)))
        .and_then(PrometheusBuilder::install_recorder)
        .context("cannot record metrics")?;
    Ok(handle)
}

/// Folds recorded values into buckets, so that memory stays bounded between two scrapes of
/// Prometheus.
pub async fn run(handle: PrometheusHandle, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                metrics::gauge!("startclaw_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
                handle.run_upkeep();
            }
            () = stop.cancelled() => return,
        }
    }
}
