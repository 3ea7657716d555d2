//! Checks the SQLite databases of a restored volume.
//!
//! They belong to a tenant, who may have crafted them to attack the process that opens them: a link
//! in place of a journal, or a journal that makes SQLite remove a file of the host. SQLite opens
//! files by path, so we cannot keep it inside the volume. Instead the worker confines itself:
//! before it opens anything of the tenant's, the folder becomes its root and the tenant its user.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
    process::{chdir, chroot},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use sqlx::{
    ConnectOptions, Connection, Error, SqliteConnection, error::DatabaseError,
    sqlite::SqliteConnectOptions,
};

use crate::{BackupError, BackupErrorKind, meter::Meter, text};

/// How many errors are reported of each database.
const FINDINGS: u32 = 3;
/// How many damaged databases are named.
const NAMED: usize = 5;
/// The longest text about one of them, in characters.
const WHY: usize = 100;
/// What every SQLite file begins with.
const HEADER: [u8; 16] = *b"SQLite format 3\0";
/// The result codes of SQLite that mean damage: `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
const DAMAGE: [i32; 2] = [11, 26];

/// Confines this process to `root`, as the user that owns it.
pub(crate) fn confine(root: &Path, uid: u32) -> Result<(), BackupError> {
    let shut = || -> rustix::io::Result<()> {
        chroot(root)?;
        chdir("/")?;
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)
    };
    shut().map_err(|e| {
        let text = format!("cannot shut the worker into {}: {e}", root.display());
        BackupError::new(BackupErrorKind::Unavailable, text)
    })
}

/// Checks every database beneath the root of this process; returns how many are intact, and how
/// many cannot be checked.
pub(crate) fn check(meter: &Arc<Meter>) -> Result<(u64, u64), BackupError> {
    let unreadable = |e: io::Error| {
        let text = format!("cannot search for databases: {e}");
        BackupError::new(BackupErrorKind::Unreadable, text)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(unreadable)?;
    let (mut good, mut unknown, mut damaged) = (0, 0, Vec::new());
    for path in find(meter).map_err(unreadable)? {
        match runtime.block_on(judge(&path)) {
            Verdict::Good => good += 1,
            Verdict::Unknown => unknown += 1,
            Verdict::Damaged(why) => {
                let path = path.strip_prefix("/").unwrap_or(&path);
                let name = text::name(path.as_os_str().as_bytes());
                damaged.push(format!("{name} ({})", text::bounded(&why, WHY)));
            }
        }
        meter.file();
    }
    if damaged.is_empty() {
        return Ok((good, unknown));
    }
    let more = damaged.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    damaged.truncate(NAMED);
    let text = format!("damaged databases: {}{more}", damaged.join(", "));
    Err(BackupError::new(BackupErrorKind::Damaged, text))
}

enum Verdict {
    Good,
    Unknown,
    Damaged(String),
}

async fn judge(path: &Path) -> Verdict {
    match findings(path).await {
        Ok(found) if found == ["ok"] => Verdict::Good,
        Ok(found) => Verdict::Damaged(found.join("; ")),
        Err(Error::Database(e)) if is_damage(e.as_ref()) => {
            Verdict::Damaged(e.message().to_owned())
        }
        Err(_) => Verdict::Unknown,
    }
}

fn is_damage(error: &dyn DatabaseError) -> bool {
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    // An extended code carries the plain one in its last byte.
    code.is_some_and(|code| DAMAGE.contains(&(code & 0xff)))
}

/// The errors that SQLite finds; `ok` when there are none. A WAL or journal beside the file is
/// applied, as it is when OpenClaw opens the database.
async fn findings(path: &Path) -> Result<Vec<String>, Error> {
    // As https://sqlite.org/security.html recommends for untrusted files.
    let mut database: SqliteConnection = SqliteConnectOptions::new()
        .filename(path)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
        .connect()
        .await?;
    let found =
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("PRAGMA integrity_check({FINDINGS})")))
            .fetch_all(&mut database)
            .await;
    database.close().await?;
    found
}

/// The files beneath the root that are databases by their content or by their name. Links, and
/// folders that their owner cannot enter, are skipped.
fn find(meter: &Meter) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/")];
    while let Some(folder) = folders.pop() {
        meter.live();
        let Some(opened) = open(&folder, OFlags::RDONLY | OFlags::DIRECTORY)? else { continue };
        for entry in rustix::fs::Dir::read_from(&opened)? {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            if name == "." || name == ".." {
                continue;
            }
            let path = folder.join(&name);
            match entry.file_type() {
                FileType::Directory => folders.push(path),
                FileType::RegularFile if is_database(&path, &name)? => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_database(path: &Path, name: &OsStr) -> io::Result<bool> {
    let name = name.as_bytes();
    if name.ends_with(b".sqlite") || name.ends_with(b".sqlite3") {
        return Ok(true);
    }
    let Some(file) = open(path, OFlags::RDONLY | OFlags::NONBLOCK)? else { return Ok(false) };
    let mut head = [0; HEADER.len()];
    Ok(file.read_exact_at(&mut head, 0).is_ok() && head == HEADER)
}

/// `None` for a file that is gone, is a link, or is not readable by its owner.
fn open(path: &Path, flags: OFlags) -> io::Result<Option<File>> {
    let root = rustix::fs::CWD;
    let inside = path.strip_prefix("/").unwrap_or(path);
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, inside, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd.into())),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
