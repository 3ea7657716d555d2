//! The databases of a volume are checked as they are, and do not lead out of it.

use std::{
    fs,
    os::unix::fs::{FileExt, chown, symlink},
    path::Path,
};

use sqlx::{
    Connection, Executor, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use startclaw_backup::{BackupError, BackupErrorKind, Report, Work};

use crate::stage::*;

/// An open database with some pages of content, which are all in its WAL if it has one.
async fn database(path: &Path, mode: SqliteJournalMode) -> SqliteConnection {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(mode)
        .pragma("wal_autocheckpoint", "0");
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)",
        "CREATE INDEX i ON t (text)",
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000)
         INSERT INTO t SELECT n, printf('%0100d', n * 7919 % 2000) FROM c",
    ] {
        database.execute(statement).await.unwrap();
    }
    database
}

async fn make(path: &Path) {
    database(path, SqliteJournalMode::Delete).await.close().await.unwrap();
}

/// Gives the volume to its user, and checks it.
async fn check(stage: &Stage) -> Result<(u64, u64), BackupError> {
    let root = stage.volume();
    for path in files(&root) {
        if !path.is_symlink() {
            chown(&path, Some(uid()), Some(uid())).unwrap();
        }
    }
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        chown(&folder, Some(uid()), Some(uid())).unwrap();
        let inner = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        folders.extend(inner.filter(|e| e.file_type().unwrap().is_dir()).map(|e| e.path()));
    }
    match run(&stage.repository(), Work::CheckDatabases { root, uid: uid() }).await? {
        Report::DatabasesChecked { good, unknown } => Ok((good, unknown)),
        other => panic!("{other:?}"),
    }
}

fn damage(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let middle = file.metadata().unwrap().len() / 2 / 4096 * 4096;
    file.write_all_at(&[0x5a; 4096], middle).unwrap();
}

#[tokio::test]
async fn good_databases_are_found_wherever_they_lie_and_whatever_they_are_called() {
    let stage = Stage::new();
    make(&stage.volume().join("state/openclaw.sqlite")).await;
    make(&stage.volume().join("agents/main/memory")).await;
    stage.write("notes.db", "no database at all");
    stage.write("empty.sqlite", "");
    assert_eq!(check(&stage).await.unwrap(), (3, 0));
    assert!(!stage.files().exists(), "the repository is not touched");
}

#[tokio::test]
async fn a_damaged_database_is_named() {
    let stage = Stage::new();
    let path = stage.volume().join("agents/main/agent.sqlite");
    make(&path).await;
    make(&stage.volume().join("good.sqlite")).await;
    damage(&path);
    let error = check(&stage).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged, "{error}");
    assert!(error.message.contains("agents/main/agent.sqlite ("), "{error}");
    assert!(!error.message.contains("good.sqlite"), "{error}");
    // So is one whose header is lost.
    fs::write(&path, vec![0; 8192]).unwrap();
    assert!(check(&stage).await.unwrap_err().message.contains("agent.sqlite"));
}

#[tokio::test]
async fn what_is_still_in_the_wal_counts() {
    let stage = Stage::new();
    let (path, copy) = (stage.dir.path().join("live.sqlite"), stage.volume().join("x.sqlite"));
    let mut live = database(&path, SqliteJournalMode::Wal).await;
    let wal = |path: &Path| path.with_extension("sqlite-wal");
    fs::copy(&path, &copy).unwrap();
    fs::copy(wal(&path), wal(&copy)).unwrap();
    assert!(fs::metadata(&copy).unwrap().len() < fs::metadata(wal(&copy)).unwrap().len());
    assert_eq!(check(&stage).await.unwrap(), (1, 0));

    // A page that belongs to no tree, in the WAL only.
    for statement in [
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET rootpage = rootpage + 1 WHERE name = 'i'",
    ] {
        live.execute(statement).await.unwrap();
    }
    fs::copy(&path, &copy).unwrap();
    fs::copy(wal(&path), wal(&copy)).unwrap();
    live.close().await.unwrap();
    let error = check(&stage).await.unwrap_err();
    assert!(error.message.contains("x.sqlite"), "{error}");
}

#[tokio::test]
async fn no_link_leads_out_of_the_volume() {
    let stage = Stage::new();
    let outside = stage.empty("outside");
    let database = outside.join("bad.sqlite");
    make(&database).await;
    damage(&database);
    let journal = outside.join("journal");
    fs::write(&journal, "of another user").unwrap();
    make(&stage.volume().join("x.sqlite")).await;
    symlink(&database, stage.volume().join("link.sqlite")).unwrap();
    symlink(&outside, stage.volume().join("folder")).unwrap();
    for name in ["x.sqlite-wal", "x.sqlite-journal"] {
        symlink(&journal, stage.volume().join(name)).unwrap();
    }
    let before = fs::read(&database).unwrap();
    let (good, unknown) = check(&stage).await.unwrap();
    assert_eq!(good + unknown, 1, "the one that lies inside");
    assert_eq!(fs::read(&database).unwrap(), before);
    assert_eq!(fs::read_to_string(&journal).unwrap(), "of another user");
    assert_eq!(files(&outside).len(), 2, "nothing was made beside them");
}

#[tokio::test]
async fn a_database_that_its_owner_cannot_read_is_no_reason_to_fail() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    let path = stage.volume().join("locked.sqlite");
    make(&path).await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(check(&stage).await.unwrap(), (0, 1));
}

#[tokio::test]
async fn a_journal_makes_nobody_remove_a_file_outside() {
    let stage = Stage::new();
    let path = stage.volume().join("x.sqlite");
    make(&path).await;
    let victim = stage.dir.path().join("victim");
    fs::write(&victim, "of another user").unwrap();
    fs::write(stage.volume().join("x.sqlite-journal"), journal(&victim)).unwrap();
    assert_eq!(check(&stage).await.unwrap(), (1, 0));
    assert!(victim.exists());
}

/// A journal without pages, as a transaction over several databases leaves it: it ends with the
/// path of a file that is removed when the transaction is over
/// (<https://sqlite.org/fileformat.html>, and `readSuperJournal` in `pager.c`).
fn journal(names: &Path) -> Vec<u8> {
    let name = names.as_os_str().as_encoded_bytes();
    let mut bytes = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7".to_vec();
    // Pages, nonce, pages of the database before, sector and page size.
    for number in [0_u32, 0, 1, 512, 4096] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.resize(512, 0);
    // The number of a page that no database has, the name, its length and checksum, and the magic.
    bytes.extend((0x4000_0000_u32 / 4096 + 1).to_be_bytes());
    bytes.extend(name);
    bytes.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
    bytes.extend(name.iter().map(|b| u32::from(*b)).sum::<u32>().to_be_bytes());
    bytes.extend(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
    bytes
}
