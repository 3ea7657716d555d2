//! A typical user's volume: 200 MB in 3,500 files, half of it text.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

pub const FILES: u64 = 3500;
pub const BYTES: u64 = 200_000_000;
const FOLDERS: u64 = 50;

/// Fills `root`, with its owner.
pub fn fill(root: &Path) -> anyhow::Result<()> {
    for number in 0..FILES {
        write(root, number, 0)?;
    }
    Ok(())
}

/// Rewrites a few files with the same content: they have to be read again. [`change`] changes none
/// of them.
pub fn touch(root: &Path) -> anyhow::Result<()> {
    [351, 702, 1053, 1404, 1755].into_iter().try_for_each(|number| write(root, number, 0))
}

/// Changes one file in a hundred.
pub fn change(root: &Path, version: u64) -> anyhow::Result<()> {
    (0..FILES).step_by(100).try_for_each(|number| write(root, number, version))
}

/// Size of a file, or of all files below a folder, in bytes.
pub fn size(folder: &Path) -> u64 {
    if folder.is_file() {
        return fs::metadata(folder).map_or(0, |m| m.len());
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
            _ => 0,
        })
        .sum()
}

fn place(root: &Path, number: u64) -> PathBuf {
    root.join(format!("bench/{:02}/{number:04}", number % FOLDERS))
}

fn write(root: &Path, number: u64, version: u64) -> anyhow::Result<()> {
    let path = place(root, number);
    let owner = fs::metadata(root)?;
    for folder in [root.join("bench"), path.parent().unwrap_or(root).to_owned()] {
        if !folder.exists() {
            fs::create_dir(&folder)?;
            chown(&folder, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    fs::write(&path, content(number, version))?;
    Ok(chown(&path, Some(owner.uid()), Some(owner.gid()))?)
}

/// Small and large files with the intended mean size; every second one is text.
fn content(number: u64, version: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the ",
        "memory ",
        "of ",
        "an ",
        "assistant ",
        "is ",
        "what ",
        "somebody ",
        "said ",
        "to ",
        "it ",
        "yesterday ",
        "and ",
        "before ",
        "that, ",
        "always.\n",
    ];
    let mean = BYTES / FILES;
    let size = usize::try_from(mean / 4 + (number % 7) * mean / 4).unwrap_or(0);
    let mut random = StdRng::seed_from_u64(number << 8 | version);
    let mut bytes = vec![0; size];
    random.fill_bytes(&mut bytes);
    if number.is_multiple_of(2) {
        let mut text = Vec::with_capacity(size + 16);
        while text.len() < size {
            text.extend_from_slice(WORDS[random.random_range(0..WORDS.len())].as_bytes());
        }
        text.truncate(size);
        bytes = text;
    }
    bytes
}
