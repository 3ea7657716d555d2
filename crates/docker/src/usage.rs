//! Usage of instances and of this host, from the kernel's accounting: Docker's statistics need a
//! request per container, and are used only if its cgroup is not found.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::{ListContainersOptionsBuilder, StatsOptionsBuilder};
use futures::{StreamExt, stream};
use startclaw_model::InstanceId;
use tokio::time::timeout;

use super::calls::Call;
use super::client::{blocking, failed};
use super::names::ROLE_INSTANCE;
use super::{DockerHost, machine};
use startclaw_host::{Disk, HostError, MachineUsage, Usage};

/// The mount point of cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The number of parallel requests of statistics from Docker, and their timeout.
const ASKED: usize = 8;
const ANSWER: Duration = Duration::from_secs(5);

impl DockerHost {
    pub(super) async fn all_usage(&self) -> Result<Vec<(InstanceId, Usage)>, HostError> {
        let running = self.running().await?;
        let (mut all, unseen) = blocking("read the cgroups", move || {
            let root = Path::new(CGROUPS);
            let mut unseen = Vec::new();
            let mut all = Vec::with_capacity(running.len());
            for (id, container) in running {
                match of_cgroup(root, &container) {
                    Some(usage) => all.push((id, usage)),
                    None => unseen.push((id, container)),
                }
            }
            Ok((all, unseen))
        })
        .await?;
        let asked = stream::iter(unseen)
            .map(|(id, container)| async move { Some((id, self.docker_stats(&container).await?)) })
            .buffer_unordered(ASKED);
        // A container without an answer has just ended, or is included the next time.
        all.extend(asked.filter_map(std::future::ready).collect::<Vec<_>>().await);
        Ok(all)
    }

    /// The containers of running instances.
    async fn running(&self) -> Result<Vec<(InstanceId, String)>, HostError> {
        let filter = self.names.filter_all();
        let options = ListContainersOptionsBuilder::new().filters(&filter).build();
        let listing = self.client.get().await?.list_containers(Some(options));
        let containers = self.client.calls.run(Call::ListContainers, "", listing).await;
        let containers = containers.map_err(|e| failed("list the running containers", e))?;
        let (id_label, role_label) = (self.names.id_label(), self.names.role_label());
        let instances = containers.into_iter().filter_map(|container| {
            let labels = container.labels?;
            let instance = labels.get(&role_label).is_some_and(|role| role == ROLE_INSTANCE);
            let id = labels.get(&id_label).filter(|_| instance)?;
            Some((InstanceId(id.clone()), container.id?))
        });
        Ok(instances.collect())
    }

    /// Docker's statistics of one container.
    async fn docker_stats(&self, container: &str) -> Option<Usage> {
        let docker = self.client.get().await.ok()?;
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut answers = std::pin::pin!(docker.stats(container, Some(options)));
        of_stats(&timeout(ANSWER, answers.next()).await.ok()??.ok()?)
    }

    pub(super) async fn machine_usage(&self) -> Result<MachineUsage, HostError> {
        let docker = self.client.get().await?;
        let info = self.client.calls.run(Call::Info, "", docker.info()).await;
        let info = info.map_err(|e| failed("ask Docker where its data lie", e))?;
        let instances = info.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".to_owned());
        let data = self.data_dir.clone();
        blocking("read the usage of this host", move || {
            let read = |path: &str| {
                std::fs::read_to_string(path)
                    .map_err(|e| HostError::unavailable(format!("cannot read {path}: {e}")))
            };
            let (meminfo, stat) = (read("/proc/meminfo")?, read("/proc/stat")?);
            let memory = |field| machine::memory_mib(&meminfo, field).unwrap_or_default() << 20;
            let (cpus, cpu_busy) = machine::cpus(&stat);
            Ok(MachineUsage {
                memory_total: memory("MemTotal"),
                memory_available: memory("MemAvailable"),
                cpus,
                cpu_busy,
                data: data.as_deref().and_then(disk),
                instances: disk(Path::new(&instances)),
            })
        })
        .await
    }
}

fn disk(place: &Path) -> Option<Disk> {
    let fs = rustix::fs::statvfs(place).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(fs.f_frsize);
    Some(Disk { total: bytes(fs.f_blocks), available: bytes(fs.f_bavail) })
}

/// The kernel's accounting of a container, whose cgroup is named by Docker or by systemd. `None`
/// when it is not found.
fn of_cgroup(root: &Path, container: &str) -> Option<Usage> {
    let places = [format!("system.slice/docker-{container}.scope"), format!("docker/{container}")];
    places.iter().find_map(|place| version_2(&root.join(place)).or_else(|| version_1(root, place)))
}

/// CPU time of a container since its start, of all cores together; `None` if its cgroup is not
/// found. It reads from the kernel, not from a disk.
pub(super) fn cpu_of(container: &str) -> Option<Duration> {
    of_cgroup(Path::new(CGROUPS), container).map(|usage| usage.cpu)
}

fn version_2(folder: &Path) -> Option<Usage> {
    let memory = number(folder.join("memory.current"))?;
    let files = field(&text(folder.join("memory.stat"))?, "inactive_file").unwrap_or_default();
    let cpu = field(&text(folder.join("cpu.stat"))?, "usage_usec")?;
    Some(Usage { memory: memory.saturating_sub(files), cpu: Duration::from_micros(cpu) })
}

fn version_1(root: &Path, place: &str) -> Option<Usage> {
    let folder = root.join("memory").join(place);
    let memory = number(folder.join("memory.usage_in_bytes"))?;
    let stat = text(folder.join("memory.stat"))?;
    let files = field(&stat, "total_inactive_file").unwrap_or_default();
    let cpu = ["cpuacct", "cpu,cpuacct"]
        .iter()
        .find_map(|controller| number(root.join(controller).join(place).join("cpuacct.usage")))?;
    Some(Usage { memory: memory.saturating_sub(files), cpu: Duration::from_nanos(cpu) })
}

fn of_stats(stats: &ContainerStatsResponse) -> Option<Usage> {
    let memory = stats.memory_stats.as_ref()?;
    let files = memory.stats.as_ref().and_then(|details| {
        details.get("total_inactive_file").or_else(|| details.get("inactive_file")).copied()
    });
    let cpu = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    Some(Usage {
        memory: memory.usage?.saturating_sub(files.unwrap_or_default()),
        cpu: Duration::from_nanos(cpu),
    })
}

fn text(file: PathBuf) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

fn number(file: PathBuf) -> Option<u64> {
    text(file)?.trim().parse().ok()
}

/// A field of a file with a name and a number per line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, file: &str, content: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn a_container_is_found_in_both_versions_under_both_names() {
        let wanted = Usage { memory: 700, cpu: Duration::from_millis(1500) };
        for place in ["docker/abc", "system.slice/docker-abc.scope"] {
            let root = tempfile::tempdir().unwrap();
            let root = root.path();
            put(root, &format!("{place}/memory.current"), "1000\n");
            put(root, &format!("{place}/memory.stat"), "anon 600\ninactive_file 300\n");
            put(root, &format!("{place}/cpu.stat"), "usage_usec 1500000\nuser_usec 1\n");
            assert_eq!(of_cgroup(root, "abc"), Some(wanted), "{place}");
            assert_eq!(of_cgroup(root, "other"), None);
            for cpu in ["cpuacct", "cpu,cpuacct"] {
                let root = tempfile::tempdir().unwrap();
                let root = root.path();
                let memory = format!("memory/{place}");
                put(root, &format!("{memory}/memory.usage_in_bytes"), "1000\n");
                let stat = "inactive_file 1\ntotal_inactive_file 300\n";
                put(root, &format!("{memory}/memory.stat"), stat);
                put(root, &format!("{cpu}/{place}/cpuacct.usage"), "1500000000\n");
                assert_eq!(of_cgroup(root, "abc"), Some(wanted), "{place} {cpu}");
            }
        }
    }

    #[test]
    fn docker_says_the_same_where_no_cgroup_is_found() {
        for files in ["total_inactive_file", "inactive_file"] {
            let told = serde_json::json!({
                "memory_stats": { "usage": 1000, "stats": { files: 300 } },
                "cpu_stats": { "cpu_usage": { "total_usage": 1_500_000_000_u64 } },
            });
            let told = of_stats(&serde_json::from_value(told).unwrap());
            assert_eq!(told, Some(Usage { memory: 700, cpu: Duration::from_millis(1500) }));
        }
        // Statistics of a container that has just ended.
        let told = serde_json::json!({ "memory_stats": {}, "cpu_stats": { "cpu_usage": {} } });
        assert_eq!(of_stats(&serde_json::from_value(told).unwrap()), None);
    }
}
