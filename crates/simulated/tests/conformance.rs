//! The simulated host does what every host must do.

use std::time::Duration;

use async_trait::async_trait;
use startclaw_host::{Host, InstanceSpec, conformance::Subject, sample_spec};
use startclaw_simulated::SimulatedHost;

struct Simulated(SimulatedHost);

#[async_trait]
impl Subject for Simulated {
    fn host(&self) -> &dyn Host {
        &self.0
    }

    fn spec(&self, name: &str, slot: u32) -> InstanceSpec {
        sample_spec(name, slot)
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
