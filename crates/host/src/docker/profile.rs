//! What every container of an instance is created with: its isolation.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, MountVolumeOptions, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};

use super::DockerHost;
use crate::Plan;

/// The period that CPU time is dealt out in, in microseconds; the kernel's own default.
const CPU_PERIOD: i64 = 100_000;

/// No CPU limit. Docker takes 0 in an update for "leave it as it is", so it cannot be that.
pub(super) const CPU_LIFTED: i64 = -1;

/// What `cpus` is per period; Docker takes nothing below a millisecond.
pub(super) fn cpu_quota(cpus: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "limits go to 256 CPUs")]
    let quota = (cpus * 100_000.0) as i64;
    quota.max(1_000)
}

impl DockerHost {
    /// A container on the instance's volume, without network and command.
    pub(super) fn profile(&self, plan: &Plan, role: &str) -> ContainerCreateBody {
        let uid = self.uid(plan);
        let mut labels = self.names.labels(plan);
        labels.insert(self.names.spec_label(), plan.spec.clone());
        labels.insert(self.names.role_label(), role.to_owned());
        ContainerCreateBody {
            image: Some(plan.image.clone()),
            user: Some(format!("{uid}:{uid}")),
            // The state directory's owner lease is bound to it: it must never change.
            hostname: Some(plan.name.as_str().to_owned()),
            env: Some(plan.workload.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
            labels: Some(labels),
            // We ask over HTTP. Docker's way starts a process in every container each time.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..Default::default()
            }),
            stop_timeout: i64::try_from(plan.workload.stop_grace.as_secs()).ok(),
            host_config: Some(self.host_config(plan, uid)),
            ..Default::default()
        }
    }

    fn host_config(&self, plan: &Plan, uid: u32) -> HostConfig {
        let hard = mib(plan.limits.memory_hard_mib);
        HostConfig {
            memory: Some(hard),
            // The soft limit comes into force with the CPU limit, when the boot is over: with
            // cgroup v1 Node.js takes it for all the memory there is, and would make do with a heap
            // of half of that for good (512 MiB: 259 MiB of heap, and a boot that takes a third
            // longer).
            memory_reservation: Some(hard),
            // Memory and swap together: an instance that grows is ended instead of making the
            // whole machine page. (With cgroup v1 its pages can still be pushed out for sleep;
            // with v2 that needs an update of this first.)
            memory_swap: Some(hard),
            cpu_period: Some(CPU_PERIOD),
            // Nobody waits for a drill.
            cpu_quota: Some(if plan.isolated { cpu_quota(plan.limits.cpus) } else { CPU_LIFTED }),
            pids_limit: Some(i64::from(plan.limits.pids)),
            // When the machine itself runs out of memory, an instance goes before the platform. A
            // tenant can take this back to 0; the platform's own services are below that.
            oom_score_adj: Some(500),
            // A core file would carry secrets to the disk. Open files stay as Docker has them:
            // raising them fails where Docker itself was given less.
            ulimits: Some(vec![ulimit("core", 0)]),
            shm_size: Some(mib(16)),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            privileged: Some(false),
            readonly_rootfs: Some(true),
            ipc_mode: Some("private".to_owned()),
            init: Some(true),
            tmpfs: Some(scratch(plan, uid)),
            mounts: Some(self.mounts(plan)),
            network_mode: Some("none".to_owned()),
            // The engine is the only healer: two that start containers get in each other's way.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), format!("{}m", self.settings.log_max_mib.max(1))),
                    ("max-file".to_owned(), self.settings.log_files.max(1).to_string()),
                ])),
            }),
            ..Default::default()
        }
    }

    fn mounts(&self, plan: &Plan) -> Vec<Mount> {
        let volume = Mount {
            typ: Some(MountType::VOLUME),
            source: Some(self.names.volume(plan, plan.volume)),
            target: Some(plan.workload.volume_path.clone()),
            volume_options: Some(MountVolumeOptions {
                // What the image has there must not come into the tenant's data.
                no_copy: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        };
        let secrets = Mount {
            typ: Some(MountType::BIND),
            source: Some(self.secrets.folder(&plan.id).to_string_lossy().into_owned()),
            target: Some(plan.workload.secrets_path.clone()),
            read_only: Some(true),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..Default::default()
            }),
            ..Default::default()
        };
        vec![volume, secrets]
    }
}

fn scratch(plan: &Plan, uid: u32) -> HashMap<String, String> {
    let options = |(path, size, exec): &(String, u32, bool)| {
        let exec = if *exec { "exec" } else { "noexec" };
        let owner = if path == "/tmp" {
            "mode=1777".to_owned()
        } else {
            format!("uid={uid},gid={uid},mode=0700")
        };
        (path.clone(), format!("rw,nosuid,nodev,{exec},size={size}m,{owner}"))
    };
    plan.workload.scratch.iter().map(options).collect()
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

/// Bytes of so many MiB.
pub(super) fn mib(count: u64) -> i64 {
    i64::try_from(count.saturating_mul(1 << 20)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_cpu_is_half_a_period() {
        assert_eq!(cpu_quota(0.5), 50_000);
        assert_eq!(cpu_quota(0.001), 1_000);
    }
}
