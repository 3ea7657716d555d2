//! The profile of every container of an instance: its isolation.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, MountVolumeOptions, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};

use super::DockerHost;
use startclaw_host::InstanceSpec;

/// The CFS period in microseconds; the kernel's default.
const CPU_PERIOD: i64 = 100_000;

/// No CPU limit. It cannot be 0, because Docker ignores 0 in an update.
pub(super) const CPU_LIFTED: i64 = -1;

/// The CFS quota of `cpus`; Docker accepts nothing below a millisecond.
pub(super) fn cpu_quota(cpus: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "limits go to 256 CPUs")]
    let quota = (cpus * 100_000.0) as i64;
    quota.max(1_000)
}

impl DockerHost {
    /// A container with the instance's volume, without network and command.
    pub(super) fn profile(&self, spec: &InstanceSpec, role: &str) -> ContainerCreateBody {
        let uid = self.uid(spec);
        let mut labels = self.names.labels(spec);
        labels.insert(self.names.spec_label(), spec.digest.clone());
        labels.insert(self.names.role_label(), role.to_owned());
        ContainerCreateBody {
            image: Some(spec.image.clone()),
            user: Some(format!("{uid}:{uid}")),
            hostname: Some(spec.workload.hostname.clone()),
            env: Some(spec.workload.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
            labels: Some(labels),
            // We probe over HTTP. Docker's health check would start a process in the container each
            // time.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..Default::default()
            }),
            stop_timeout: i64::try_from(spec.workload.stop_grace.as_secs()).ok(),
            host_config: Some(self.host_config(spec, uid)),
            ..Default::default()
        }
    }

    fn host_config(&self, spec: &InstanceSpec, uid: u32) -> HostConfig {
        let hard = mib(spec.limits.memory_hard_mib);
        HostConfig {
            memory: Some(hard),
            // The soft limit is applied with the CPU limit, after the boot: with cgroup v1 Node.js
            // takes it for the total memory, and would permanently limit its heap to half of it
            // (512 MiB: a heap of 259 MiB, and a boot that takes a third longer).
            memory_reservation: Some(hard),
            // Memory and swap together: an instance that grows is killed instead of making the host
            // swap. (With cgroup v1 its pages can still be swapped out when idle; with v2 that
            // needs an update of this limit first.)
            memory_swap: Some(hard),
            cpu_period: Some(CPU_PERIOD),
            // A restore test has no user who waits for it.
            cpu_quota: Some(if spec.isolated { cpu_quota(spec.limits.cpus) } else { CPU_LIFTED }),
            pids_limit: Some(i64::from(spec.limits.pids)),
            // When the host runs out of memory, instances are killed before the platform. A tenant
            // can take this back to 0; the platform's own services are below that.
            oom_score_adj: Some(500),
            // A core dump would write secrets to the disk. The limit of open files is left at
            // Docker's default: raising it fails where Docker itself has a lower one.
            ulimits: Some(vec![ulimit("core", 0)]),
            shm_size: Some(mib(16)),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            privileged: Some(false),
            readonly_rootfs: Some(true),
            ipc_mode: Some("private".to_owned()),
            init: Some(true),
            tmpfs: Some(scratch(spec, uid)),
            mounts: Some(self.mounts(spec)),
            network_mode: Some("none".to_owned()),
            // Only the engine restarts containers: Docker would interfere with it.
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

    fn mounts(&self, spec: &InstanceSpec) -> Vec<Mount> {
        let volume = Mount {
            typ: Some(MountType::VOLUME),
            source: Some(self.names.volume(spec, spec.volume)),
            target: Some(spec.workload.volume_path.clone()),
            volume_options: Some(MountVolumeOptions {
                // The image's content at this path must not be copied to the tenant's data.
                no_copy: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        };
        let secrets = Mount {
            typ: Some(MountType::BIND),
            source: Some(self.secrets.folder(&spec.id).to_string_lossy().into_owned()),
            target: Some(spec.workload.secrets_path.clone()),
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

fn scratch(spec: &InstanceSpec, uid: u32) -> HashMap<String, String> {
    let options = |(path, size, exec): &(String, u32, bool)| {
        let exec = if *exec { "exec" } else { "noexec" };
        let owner = if path == "/tmp" {
            "mode=1777".to_owned()
        } else {
            format!("uid={uid},gid={uid},mode=0700")
        };
        (path.clone(), format!("rw,nosuid,nodev,{exec},size={size}m,{owner}"))
    };
    spec.workload.scratch.iter().map(options).collect()
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

/// MiB to bytes.
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
