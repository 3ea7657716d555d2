//! A spec for tests.

use std::time::Duration;

use startclaw_model::{InstanceId, Limits, Name, Slot};

use crate::{InstanceSpec, Workload};

/// The spec of a new instance in this slot, which no host needs to be able to run.
///
/// # Panics
/// When the name is invalid.
pub fn sample_spec(name: &str, slot: u32) -> InstanceSpec {
    InstanceSpec {
        id: InstanceId::new(),
        name: Name::parse(name).expect("tests use valid names"),
        slot: Slot(slot),
        volume: 0,
        volume_holds_data: false,
        kept_volumes: vec![0, 1],
        isolated: false,
        image: "image:1".into(),
        limits: Limits::default(),
        digest: "digest".into(),
        config: None,
        secrets_revision: 1,
        secrets: Vec::new(),
        workload: Workload {
            command: Vec::new(),
            env: Vec::new(),
            hostname: "openclaw".into(),
            volume_path: "/data".into(),
            config_file: "c.json".into(),
            secrets_path: "/run/secrets".into(),
            scratch: Vec::new(),
            gateway_port: 1,
            webhook_port: 2,
            probe_path: "/".into(),
            stop_grace: Duration::from_secs(1),
            repair_command: Vec::new(),
        },
    }
}
