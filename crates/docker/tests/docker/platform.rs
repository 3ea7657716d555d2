//! A platform for one test, and instances on it.

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use bytes::Bytes;
use startclaw_docker::{Destination, DockerHost, DockerSettings, Prefix, StepError};
use startclaw_host::{
    Container, ContainerState, Host, HostError, InstanceSpec, Observed, SecretFile, Workload,
    objects::Step,
};
use startclaw_model::{AddressPool, InstanceId, Limits, Name, Secret, Slot};
use tokio::sync::{Mutex, MutexGuard};

pub const CANARY: &str = "canary-sk-5f0c2a";

/// Answers every request on the gateway's port with `ok`.
pub const SERVER: &str =
    "require('http').createServer((q, s) => s.end('ok')).listen(18789, '0.0.0.0')";

/// Firewall and routes are global to the machine, so tests that use them run one at a time.
static MACHINE: Mutex<()> = Mutex::const_new(());

pub async fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().await
}

pub fn image() -> String {
    std::env::var("STARTCLAW_TEST_IMAGE")
        .unwrap_or_else(|_| "startclaw/openclaw:2026.9.6".to_owned())
}

pub struct Platform {
    pub host: DockerHost,
    pub settings: DockerSettings,
    number: u8,
    runtime: tempfile::TempDir,
}

impl Platform {
    /// The platform of test number `number`.
    pub fn new(number: u8) -> Self {
        Self::allowing(number, &[])
    }

    pub fn allowing(number: u8, allow: &[&str]) -> Self {
        Self::with(number, |settings| {
            settings.allow =
                allow.iter().map(|text| text.parse::<Destination>().unwrap()).collect();
        })
    }

    /// The platform of test number `number`, with 32 slots and changed settings.
    pub fn with(number: u8, change: impl FnOnce(&mut DockerSettings)) -> Self {
        let runtime = tempfile::tempdir().unwrap();
        // An instance's user must be able to traverse to its secrets.
        run("chmod", &["711", runtime.path().to_str().unwrap()]);
        let mut settings = DockerSettings {
            prefix: Prefix::parse(&format!("schost{number}")).unwrap(),
            first_port: 21_001 + u16::from(number) * 32,
            first_uid: 300_000 + u32::from(number) * 32,
            address_pool: AddressPool::new(format!("10.88.{number}.0/24").parse().unwrap())
                .unwrap(),
            runtime_dir: runtime.path().to_owned(),
            // This machine's Docker has others to serve.
            restart_command: Vec::new(),
            log_max_mib: 1,
            log_files: 2,
            ..Default::default()
        };
        change(&mut settings);
        let host = DockerHost::new(settings.clone(), 8787).unwrap();
        let platform = Self { host, settings, number, runtime };
        platform.clear();
        platform
    }

    /// A spec for an instance in `slot` that runs `command`.
    pub fn spec(&self, name: &str, slot: u32, command: &[&str]) -> InstanceSpec {
        let text = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        InstanceSpec {
            id: InstanceId::new(),
            name: Name::parse(name).unwrap(),
            slot: Slot(slot),
            volume: 0,
            volume_holds_data: false,
            kept_volumes: Vec::new(),
            isolated: false,
            image: image(),
            limits: Limits { memory_soft_mib: 64, memory_hard_mib: 256, cpus: 0.5, pids: 100 },
            digest: "spec-1".to_owned(),
            config: None,
            secrets_revision: 1,
            secrets: vec![SecretFile { name: "KEY".to_owned(), value: Secret::new(CANARY) }],
            workload: Workload {
                command: text(command),
                env: vec![("HOME".to_owned(), "/home/node".to_owned())],
                hostname: "openclaw".into(),
                volume_path: "/home/node/.openclaw".to_owned(),
                config_file: "openclaw.json".to_owned(),
                secrets_path: "/run/secrets/startclaw".to_owned(),
                scratch: vec![
                    ("/tmp".to_owned(), 64, true),
                    ("/home/node/.cache".to_owned(), 64, false),
                ],
                gateway_port: 18789,
                webhook_port: 8787,
                probe_path: "/startupz".to_owned(),
                stop_grace: Duration::from_secs(5),
                repair_command: text(&["bash", "-c", "echo mended > /home/node/.openclaw/mended"]),
            },
        }
    }

    pub async fn apply(&self, spec: &InstanceSpec, step: Step) {
        self.host.apply(spec, &step).await.unwrap_or_else(|e| panic!("{step}: {e}"));
    }

    /// Applies a step that must fail.
    pub async fn fails(&self, spec: &InstanceSpec, step: &Step) -> HostError {
        match self.host.apply(spec, step).await {
            Err(StepError::Host(e)) => e,
            other => panic!("{step}: {other:?}"),
        }
    }

    /// Applies all steps that start an instance; returns the duration of each.
    pub async fn bring_up(&self, spec: &InstanceSpec) -> Vec<(Step, Duration)> {
        let mut times = Vec::new();
        for step in [
            Step::CreateVolume,
            Step::CreateNetwork,
            Step::WriteSecrets,
            Step::WriteConfig(Bytes::from_static(b"{}")),
            Step::CreateContainer,
            Step::StartContainer,
        ] {
            let begin = Instant::now();
            self.apply(spec, step.clone()).await;
            times.push((step, begin.elapsed()));
        }
        times
    }

    pub async fn observe(&self, spec: &InstanceSpec) -> Observed {
        self.host.observe(spec).await.unwrap()
    }

    /// The observed state of an instance that does not exist.
    pub fn nothing(&self, spec: &InstanceSpec) -> Observed {
        Observed { volume_name: self.object(spec), ..Observed::default() }
    }

    pub async fn container(&self, spec: &InstanceSpec) -> Container {
        self.observe(spec).await.container.unwrap()
    }

    /// Observes until `good` returns true, for at most 20 s.
    pub async fn until(&self, spec: &InstanceSpec, good: impl Fn(&Observed) -> bool) -> Observed {
        let begin = Instant::now();
        loop {
            let seen = self.observe(spec).await;
            if good(&seen) {
                return seen;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "still {seen:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn until_ended(&self, spec: &InstanceSpec) -> startclaw_host::Exit {
        let ended = |seen: &Observed| {
            matches!(seen.container, Some(Container { state: ContainerState::Exited(_), .. }))
        };
        match self.until(spec, ended).await.container.unwrap().state {
            ContainerState::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    /// The name of the container, as `docker ps` shows it.
    pub fn object(&self, spec: &InstanceSpec) -> String {
        let id = spec.id.as_str();
        let end = if spec.isolated { "-drill" } else { "" };
        format!("schost{}-{}-{}{end}", self.number, spec.name.as_str(), &id[id.len() - 8..])
    }

    /// Runs a shell command inside the instance's container, as its own user.
    pub fn inside(&self, spec: &InstanceSpec, command: &str) -> Output {
        let args = ["exec", &self.object(spec), "timeout", "60", "bash", "-c", command];
        Command::new("docker").args(args).output().unwrap()
    }

    /// The output of a command in the container, which must succeed.
    pub fn says(&self, spec: &InstanceSpec, command: &str) -> String {
        let output = self.inside(spec, command);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A command in the container must fail with the error `why`.
    pub fn refuses(&self, spec: &InstanceSpec, command: &str, why: &str) {
        let output = self.inside(spec, command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{command} succeeded");
        assert!(said.contains(why), "{command}: {said}");
    }

    /// Whether a TCP connection from the container is accepted.
    pub fn reaches(&self, spec: &InstanceSpec, address: &str, port: u16) -> bool {
        let command = format!("timeout 1.5 bash -c 'exec 3<>/dev/tcp/{address}/{port}'");
        self.inside(spec, &command).status.success()
    }

    pub fn inspect(&self, spec: &InstanceSpec, format: &str) -> String {
        run("docker", &["inspect", "-f", format, &self.object(spec)])
    }

    pub fn pid(&self, spec: &InstanceSpec) -> String {
        self.inspect(spec, "{{.State.Pid}}")
    }

    pub fn table(&self) -> String {
        format!("schost{}", self.number)
    }

    /// Removes everything of this platform, in any state.
    fn clear(&self) {
        let label = format!("label=schost{}.instance", self.number);
        let remove = |list: &[&str], remove: &[&str]| {
            let found = Command::new("docker").args(list).args(["--filter", &label]).output();
            let found = String::from_utf8_lossy(&found.unwrap().stdout).into_owned();
            for item in found.split_whitespace() {
                let _ = Command::new("docker").args(remove).arg(item).output();
            }
        };
        remove(&["ps", "-aq"], &["rm", "-fv"]);
        remove(&["network", "ls", "-q"], &["network", "rm"]);
        remove(&["volume", "ls", "-q"], &["volume", "rm", "-f"]);
        let _ = Command::new("nft").args(["delete", "table", "inet", &self.table()]).output();
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.clear();
        let secrets = self.runtime.path().join("secrets");
        let _ = Command::new("umount").arg(secrets).output();
    }
}

/// The output of a program on this machine, which must succeed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether a program on this machine succeeds.
pub fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().unwrap().status.success()
}
