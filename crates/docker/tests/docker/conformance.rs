//! Docker does what every host must do.

use async_trait::async_trait;
use startclaw_docker::DockerHost;
use startclaw_host::{Host, InstanceSpec, conformance::Subject};

use super::platform::{Platform, run};

/// Answers, and ends when it is asked to, which the first process of a container must ask for.
const SERVER: &str = "process.on('SIGTERM', () => process.exit(0)); \
    require('http').createServer((q, s) => s.end('ok')).listen(18789, '0.0.0.0')";

struct Docker(Platform);

#[async_trait]
impl Subject for Docker {
    fn host(&self) -> &dyn Host {
        &self.0.host
    }

    fn spec(&self, name: &str, slot: u32) -> InstanceSpec {
        let kept_volumes = vec![0, 1];
        InstanceSpec { kept_volumes, ..self.0.spec(name, slot, &["node", "-e", SERVER]) }
    }

    async fn lose_volume(&self, spec: &InstanceSpec) {
        run("docker", &["volume", "rm", "-f", &self.0.object(spec)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn it_conforms() {
    let watchdog = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker/watchdog.sh");
    let mut platform = Platform::new(30);
    platform.host = DockerHost::new(platform.settings.clone(), 8787)
        .expect("the settings are those of the platform")
        .with_watchdog(watchdog.into());
    startclaw_host::conformance::check(&Docker(platform)).await;
}
