//! A database with the terms of earlier versions.

use sqlx::{Connection, SqliteConnection, migrate::Migrator, sqlite::SqliteConnectOptions};
use startclaw_model::{
    AccountState, BackupPlace, DeletionPolicy, EventKind, InstanceId, Name, SnapshotId,
};
use startclaw_store::{Copy, Store};

/// A folder that is removed after the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("startclaw-words-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The migrations of the previous version.
fn earlier() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    let before = migrator.iter().filter(|m| m.version < 8).cloned().collect::<Vec<_>>();
    migrator.migrations = before.into();
    migrator
}

const ROWS: &str = r#"
INSERT INTO accounts (id, email, admin, state, created_at) VALUES ('a1', 'alice@example.com', 0, 'leaving', 1);
INSERT INTO instances (id, name, owner, slot, desired, health, wrapped_key, created_at) VALUES
    ('i1', 'alice', 'alice@example.com', 0, '{"presence":"absent","epoch":1,"secrets_revision":1,"profile":{"version":"1","provider":null,"api_key":false,"telegram":false,"limits":{"memory_soft_mib":512,"memory_hard_mib":2048,"cpus":0.5,"pids":512}},"volumes":{"current":1,"last":1,"filling":null,"replaced":{"generation":0,"until":"2026-02-08T03:12:00Z","on_trial":true}},"farewell":"backup"}',
     '{"failures":0,"last_failure_at":null,"retry_at":null,"repaired":false,"reason":null,"last_log":[]}', 'key', 1);
INSERT INTO operations (id, kind, instance_id, name, actor, state, steps, created_at) VALUES
    ('o1', 'backup', 'i1', 'alice', 'startclaw', 'running',
     '[{"name":"rest","state":"done","started_at":"2026-02-08T03:12:00Z","finished_at":null,"detail":"it said \"rest\""},{"name":"pause","state":"running","started_at":"2026-02-08T03:12:00Z","finished_at":null,"detail":null}]', 1);
INSERT INTO events (id, at, kind, actor, detail) VALUES ('1', 1, 'asked', 'startclaw', 'x'), ('2', 2, 'broke', 'startclaw', 'x'),
    ('3', 3, 'healed', 'startclaw', 'x'), ('4', 4, 'entered', 'startclaw', 'x'), ('5', 5, 'changed', 'startclaw', 'x');
INSERT INTO troubles (key, detail, since, over_at, told) VALUES ('bucket', 'unavailable', 1, 2, 1);
INSERT INTO read_parts (instance_id, part, at) VALUES ('i1', 3, 7);
INSERT INTO snapshots (id, instance_id, name, taken_at, files, bytes, added_bytes, local, remote) VALUES
    ('s1', 'i1', 'alice', 5, 1, 1, 1, 1, 1), ('s2', 'i1', 'alice', 8, 1, 1, 1, 1, 1);
"#;

#[tokio::test]
async fn rows_of_an_earlier_version_are_read_under_the_present_words() {
    let folder = Folder::new();
    let file = folder.0.join("startclaw.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    earlier().run(&mut connection).await.unwrap();
    sqlx::raw_sql(ROWS).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let store = Store::open(&file).await.unwrap();
    let alice = store.instance(&Name::parse("alice").unwrap()).await.unwrap();
    assert_eq!(alice.desired.deletion_policy, DeletionPolicy::FinalBackup);
    assert!(alice.desired.volumes.is_on_probation());
    assert_eq!(store.accounts().await.unwrap()[0].state, AccountState::PendingDeletion);
    let kinds: Vec<_> =
        store.events(None, 10).await.unwrap().iter().rev().map(|e| e.kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::Requested,
            EventKind::Failed,
            EventKind::Recovered,
            EventKind::SignedIn,
            EventKind::Changed
        ]
    );
    let operation = &store.operations(None, 10).await.unwrap()[0];
    let steps: Vec<_> = operation.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(steps, ["quiesce", "freeze"]);
    assert_eq!(operation.steps[0].detail.as_deref(), Some("it said \"rest\""));
    let alert = &store.alerts().await.unwrap()[0];
    assert!(alert.key == "bucket" && alert.resolved_at.is_some() && alert.notified);
    let id = InstanceId("i1".into());
    assert!(store.verified_parts(&id).await.unwrap().contains_key(&3));
    let verified = store.newest_verified().await.unwrap()[&id];
    assert_eq!((verified.taken_at.as_millis(), verified.verified_at.as_millis()), (5, 7));
    assert_eq!(verified.place, BackupPlace::Destination);
    // What is not there any more is not verified either, also when it comes back.
    let both = [SnapshotId("s1".into()), SnapshotId("s2".into())];
    store.set_copies(&id, Copy::Remote, &both[1..]).await.unwrap();
    store.set_copies(&id, Copy::Remote, &both).await.unwrap();
    assert!(store.newest_verified().await.unwrap().is_empty());
    store.note_verified_copies(&id, Copy::Local, &both, alice.created_at).await.unwrap();
    let verified = store.newest_verified().await.unwrap()[&id];
    assert_eq!((verified.taken_at.as_millis(), verified.place), (8, BackupPlace::Host));
}
