//! Metadata of files, in restic's format.

use std::{ffi::OsStr, path::Path};

use rustic_core::{
    jiff::{SignedDuration, Timestamp},
    repofile::{Metadata, Node, NodeType},
};
use rustix::fs::FileType;

use crate::listing::Item;

/// The range of times that are stored: 0001-01-02 to 9999-12-30.
const EARLIEST: i64 = -62_135_510_400;
const LATEST: i64 = 253_402_128_000;

/// A time of a file. Those that restic's format cannot hold, whose years have four digits in any
/// time zone, become the nearest one.
fn storable_time(seconds: i64, nanos: u32) -> Option<Timestamp> {
    let nanos = i32::try_from(nanos).unwrap_or(0);
    if (EARLIEST..LATEST).contains(&seconds) {
        Timestamp::new(seconds, nanos).ok()
    } else {
        Timestamp::from_second(seconds.clamp(EARLIEST, LATEST)).ok()
    }
}

/// The metadata of an entry on this device.
fn metadata(item: &Item, device: u64) -> Metadata {
    let mtime = storable_time(item.mtime, item.mtime_nsec);
    let kind = item.kind();
    Metadata {
        mode: Some(go_mode(item.mode)),
        mtime,
        // The access time changes by reading, which would make every tree a new one.
        atime: mtime,
        ctime: storable_time(item.ctime, item.ctime_nsec),
        uid: Some(item.uid),
        gid: Some(item.gid),
        user: None,
        group: None,
        inode: item.inode,
        device_id: if item.links > 1 { device } else { 0 },
        size: if kind == FileType::RegularFile { item.value } else { 0 },
        links: if kind == FileType::Directory { 0 } else { item.links.into() },
        extended_attributes: Vec::new(),
    }
}

/// An entry, in restic's format; `target` is that of a link.
pub(crate) fn node(item: &Item, name: &OsStr, target: Option<&OsStr>, device: u64) -> Node {
    let kind = match item.kind() {
        FileType::Directory => NodeType::Dir,
        FileType::Symlink => NodeType::from_link(Path::new(target.unwrap_or_default())),
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::CharacterDevice => NodeType::Chardev { device: item.value },
        FileType::BlockDevice => NodeType::Dev { device: item.value },
        _ => NodeType::File,
    };
    Node::new_node(name, kind, metadata(item, device))
}

/// A change time that the file never has, so that the next backup reads it again: later stores
/// through a shared mapping may not show in its time stamps.
pub(crate) fn earlier(meta: &Metadata) -> Option<Timestamp> {
    meta.ctime.and_then(|time| time.checked_sub(SignedDuration::from_nanos(1)).ok())
}

/// The mode in restic's format, which is Go's: file type and special bits are at other positions
/// than in Unix.
pub(crate) fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => (1 << 26) | (1 << 21),
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(unix, _)| mode & unix != 0).map(|(_, go)| go);
    special.fold(kind | (mode & 0o777), |all, bit| all | bit)
}

/// The Unix permission bits of a Go mode.
pub(crate) fn unix_bits(go: u32) -> u32 {
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(_, bit)| go & bit != 0).map(|(unix, _)| unix);
    special.fold(go & 0o777, |all, bit| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_stored_exactly_or_as_the_nearest_one() {
        let text = |seconds, nanos| storable_time(seconds, nanos).unwrap().to_string();
        assert_eq!(text(-2, 500_000_000), "1969-12-31T23:59:58.5Z");
        assert_eq!(text(0, 1), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(text(4_102_444_800, 0), "2100-01-01T00:00:00Z");
        assert_eq!(text(i64::MAX, 5), "9999-12-30T00:00:00Z");
        assert_eq!(text(i64::MIN, 5), "0001-01-02T00:00:00Z");
    }
}
