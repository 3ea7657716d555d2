//! A repository in a folder on this host.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::objects::{ObjectError, Objects, Stat};

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

    /// Writes the file atomically and durably; if it must be `new`, an existing one stays.
    fn put(&self, name: &str, content: &[Bytes], new: bool) -> io::Result<()> {
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
            if new {
                fs::hard_link(&draft, &path)?;
            } else {
                fs::rename(&draft, &path)?;
            }
            File::open(folder)?.sync_all()
        })();
        if written.is_err() || new {
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

fn say(e: &io::Error) -> ObjectError {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ObjectError::Failed(
            "the disk is full; free some space, or lower backup.keep_days".to_owned(),
        ),
        ErrorKind::NotFound => ObjectError::Missing("it is missing".to_owned()),
        ErrorKind::UnexpectedEof => ObjectError::Missing("it is too short".to_owned()),
        _ => ObjectError::Failed(e.to_string()),
    }
}

/// `None` for what does not exist.
fn optional<T>(done: io::Result<T>) -> Result<Option<T>, ObjectError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(say(&e)),
    }
}

impl Objects for FolderStore {
    fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Bytes, ObjectError> {
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
        read().map_err(|e| say(&e))
    }

    fn write(&self, name: &str, content: Vec<Bytes>) -> Result<(), ObjectError> {
        self.put(name, &content, false).map_err(|e| say(&e))
    }

    fn create(&self, name: &str, content: Bytes) -> Result<(), ObjectError> {
        match self.put(name, &[content], true) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(say(&e)),
            _ => Ok(()),
        }
    }

    fn remove(&self, name: &str) -> Result<(), ObjectError> {
        optional(fs::remove_file(self.root.join(name))).map(drop)
    }

    fn stat(&self, name: &str) -> Result<Option<Stat>, ObjectError> {
        let meta = optional(fs::metadata(self.root.join(name)))?;
        // The clock of a folder is that of this host.
        Ok(meta.map(|meta| Stat { size: meta.len(), modified: None }))
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, ObjectError> {
        let mut found = Vec::new();
        let base = self.root.join(folder);
        self.walk(&base, &mut found, &base).map_err(|e| say(&e))?;
        found.retain(|(name, _)| !name.ends_with(".new"));
        Ok(found)
    }

    fn folders(&self) -> Result<Vec<String>, ObjectError> {
        let Some(entries) = optional(fs::read_dir(&self.root))? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| say(&e))?;
            if entry.file_type().map_err(|e| say(&e))?.is_dir() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }

    fn require(&self) -> Result<(), ObjectError> {
        match fs::metadata(&self.root) {
            Ok(meta) if meta.is_dir() => Ok(()),
            Ok(_) => Err(ObjectError::Failed("it is no folder".to_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(ObjectError::Failed(
                "the folder does not exist: is it mounted, is backup.destination right?".to_owned(),
            )),
            Err(e) => Err(say(&e)),
        }
    }

    fn erase(&self) -> Result<(), ObjectError> {
        optional(fs::remove_dir_all(&self.root)).map(drop)
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}
