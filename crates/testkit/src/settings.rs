//! Settings with which a platform does in milliseconds what takes seconds on a real one.

use std::time::Duration;

use startclaw_backups::BackupSettings;
use startclaw_engine::{EngineSettings, InstanceSettings, Timing};
use startclaw_model::Quota;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Backups on request only, in a repository on the simulated host.
pub fn backup_settings() -> BackupSettings {
    BackupSettings { nightly: false, folder: "/simulated".into(), ..BackupSettings::default() }
}

/// Retries follow each other quickly; an instance may take as long as on a real platform.
pub fn patient_settings() -> EngineSettings {
    EngineSettings {
        domain: "claws.test".into(),
        port_suffix: String::new(),
        // Real boots are limited because they take CPU; these take none.
        instances: InstanceSettings { boots: 64, ..InstanceSettings::default() },
        quota: Quota::default(),
        keep_replaced: Duration::from_secs(24 * 3600),
        timing: Timing {
            boot_poll: ms(1),
            backoff_first: ms(2),
            backoff_limit: ms(20),
            host_retry_first: ms(1),
            quiesce_limit: ms(20),
            quiesce_again: ms(1),
            backup_again: ms(2),
            nightly_every: ms(20),
            nightly_again: ms(20),
            ..Timing::default()
        },
    }
}

/// An instance that hangs, falls silent or fails is noticed within milliseconds too.
pub fn settings() -> EngineSettings {
    let patient = patient_settings();
    let timing = Timing {
        boot_limit: ms(300),
        boot_cpu: ms(100),
        boot_share: ms(50),
        probe_every: ms(5),
        silence_limit: ms(40),
        failures_reset_after: ms(100),
        sweep_every: ms(10),
        firewall_every: ms(500),
        usage_every: ms(20),
        history: Duration::from_secs(3600),
        pause_limit: ms(200),
        ..patient.timing
    };
    EngineSettings { timing, ..patient }
}
