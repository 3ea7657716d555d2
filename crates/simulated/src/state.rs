//! The state of a simulated host, and its behaviour.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use startclaw_model::{InstanceId, Slot, Timestamp};

use super::Hang;
use startclaw_host::{
    Container, ContainerState, Enforced, Exit, HostError, HostFault, InstanceSpec, InventoryItem,
    MachineUsage, Observed, Probe, Usage, objects::Step,
};

/// How an instance's container behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Boots in the host's boot time and answers.
    #[default]
    Healthy,
    /// Exits with this code at each start.
    Exits(i64),
    /// Exits with 78 at each start until it is repaired.
    NeedsRepair,
    /// Runs and never answers.
    Hangs,
}

/// The state of one instance.
#[derive(Debug, Clone, Default)]
pub struct SimInstance {
    /// The name in its labels.
    pub name: String,
    /// Its slot.
    pub slot: Slot,
    /// The volumes, by their generations, with the configuration in each.
    pub volumes: BTreeMap<u64, Option<Bytes>>,
    /// Whether it was created without a network and a port.
    pub isolated: bool,
    /// The generation that the container was created with.
    pub mounted: u64,
    /// When a frozen container continues automatically.
    pub thaws_at: Option<Timestamp>,
    /// The last freeze.
    pub frozen_at: Option<Timestamp>,
    /// Whether all files in its volume were removed, but not the volume.
    pub emptied: bool,
    /// The network.
    pub network: bool,
    /// The revision of the secrets.
    pub secrets: Option<u64>,
    /// The container.
    pub container: Option<Container>,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// The number of starts.
    pub starts: u32,
    /// The number of repairs.
    pub repairs: u32,
    /// Its usage while it runs.
    pub usage: Usage,
}

impl SimInstance {
    /// The configuration in the container's volume.
    pub fn config(&self) -> Option<Bytes> {
        self.volumes.get(&self.mounted).cloned().flatten()
    }

    /// Whether nothing is left.
    pub fn is_gone(&self) -> bool {
        self.volumes.is_empty()
            && !self.network
            && self.secrets.is_none()
            && self.container.is_none()
    }
}

/// Everything on a simulated host.
#[derive(Debug, Default)]
pub struct SimState {
    things: HashMap<InstanceId, SimInstance>,
    /// The behaviour of instances that are created later.
    pub next_behaviour: Behaviour,
    /// The images that do not exist; all others are on the host.
    pub missing_images: HashSet<String>,
    /// The resources and usage of the host.
    pub machine: MachineUsage,
    /// The slots whose connections were closed, in order.
    pub disconnected: Vec<Slot>,
    /// Answers of instances to a posted body that contains the text; the first match is used.
    pub answers: Vec<(&'static str, String)>,
    /// The bodies that were answered by them, in order.
    pub posted: Vec<String>,
    /// The calls that hang from now on.
    pub hangs: Vec<Hang>,
    /// The keys of faults that cannot be looked for.
    pub unknown_faults: Vec<&'static str>,
    /// How often faults were looked for.
    pub fault_checks: u32,
    /// What hung when it was called last.
    hanging: BTreeSet<String>,
}

impl SimState {
    /// The state of an instance, to inspect or to change.
    pub fn instance(&mut self, id: &InstanceId) -> &mut SimInstance {
        let behaviour = self.next_behaviour;
        self.things
            .entry(id.clone())
            .or_insert_with(|| SimInstance { behaviour, ..SimInstance::default() })
    }

    /// All instances that have any objects.
    pub fn ids(&self) -> Vec<InstanceId> {
        self.things.iter().filter(|(_, t)| !t.is_gone()).map(|(id, _)| id.clone()).collect()
    }

    /// Ends a running container.
    pub fn end(&mut self, id: &InstanceId, code: i64, oom_killed: bool) {
        if let Some(container) = &mut self.instance(id).container {
            let at = Timestamp::now();
            container.state = ContainerState::Exited(Exit { code, oom_killed, at });
        }
    }

    /// Notes a call about an instance; how long it hangs, if it does.
    pub(super) fn begin(&mut self, spec: &InstanceSpec, call: &'static str) -> Option<Duration> {
        let hangs = |hang: &&Hang| hang.name == spec.name.as_str() && hang.call == call;
        let limit = self.hangs.iter().find(hangs).map(|hang| hang.limit);
        let call = format!("{call} {}", spec.name);
        match limit {
            Some(_) => self.hanging.insert(call),
            None => self.hanging.remove(&call),
        };
        limit
    }

    /// The fault that calls hang.
    pub(super) fn fault(&self) -> Option<HostFault> {
        let calls: Vec<&str> = self.hanging.iter().map(String::as_str).collect();
        (!calls.is_empty()).then(|| HostFault {
            key: HostFault::DOCKER,
            detail: format!("simulated: these hang: {}", calls.join(", ")),
            remedy: "end the simulation".to_owned(),
        })
    }

    /// The answer that is set for a posted body.
    pub(super) fn answer(&mut self, body: &str) -> Option<String> {
        let answer = self.answers.iter().find(|(text, _)| body.contains(text))?.1.clone();
        self.posted.push(body.to_owned());
        Some(answer)
    }

    pub(super) fn usage(&self) -> Vec<(InstanceId, Usage)> {
        let running = |thing: &SimInstance| {
            let state = thing.container.as_ref().map(|container| &container.state);
            matches!(state, Some(ContainerState::Running | ContainerState::Paused))
        };
        let used = self.things.iter().filter(|(_, thing)| running(thing));
        used.map(|(id, thing)| (id.clone(), thing.usage)).collect()
    }

    pub(super) fn inventory(&self) -> Vec<InventoryItem> {
        self.things
            .iter()
            .filter(|(_, t)| !t.is_gone())
            .map(|(id, t)| InventoryItem {
                id: id.clone(),
                name: t.name.clone(),
                volume: !t.volumes.is_empty(),
                network: t.network,
                container: t
                    .container
                    .as_ref()
                    .map(|c| (c.digest.clone(), c.state == ContainerState::Running)),
            })
            .collect()
    }

    pub(super) fn resume(&mut self, id: &InstanceId, now: Timestamp) -> bool {
        let thing = self.instance(id);
        thing.unfreeze(now);
        thing.resume()
    }

    pub(super) fn observe(
        &mut self,
        spec: &InstanceSpec,
        boot: Duration,
        now: Timestamp,
    ) -> Observed {
        let Some(thing) = self.things.get_mut(&spec.id) else { return Observed::default() };
        thing.unfreeze(now);
        let config = thing.volumes.get(&spec.volume).cloned().flatten();
        let running = thing.container.as_ref().is_some_and(|c| c.state == ContainerState::Running);
        Observed {
            volume: thing.volumes.contains_key(&spec.volume),
            volume_name: format!("{}.v{}", spec.name, spec.volume),
            volume_empty: thing.emptied && !running && spec.volume == thing.mounted,
            volume_ready: thing.volumes.contains_key(&spec.volume),
            other_volumes_unknown: false,
            other_volumes: thing.volumes.keys().copied().filter(|v| *v != spec.volume).collect(),
            network: thing.network,
            secrets: thing.secrets,
            config: if running { None } else { config },
            probe: thing.probe(boot, now),
            container: thing.seen_container(now),
        }
    }

    pub(super) fn log(&self, id: &InstanceId, tail: usize) -> Vec<String> {
        let starts = self.things.get(id).map_or(0, |t| t.starts);
        (0..starts).map(|n| format!("start {n}")).rev().take(tail).rev().collect()
    }

    /// Applies one step, with the errors of a real host.
    pub(super) fn apply(
        &mut self,
        spec: &InstanceSpec,
        step: &Step,
        now: Timestamp,
    ) -> Result<(), HostError> {
        let clash = !spec.isolated
            && self.things.iter().any(|(id, t)| {
                *id != spec.id && t.container.is_some() && t.slot == spec.slot && !t.isolated
            });
        let thing = self.instance(&spec.id);
        thing.name = spec.name.to_string();
        thing.slot = spec.slot;
        thing.isolated = spec.isolated;
        thing.apply(spec, step, clash, now)
    }
}

impl SimInstance {
    /// The container, which uses one full CPU until it is limited.
    fn seen_container(&self, now: Timestamp) -> Option<Container> {
        let mut container = self.container.clone()?;
        let boots =
            container.state == ContainerState::Running && container.enforced == Enforced::Nothing;
        container.cpu_used = container.started_at.filter(|_| boots).map(|at| now.since(at));
        Some(container)
    }

    fn probe(&self, boot: Duration, now: Timestamp) -> Probe {
        let Some(container) = &self.container else { return Probe::NotAsked };
        match (&container.state, container.started_at) {
            (ContainerState::Running, _) if self.behaviour == Behaviour::Hangs => Probe::Silent,
            (ContainerState::Running, Some(at)) if now.since(at) >= boot => {
                Probe::Answer { status: 200, body: r#"{"ok":true,"status":"started"}"#.into() }
            }
            (ContainerState::Running, _) => Probe::Refused,
            _ => Probe::NotAsked,
        }
    }

    fn apply(
        &mut self,
        spec: &InstanceSpec,
        step: &Step,
        clash: bool,
        now: Timestamp,
    ) -> Result<(), HostError> {
        match step {
            Step::CreateVolume => drop(self.volumes.entry(spec.volume).or_default()),
            Step::OwnVolume => {
                let there = self.volumes.contains_key(&spec.volume);
                self.needs(there, "a volume")?;
            }
            Step::CreateNetwork => self.network = true,
            Step::WriteSecrets => self.secrets = Some(spec.secrets_revision),
            Step::WriteConfig(content) => {
                let there = self.volumes.contains_key(&spec.volume);
                self.needs(there, "a volume for the configuration")?;
                self.needs(!self.runs(), "a stopped container to write the configuration")?;
                self.volumes.insert(spec.volume, Some(content.clone()));
            }
            Step::CreateContainer => {
                let volume = self.volumes.contains_key(&spec.volume);
                let network = self.network || spec.isolated;
                self.needs(volume && network, "a volume and a network")?;
                self.mounted = spec.volume;
                self.needs(!clash, "a port that is not in use")?;
                self.container = Some(Container {
                    state: ContainerState::Created,
                    digest: spec.digest.clone(),
                    enforced: Enforced::Nothing,
                    limits_changed: false,
                    cpu_used: None,
                    started_at: None,
                });
            }
            Step::StartContainer => self.start(now)?,
            Step::ApplyCpuLimit => self.on_container(|c| c.enforced = Enforced::Cpu),
            Step::ApplyLimits => self.on_container(|c| {
                c.enforced = Enforced::All;
                c.limits_changed = false;
            }),
            Step::PauseContainer { at_most } => {
                if self.container.as_ref().is_some_and(|c| c.state == ContainerState::Running) {
                    self.on_container(|c| c.state = ContainerState::Paused);
                    self.thaws_at = at_most.map(|at_most| now.plus(at_most));
                    self.frozen_at = Some(now);
                }
            }
            Step::ResumeContainer => drop(self.resume()),
            Step::StopContainer => self.stop(now),
            Step::RemoveContainer => self.container = None,
            Step::RemoveNetwork => {
                self.needs(self.container.is_none(), "no container on the network")?;
                self.network = false;
            }
            Step::RemoveSecrets => self.secrets = None,
            Step::RemoveVolume => self.remove_volume(spec.volume)?,
            Step::RemoveOtherVolume(generation) => self.remove_volume(*generation)?,
        }
        Ok(())
    }

    pub(super) fn repair(&mut self) -> Result<(), HostError> {
        self.needs(!self.runs(), "a stopped container to repair")?;
        self.repairs += 1;
        if self.behaviour == Behaviour::NeedsRepair {
            self.behaviour = Behaviour::Healthy;
        }
        Ok(())
    }

    pub(super) fn quarantine_config(&mut self, spec: &InstanceSpec) {
        if let Some(config) = self.volumes.get_mut(&spec.volume) {
            *config = None;
        }
    }

    fn remove_volume(&mut self, generation: u64) -> Result<(), HostError> {
        let free = self.container.is_none() || self.mounted != generation;
        self.needs(free, "no container on the volume")?;
        self.volumes.remove(&generation);
        Ok(())
    }

    /// Does what the watchdog does.
    fn unfreeze(&mut self, now: Timestamp) {
        if self.thaws_at.is_some_and(|at| at <= now) {
            self.resume();
        }
    }

    fn resume(&mut self) -> bool {
        self.thaws_at = None;
        let frozen = self.container.as_ref().is_some_and(|c| c.state == ContainerState::Paused);
        if frozen {
            self.on_container(|c| c.state = ContainerState::Running);
        }
        frozen
    }

    fn start(&mut self, now: Timestamp) -> Result<(), HostError> {
        self.needs(self.secrets.is_some(), "secrets to start with")?;
        self.needs(self.container.is_some(), "a container to start")?;
        if self.runs() {
            return Ok(());
        }
        self.starts += 1;
        let state = match self.behaviour {
            Behaviour::Healthy | Behaviour::Hangs => ContainerState::Running,
            Behaviour::Exits(code) => {
                ContainerState::Exited(Exit { code, oom_killed: false, at: now })
            }
            Behaviour::NeedsRepair => {
                ContainerState::Exited(Exit { code: 78, oom_killed: false, at: now })
            }
        };
        self.on_container(|c| {
            c.state = state;
            c.enforced = Enforced::Nothing;
            c.started_at = Some(now);
        });
        Ok(())
    }

    fn stop(&mut self, now: Timestamp) {
        self.on_container(|c| {
            if !matches!(c.state, ContainerState::Exited(_)) {
                c.state = ContainerState::Exited(Exit { code: 0, oom_killed: false, at: now });
            }
        });
    }

    fn runs(&self) -> bool {
        self.container
            .as_ref()
            .is_some_and(|c| matches!(c.state, ContainerState::Running | ContainerState::Paused))
    }

    fn on_container(&mut self, change: impl FnOnce(&mut Container)) {
        if let Some(container) = &mut self.container {
            change(container);
        }
    }

    fn needs(&self, holds: bool, what: &str) -> Result<(), HostError> {
        if holds { Ok(()) } else { Err(HostError::refused(format!("this needs {what}"))) }
    }
}
