//! A repository in a folder on this host.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::objects::Objects;

/// A folder with files, readable by root only.
pub(crate) struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn make(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// Writes the file atomically and durably.
    fn put(&self, name: &str, content: &[Bytes]) -> io::Result<()> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        self.make(folder)?;
        let draft = folder.join(format!(".{:016x}.new", rand::random::<u64>()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&draft)?;
            for part in content {
                file.write_all(part)?;
            }
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn walk(&self, folder: &Path, found: &mut Vec<(String, u64)>, base: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.walk(&path, found, base)?;
            } else if let Ok(name) = path.strip_prefix(base) {
                found.push((name.to_string_lossy().into_owned(), entry.metadata()?.len()));
            }
        }
        Ok(())
    }
}

fn say(e: io::Error) -> String {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full; free some space, or lower backup.keep_days".to_owned()
        }
        ErrorKind::NotFound => "it is missing".to_owned(),
        ErrorKind::UnexpectedEof => "it is too short".to_owned(),
        _ => e.to_string(),
    }
}

impl Objects for FolderStore {
    fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Bytes, String> {
        let read = || -> io::Result<Bytes> {
            let mut file = File::open(self.root.join(name))?;
            let mut content = Vec::new();
            match part {
                None => drop(file.read_to_end(&mut content)?),
                Some((offset, length)) => {
                    content.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
                    file.read_exact_at(&mut content, offset)?;
                }
            }
            Ok(content.into())
        };
        read().map_err(say)
    }

    fn write(&self, name: &str, content: Vec<Bytes>) -> Result<(), String> {
        self.put(name, &content).map_err(say)
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        match fs::remove_file(self.root.join(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(say(e)),
            _ => Ok(()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, String> {
        let mut found = Vec::new();
        let base = self.root.join(folder);
        if folder.is_empty() {
            // Only the config is a file at the top level.
            return match fs::metadata(base.join("config")) {
                Ok(meta) => Ok(vec![("config".to_owned(), meta.len())]),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(found),
                Err(e) => Err(say(e)),
            };
        }
        self.walk(&base, &mut found, &base).map_err(say)?;
        found.retain(|(name, _)| !name.ends_with(".new"));
        Ok(found)
    }

    fn erase(&self) -> Result<(), String> {
        match fs::remove_dir_all(&self.root) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(say(e)),
            _ => Ok(()),
        }
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}
