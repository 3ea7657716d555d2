//! An instance's volume: a Docker volume whose root belongs to the instance's user.

use std::{
    io,
    path::{Path, PathBuf},
};

use bollard::errors::Error;
use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};
use bytes::Bytes;

use super::{
    DockerHost, calls::Call, client::blocking, client::failed, client::found, folder::Folder,
};
use startclaw_host::{HostError, InstanceSpec};

/// The largest accepted configuration file. OpenClaw's have a few KiB.
const CONFIG_LIMIT: u64 = 1 << 20;

impl DockerHost {
    pub(super) async fn create_volume(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let name = self.names.volume(spec, spec.volume);
        let what = format!("create the volume {name}");
        let mut labels = self.names.labels(spec);
        labels.insert(self.names.volume_label(), spec.volume.to_string());
        // Docker returns the existing volume, if there is one of that name.
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: Some("local".to_owned()),
            labels: Some(labels),
            ..Default::default()
        };
        let creating = self.client.get().await?.create_volume(request);
        let volume = self.client.calls.run(Call::CreateVolume, &name, creating).await;
        let volume = volume.map_err(|e| failed(&what, e))?;
        self.own_volume(spec, &volume)?;
        let (root, uid) = (PathBuf::from(volume.mountpoint), self.uid(spec));
        blocking("own a volume", move || own(&root, uid)).await
    }

    /// Gives the existing volume to its user.
    pub(super) async fn give_volume(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let root = self.volume_root(spec).await?.ok_or_else(|| {
            let name = self.names.volume(spec, spec.volume);
            HostError::unavailable(format!("the volume {name} is missing"))
        })?;
        let uid = self.uid(spec);
        blocking("own a volume", move || own(&root, uid)).await
    }

    /// The path of the instance's volume on this host; `None` when there is no volume.
    pub(super) async fn volume_root(
        &self,
        spec: &InstanceSpec,
    ) -> Result<Option<PathBuf>, HostError> {
        let name = self.names.volume(spec, spec.volume);
        let inspecting = self.client.get().await?.inspect_volume(&name);
        let volume = self.client.calls.run(Call::InspectVolume, &name, inspecting).await;
        let volume = found(volume).map_err(|e| failed(format!("inspect the volume {name}"), e))?;
        let Some(volume) = volume else { return Ok(None) };
        if !self.names.marked(Some(&volume.labels), &spec.id) {
            return Ok(None);
        }
        Ok(Some(PathBuf::from(volume.mountpoint)))
    }

    pub(super) async fn write_config(
        &self,
        spec: &InstanceSpec,
        content: Bytes,
    ) -> Result<(), HostError> {
        if content.len() as u64 > CONFIG_LIMIT {
            return Err(HostError::refused(format!(
                "the configuration of {} is larger than 1 MiB",
                spec.name
            )));
        }
        // A repair container that a crash left might write the same file.
        self.remove_repair(spec).await?;
        let root = self.volume_root(spec).await?.ok_or_else(|| {
            HostError::unavailable(format!("the volume of {} is not there yet", spec.name))
        })?;
        let (uid, file) = (self.uid(spec), spec.workload.config_file.clone());
        blocking("write a configuration", move || {
            let folder = open(&root)?;
            // A file that cannot be a configuration (too large, for example) is kept for its owner.
            let usable = folder.read(&file, CONFIG_LIMIT).map(|found| found.is_some());
            let ready = match usable {
                Ok(true) => Ok(()),
                Ok(false) => folder.quarantine(&file),
                Err(e) => Err(e),
            };
            ready.and_then(|()| folder.write(&file, &content, uid, 0o600)).map_err(|e| {
                let path = root.join(&file);
                match e.kind() {
                    std::io::ErrorKind::StorageFull => HostError::unavailable(format!(
                        "cannot write {}: the disk is full; free some space",
                        path.display()
                    )),
                    _ => HostError::unavailable(format!("cannot write {}: {e}", path.display())),
                }
            })
        })
        .await
    }

    pub(super) async fn rename_config(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.remove_repair(spec).await?;
        let Some(root) = self.volume_root(spec).await? else { return Ok(()) };
        let file = spec.workload.config_file.clone();
        blocking("quarantine a configuration", move || {
            open(&root)?.quarantine(&file).map_err(|e| {
                HostError::unavailable(format!("cannot rename {}: {e}", root.join(&file).display()))
            })
        })
        .await
    }

    pub(super) async fn remove_volume(
        &self,
        spec: &InstanceSpec,
        generation: u64,
    ) -> Result<(), HostError> {
        // A repair container would prevent the removal.
        self.remove_repair(spec).await?;
        let one = InstanceSpec { volume: generation, ..spec.clone() };
        if self.volume_root(&one).await?.is_none() {
            return Ok(());
        }
        let name = self.names.volume(spec, generation);
        let removing = self.client.get().await?.remove_volume(&name, None::<RemoveVolumeOptions>);
        let gone = self.client.calls.run(Call::RemoveVolume, &name, removing).await;
        found(gone).map_err(|e| failed(format!("remove the volume {name}"), e))?;
        Ok(())
    }

    /// The generations of the instance's volumes, other than the spec's; `None` if Docker does not
    /// answer in time.
    pub(super) async fn other_volumes(
        &self,
        spec: &InstanceSpec,
    ) -> Result<Option<Vec<u64>>, HostError> {
        let filter = self.names.filter_one(&spec.id);
        let options = ListVolumesOptionsBuilder::new().filters(&filter).build();
        let listing = self.client.get().await?.list_volumes(Some(options));
        let listed = self.client.calls.run(Call::ListVolumes, &spec.id.0, listing).await;
        let listed = match listed {
            // Docker blocks here while any volume is being removed, also of another instance.
            Err(Error::RequestTimeoutError) => return Ok(None),
            other => other.map_err(|e| failed(format!("list the volumes of {}", spec.name), e))?,
        };
        let mut others: Vec<u64> = listed
            .volumes
            .unwrap_or_default()
            .iter()
            .map(|volume| self.names.generation(&volume.labels))
            .filter(|generation| *generation != spec.volume)
            .collect();
        others.sort_unstable();
        Ok(Some(others))
    }

    fn own_volume(&self, spec: &InstanceSpec, volume: &Volume) -> Result<(), HostError> {
        if self.names.marked(Some(&volume.labels), &spec.id) {
            return Ok(());
        }
        Err(HostError::refused(format!(
            "there is a volume {0} that is not of instance {1}; look at it with `docker volume \
             inspect {0}` and remove it if nobody needs it",
            volume.name, spec.id
        )))
    }
}

/// The result of an inspection of a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether its owner and mode are right.
    pub ready: bool,
    /// Whether it is empty; checked only if the configuration was requested.
    pub empty: bool,
    /// The configuration in it, if it was requested.
    pub config: Option<Bytes>,
}

/// Inspects a volume.
///
/// An error (too many open files, for example) is returned: it must not be taken for lost data of a
/// healthy instance.
pub(super) fn inspect(root: &Path, uid: u32, config: Option<&str>) -> Result<Seen, HostError> {
    let work = || {
        // A missing folder is not an empty one: its disk may not be mounted.
        let Some(folder) = Folder::open(root)? else { return Ok(Seen::default()) };
        let content = config.map(|file| folder.read(file, CONFIG_LIMIT)).transpose()?;
        let empty = config.is_some() && folder.is_empty()?;
        Ok(Seen { ready: folder.is_usable_by(uid)?, empty, config: content.flatten() })
    };
    work().map_err(|e: io::Error| {
        HostError::unavailable(format!("cannot inspect {}: {e}", root.display()))
    })
}

/// Gives a volume's folder to its user. Docker creates it for root. If it belongs to another user,
/// so do the files in it, and a change of the folder alone would not help.
fn own(root: &Path, uid: u32) -> Result<(), HostError> {
    let folder = open(root)?;
    let owner = folder
        .owner()
        .map_err(|e| HostError::unavailable(format!("cannot inspect {}: {e}", root.display())))?;
    if owner != 0 && owner != uid {
        return Err(HostError::refused(format!(
            "{0} belongs to user {owner} and not to {uid}: set docker.first_uid back to what it \
             was, or stop its container and run: chown -Rh {uid}:{uid} {0}",
            root.display()
        )));
    }
    folder.set_owner(uid, 0o700).map_err(|e| {
        HostError::refused(format!("cannot give {} to user {uid}: {e}", root.display()))
    })
}

fn open(root: &Path) -> Result<Folder, HostError> {
    match Folder::open(root) {
        Ok(Some(folder)) => Ok(folder),
        // Creating an empty one would hide the data, which may be on a disk that is not mounted.
        Ok(None) => Err(HostError::refused(format!(
            "the volume's folder {} is not there: see whether the disk with Docker's data is \
             mounted, or put the folder back from a backup",
            root.display()
        ))),
        Err(e) => Err(HostError::unavailable(format!("cannot open {}: {e}", root.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use startclaw_host::HostErrorKind;

    #[test]
    fn a_look_that_fails_is_not_taken_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let uid = Folder::open(dir.path()).unwrap().unwrap().owner().unwrap();
        let config = Some("c.json");
        let empty = Seen { ready: true, empty: true, config: None };
        assert_eq!(inspect(dir.path(), uid, config).unwrap(), empty);
        let running = inspect(dir.path(), uid, None).unwrap();
        assert!(!running.empty, "not asked for while a container runs");
        let file = dir.path().join("c.json");
        std::fs::write(&file, "{}").unwrap();
        let other = Seen { ready: false, empty: false, config: Some("{}".into()) };
        assert_eq!(inspect(dir.path(), uid + 1, config).unwrap(), other);
        assert_eq!(inspect(&dir.path().join("none"), uid, config).unwrap(), Seen::default());
        assert_eq!(inspect(&file, uid, config).unwrap_err().kind, HostErrorKind::Unavailable);
        let long = "x".repeat(300);
        let error = inspect(dir.path(), uid, Some(&long)).unwrap_err();
        assert_eq!(error.kind, HostErrorKind::Unavailable);
    }
}
