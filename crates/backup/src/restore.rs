//! Restores a snapshot into an empty folder.
//!
//! The snapshot is untrusted: names that lead out of the folder make the restore fail before
//! anything is written, and the result is compared with the snapshot.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustic_core::{
    LocalDestination, LsOptions, OpenStatus, Repository as Rustic, RestoreOptions, RusticError,
    repofile::{Node, NodeType},
};

use crate::{
    BackupError, BackupErrorKind,
    meta::unix_bits,
    meter::Meter,
    snapshot::{self, PATH, Snapshots},
    text,
};

const NANOS: i128 = 1_000_000_000;

/// Writes the snapshot `wanted` into `root`, owned by the user and group `uid`. Returns the number
/// of entries and bytes.
pub(crate) fn restore(
    rustic: Rustic<OpenStatus>,
    wanted: &str,
    root: &Path,
    uid: u32,
    meter: &Arc<Meter>,
) -> Result<(u64, u64), BackupError> {
    let unavailable = |e: io::Error| {
        let text = format!("cannot write to {}: {e}", root.display());
        BackupError::new(BackupErrorKind::Unavailable, text)
    };
    if fs::read_dir(root).map_err(unavailable)?.next().is_some() {
        let text =
            format!("{} is not empty: a snapshot is restored into an empty folder", root.display());
        return Err(BackupError::new(BackupErrorKind::Unavailable, text));
    }
    let file = Snapshots::read(&rustic)?.choose(wanted)?.clone();
    meter.begin(snapshot::info(&file, String::new()).bytes);
    let failed = |e: Box<RusticError>| of(&e);
    let rustic = rustic.to_indexed().map_err(failed)?;
    let path = Path::new(PATH.trim_start_matches('/'));
    let top = rustic.node_from_path(file.tree, path).map_err(failed)?;
    let options = LsOptions::default();
    let mut nodes: Vec<(PathBuf, Node)> = Vec::new();
    for item in rustic.ls(&top, &options).map_err(failed)? {
        let (path, mut node) = item.map_err(failed)?;
        meter.live();
        // Only root can create devices, and no instance runs as root: no data of the instance is
        // lost.
        if matches!(node.node_type, NodeType::Dev { .. } | NodeType::Chardev { .. }) {
            continue;
        }
        node.meta.uid = Some(uid);
        node.meta.gid = Some(uid);
        node.meta.user = None;
        node.meta.group = None;
        nodes.push((path, node));
    }
    refuse_hostile(&nodes)?;
    // Paths relative to the folder may be as long as in the folder that was backed up.
    let _inside = Inside::enter(root).map_err(unavailable)?;
    let place = LocalDestination::new(".", false, false).map_err(failed)?;
    let mut how = RestoreOptions::default().numeric_id(true);
    // The type of this value has no public name.
    how.sparse = serde_json::from_value("ByContent".into()).ok();
    let stream = || nodes.iter().cloned().map(Ok);
    let plan = rustic.prepare_restore(&how, stream(), &place, false).map_err(failed)?;
    rustic.restore(plan, &how, stream(), &place).map_err(failed)?;
    drop(rustic);
    compare(&nodes)?;
    let folder = fs::File::open(".").map_err(unavailable)?;
    rustix::fs::syncfs(&folder).map_err(|e| unavailable(e.into()))?;
    let bytes = nodes.iter().map(|(_, node)| node.meta.size).sum();
    Ok((nodes.len() as u64, bytes))
}

/// The current folder is another one while this exists, and then no folder that could be unmounted.
struct Inside;

impl Inside {
    fn enter(folder: &Path) -> io::Result<Self> {
        std::env::set_current_dir(folder).map(|()| Self)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = std::env::set_current_dir("/");
    }
}

/// An error of rustic during a restore: a full disk is temporary, other errors are not.
fn of(e: &RusticError) -> BackupError {
    let error = BackupError::of("restore the snapshot", e);
    if text::is_disk_full(&error.message) {
        let text =
            format!("the disk that holds the volumes is full; free some space ({})", error.message);
        return BackupError::new(BackupErrorKind::Unavailable, text);
    }
    error
}

/// Rejects names that lead out of the folder or through something that is not a folder. Only forged
/// snapshots have such names.
fn refuse_hostile(nodes: &[(PathBuf, Node)]) -> Result<(), BackupError> {
    let mut seen = HashSet::new();
    let mut folders: HashSet<&Path> = HashSet::from([Path::new("")]);
    for (path, node) in nodes {
        let hostile = |why: &str| {
            let name = text::name(path.as_os_str().as_bytes());
            let text = format!("the snapshot is refused: {why}: {name:?}");
            Err(BackupError::new(BackupErrorKind::Hostile, text))
        };
        let name = node.name();
        let name: &OsStr = name.as_ref();
        let bytes = name.as_bytes();
        let plain = !bytes.is_empty()
            && bytes != b"."
            && bytes != b".."
            && !bytes.iter().any(|b| matches!(b, b'/' | 0));
        if !plain || path.file_name() != Some(name) {
            return hostile("a name that leads elsewhere");
        }
        if !path.components().all(|c| matches!(c, Component::Normal(_))) {
            return hostile("a path that leads out of the folder");
        }
        if !folders.contains(path.parent().unwrap_or(Path::new(""))) {
            return hostile("something in what is no folder");
        }
        if !seen.insert(path.as_path()) {
            return hostile("two things of one name");
        }
        if node.is_dir() {
            folders.insert(path);
        }
    }
    Ok(())
}

/// Compares the current folder with the snapshot. rustic only warns when it cannot set the metadata of a
/// file.
fn compare(nodes: &[(PathBuf, Node)]) -> Result<(), BackupError> {
    let mut linked: HashMap<(u64, u64), u64> = HashMap::new();
    for (path, node) in nodes {
        if let Err(why) = same(path, node, &mut linked) {
            let name = text::name(path.as_os_str().as_bytes());
            let text = format!("{name} was not restored as it was: {why}");
            return Err(BackupError::new(BackupErrorKind::Damaged, text));
        }
    }
    Ok(())
}

fn same(path: &Path, node: &Node, linked: &mut HashMap<(u64, u64), u64>) -> Result<(), String> {
    let found = fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    let kind = found.file_type();
    let right_kind = match &node.node_type {
        NodeType::File => kind.is_file() && found.len() == node.meta.size,
        NodeType::Dir => kind.is_dir(),
        NodeType::Symlink { .. } => {
            kind.is_symlink()
                && fs::read_link(path).is_ok_and(|target| target == node.node_type.to_link())
        }
        NodeType::Fifo => kind.is_fifo(),
        NodeType::Socket => kind.is_socket(),
        NodeType::Dev { .. } | NodeType::Chardev { .. } => true,
    };
    if !right_kind {
        return Err("it is of another kind or length".into());
    }
    if Some(found.uid()) != node.meta.uid || Some(found.gid()) != node.meta.gid {
        return Err("its owner is another".into());
    }
    let mode = node.meta.mode.map(unix_bits);
    if !kind.is_symlink() && mode.is_some_and(|mode| found.mode() & 0o7777 != mode) {
        return Err("its mode is another".into());
    }
    let time = i128::from(found.mtime()) * NANOS + i128::from(found.mtime_nsec());
    let wanted = node.meta.mtime.map(|t| t.as_nanosecond());
    if wanted.is_some_and(|wanted| !is_same_time(wanted, time)) {
        return Err("its time is another".into());
    }
    if node.is_file() && node.meta.links > 1 && node.meta.device_id != 0 {
        let key = (node.meta.device_id, node.meta.inode);
        if *linked.entry(key).or_insert(found.ino()) != found.ino() {
            return Err("it is no hard link any more".into());
        }
    }
    Ok(())
}

/// Whether a file system that was given the time `wanted`, in nanoseconds since the epoch, may
/// answer `found`. File systems keep times of 1901 to 2038 at least, and replace those out of their
/// range by its nearest end.
fn is_same_time(wanted: i128, found: i128) -> bool {
    let first = i128::from(i32::MIN) * NANOS;
    let last = i128::from(i32::MAX) * NANOS;
    wanted == found
        || (last <= found && found < wanted)
        || (wanted < found && found < first + NANOS)
}

#[cfg(test)]
mod tests {
    use rustic_core::repofile::Metadata;

    use super::*;

    fn node(name: &str, node_type: NodeType) -> Node {
        Node::new_node(OsStr::new(name), node_type, Metadata::default())
    }

    fn forged(nodes: &[(&str, Node)]) -> Result<(), BackupError> {
        let nodes: Vec<_> =
            nodes.iter().map(|(path, node)| (PathBuf::from(path), node.clone())).collect();
        refuse_hostile(&nodes)
    }

    #[test]
    fn a_time_is_the_same_to_the_nanosecond_or_cut_to_what_a_file_system_keeps() {
        let at = |seconds: i128, nanos: i128| seconds * NANOS + nanos;
        assert!(is_same_time(at(-2, 500_000_000), at(-2, 500_000_000)));
        assert!(!is_same_time(at(-2, 500_000_000), at(-1, 500_000_000)));
        assert!(!is_same_time(at(5, 1), at(5, 0)));
        // The range of ext4 ends in 2446, that of an old xfs in 2038; both begin in 1901.
        assert!(is_same_time(at(253_402_300_000, 7), at(15_032_385_535, 0)));
        assert!(is_same_time(at(4_102_444_800, 0), at(2_147_483_647, 0)));
        assert!(is_same_time(at(-60_000_000_000, 0), at(-2_147_483_648, 0)));
        assert!(!is_same_time(at(4_102_444_800, 0), at(1_700_000_000, 0)));
        assert!(!is_same_time(at(4_102_444_800, 0), at(4_102_444_801, 0)));
        assert!(!is_same_time(at(-60_000_000_000, 0), at(0, 0)));
    }

    #[test]
    fn a_snapshot_that_leads_out_of_the_folder_is_refused() {
        let file = |name| node(name, NodeType::File);
        let folder = |name| node(name, NodeType::Dir);
        let link = |name| node(name, NodeType::from_link(Path::new("/etc")));
        forged(&[("a", folder("a")), ("a/b", file("b")), ("c", link("c"))]).unwrap();
        for (what, nodes) in [
            ("through a link", vec![("a", link("a")), ("a/passwd", file("passwd"))]),
            ("through a file", vec![("a", file("a")), ("a/b", file("b"))]),
            ("a link, then a folder of its name", vec![("a", link("a")), ("a", folder("a"))]),
            ("up", vec![("../x", file("x"))]),
            ("up by name", vec![("..", folder(".."))]),
            ("up inside", vec![("a", folder("a")), ("a/../../x", file("x"))]),
            ("absolute", vec![("/etc/passwd", file("passwd"))]),
            ("a name with a slash", vec![("a/b", file("a/b"))]),
            ("another name than the path's", vec![("a", file("b"))]),
            ("no name", vec![("", folder(""))]),
            ("a folder that is not there", vec![("a/b", file("b"))]),
        ] {
            let refused = forged(&nodes);
            let kind = refused.as_ref().map_err(|e| e.kind);
            assert_eq!(kind, Err(BackupErrorKind::Hostile), "{what}: {refused:?}");
        }
    }
}
