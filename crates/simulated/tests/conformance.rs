//! The simulated host does what every host must do.

use std::time::Duration;

use async_trait::async_trait;
use startclaw_host::{Host, InstanceSpec, Workload, conformance::Subject};
use startclaw_model::{InstanceId, Limits, Name, Slot};
use startclaw_simulated::SimulatedHost;

struct Simulated(SimulatedHost);

#[async_trait]
impl Subject for Simulated {
    fn host(&self) -> &dyn Host {
        &self.0
    }

    fn spec(&self, name: &str, slot: u32) -> InstanceSpec {
        InstanceSpec {
            id: InstanceId::new(),
            name: Name::parse(name).expect("a name"),
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

    async fn lose_volume(&self, spec: &InstanceSpec) {
        self.0.state().instance(&spec.id).volumes.clear();
    }
}

#[tokio::test]
async fn it_conforms() {
    let host = SimulatedHost::new(10, Duration::from_millis(5));
    startclaw_host::conformance::check(&Simulated(host)).await;
}
