//! A damaged repository is repaired with the content of another one, and never made worse.

use std::{
    fs,
    path::{Path, PathBuf},
};

use startclaw_backup::{BackupError, BackupErrorKind, ReadData, Report, Repository, Work};

use crate::{bucket::Gcs, bucket::restic, stage::*};

async fn repair(
    repository: &Repository,
    from: &Repository,
) -> Result<(Vec<String>, Vec<String>), BackupError> {
    match run(repository, Work::Repair { from: from.clone() }).await? {
        Report::Repaired { repaired, lost } => Ok((repaired, lost)),
        other => panic!("{other:?}"),
    }
}

/// Three snapshots in two repositories.
struct Pair {
    stage: Stage,
    ids: Vec<String>,
}

impl Pair {
    async fn new() -> Self {
        let stage = Stage::new();
        let mut ids = Vec::new();
        for day in 1..=3 {
            for n in 0..5 {
                stage.write(&format!("d{day}/f{n}"), noise(day * 100 + n, 40_000));
            }
            ids.push(stage.take().await.unwrap().id);
        }
        let pair = Self { stage, ids };
        copy(&pair.local(), &pair.bucket()).await;
        pair
    }

    fn local(&self) -> Repository {
        self.stage.repository()
    }

    fn bucket(&self) -> Repository {
        self.stage.repository_in("bucket")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.stage.dir.path().join(name).join("alice")
    }

    /// All three snapshots are complete and readable.
    async fn is_whole(&self, repository: &Repository, what: &str) {
        let checked = run(repository, Work::Check { read: ReadData::All }).await;
        checked.unwrap_or_else(|e| panic!("{what}: {e}"));
        let (listed, damaged) = list_all(repository).await;
        let listed: Vec<_> = listed.into_iter().rev().map(|s| s.id).collect();
        assert_eq!(listed, self.ids, "{what}");
        assert!(damaged.is_empty(), "{what}");
        self.restores(repository, &self.ids[2], 3, what).await;
    }

    async fn restores(&self, repository: &Repository, id: &str, day: u64, what: &str) {
        let root = self.stage.empty(&format!("restored-{:08x}", rand()));
        let work = Work::Restore { snapshot: id.to_owned(), root: root.clone(), uid: uid() };
        run(repository, work).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(files(&root).len() as u64, day * 5, "{what}");
        for file in files(&root) {
            let name = file.strip_prefix(&root).unwrap();
            let original = fs::read(self.stage.volume().join(name)).unwrap();
            assert_eq!(fs::read(&file).unwrap(), original, "{what}: {}", name.display());
        }
    }
}

/// Every file with its content.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> =
        files(folder).into_iter().map(|f| (f.clone(), fs::read(f).unwrap())).collect();
    all.sort();
    all
}

fn flip(file: &Path) {
    let mut content = fs::read(file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 4;
    fs::write(file, content).unwrap();
}

fn cut(file: &Path) {
    let content = fs::read(file).unwrap();
    fs::write(file, &content[..content.len() / 2]).unwrap();
}

fn delete(file: &Path) {
    fs::remove_file(file).unwrap();
}

fn empty(file: &Path) {
    fs::write(file, b"").unwrap();
}

type Damage = (&'static str, &'static str, fn(&Path));

/// What happens to which files.
const DAMAGES: [Damage; 14] = [
    ("packs are deleted", "data", delete),
    ("packs have a flipped bit", "data", flip),
    ("packs are cut", "data", cut),
    ("packs are empty", "data", empty),
    ("indexes are deleted", "index", delete),
    ("indexes have a flipped bit", "index", flip),
    ("indexes are empty", "index", empty),
    ("snapshots have a flipped bit", "snapshots", flip),
    ("snapshots are empty", "snapshots", empty),
    ("the config is deleted", "config", delete),
    ("the config has a flipped bit", "config", flip),
    ("the key has a flipped bit", "keys", flip),
    ("the key is empty", "keys", empty),
    ("the key is deleted", "keys", delete),
];

/// Damages every `step`th of these files.
fn damage(folder: &Path, (_, part, how): Damage, step: usize) {
    let path = folder.join(part);
    let mut found = if path.is_file() { vec![path] } else { files(&path) };
    found.sort();
    found.iter().step_by(step).for_each(|file| how(file));
}

#[tokio::test]
async fn each_damage_of_one_repository_is_repaired_with_the_other() {
    let pair = Pair::new().await;
    let (local, bucket) = (pair.local(), pair.bucket());
    for (number, what) in DAMAGES.into_iter().enumerate() {
        // All of the files, or every other one; here, or there.
        let both = [(1, &local, "repositories", &bucket), (2, &bucket, "bucket", &local)];
        let one_is_enough = !matches!(what.1, "data" | "snapshots");
        let skipped = usize::from(one_is_enough && number % 2 == 0);
        for (step, damaged, folder, other) in
            both.into_iter().skip(skipped).take(2 - usize::from(one_is_enough))
        {
            damage(&pair.folder(folder), what, step);
            let repaired = repair(damaged, other).await;
            let (repaired, lost) = repaired.unwrap_or_else(|e| panic!("{what:?}: {e}"));
            assert!(lost.is_empty(), "{what:?}: {lost:?}");
            assert!(!repaired.is_empty(), "{what:?}");
            pair.is_whole(damaged, what.0).await;
            assert!(!pair.folder(folder).join("damaged").exists(), "{what:?}");
        }
    }
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn plain_restic_finds_a_repaired_repository_good() {
    let pair = Pair::new().await;
    for what in DAMAGES {
        damage(&pair.folder("repositories"), what, 2);
        repair(&pair.local(), &pair.bucket()).await.unwrap();
        restic(&pair.folder("repositories"), &["check", "--read-data"]);
    }
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_repository_in_a_real_bucket_is_repaired_and_repairs() {
    let (gcs, pair) = (Gcs::start(), Pair::new().await);
    let bucket = gcs.repository(&pair.stage);
    copy(&pair.local(), &bucket).await;
    let is_pack = |f: &PathBuf| f.to_string_lossy().contains("/data/");
    for pack in files(gcs.root.path()).into_iter().filter(is_pack) {
        delete(&pack);
    }
    run(&bucket, Work::Check { read: ReadData::All }).await.unwrap_err();
    let (repaired, lost) = repair(&bucket, &pair.local()).await.unwrap();
    assert!(!repaired.is_empty() && lost.is_empty(), "{repaired:?}, {lost:?}");
    pair.is_whole(&bucket, "the bucket").await;
    damage(&pair.folder("repositories"), DAMAGES[1], 1);
    assert!(repair(&pair.local(), &bucket).await.unwrap().1.is_empty());
    pair.is_whole(&pair.local(), "the local repository").await;
}

#[tokio::test]
async fn a_good_repository_is_left_as_it_is() {
    let pair = Pair::new().await;
    let before = contents(&pair.folder("bucket"));
    let done = repair(&pair.bucket(), &pair.local()).await.unwrap();
    assert_eq!(done, (Vec::new(), Vec::new()));
    assert_eq!(contents(&pair.folder("bucket")), before);
}

/// The local repository keeps fewer snapshots than the bucket.
#[tokio::test]
async fn snapshots_that_were_forgotten_are_not_brought_back() {
    let pair = Pair::new().await;
    let local = pair.local();
    forget(&local, &[&pair.ids[0]]).await;
    let newest = list(&local).await.remove(0);
    damage(&pair.folder("repositories"), DAMAGES[8], 2);
    let (repaired, lost) = repair(&local, &pair.bucket()).await.unwrap();
    assert!(lost.is_empty() && !repaired.is_empty(), "{repaired:?}, {lost:?}");
    let ids: Vec<_> = list(&local).await.into_iter().map(|s| s.id).collect();
    assert!(ids.contains(&newest.id));
    run(&local, Work::Check { read: ReadData::All }).await.unwrap();
}

/// A snapshot that only this repository has uses a readable part of a damaged pack.
#[tokio::test]
async fn what_is_readable_in_a_damaged_pack_is_kept_and_what_is_not_is_named() {
    let stage = Stage::new();
    let (repository, other) = (stage.repository(), stage.repository_in("other"));
    stage.write("elsewhere", "x");
    take(&other, &stage.volume()).await.unwrap();
    fs::remove_file(stage.volume().join("elsewhere")).unwrap();
    for n in 0..4 {
        stage.write(&format!("f{n}"), noise(2 * n, 50_000));
    }
    let first = stage.take().await.unwrap();
    let packs = files(&stage.files().join("data"));
    let pack = packs.into_iter().max_by_key(|p| p.metadata().unwrap().len()).unwrap();
    // One of four files is damaged; which one depends on the order in the pack.
    let mut content = fs::read(&pack).unwrap();
    content[1000] ^= 4;
    fs::write(&pack, content).unwrap();
    let mut whole = Vec::new();
    for n in 0..4 {
        for other in (0..4).filter(|other| *other != n) {
            let _ = fs::remove_file(stage.volume().join(format!("f{other}")));
        }
        stage.write(&format!("f{n}"), noise(2 * n, 50_000));
        whole.push((n, stage.take().await.unwrap().id));
    }
    let mut lost_before = vec![first.id.clone()];
    for (_, id) in &whole {
        if stage.restore(id).await.is_err() {
            lost_before.push(id.clone());
        }
    }
    assert_eq!(lost_before.len(), 2, "one of the files is damaged");
    let (_, lost) = repair(&repository, &other).await.unwrap();
    assert_eq!(lost.len(), 2, "{lost:?}");
    for id in &lost_before {
        assert!(lost.iter().any(|text| text.contains(id)), "{lost:?}");
    }
    for (n, id) in whole.iter().filter(|(_, id)| !lost_before.contains(id)) {
        let root = stage.restore(id).await.unwrap();
        assert_eq!(fs::read(root.join(format!("f{n}"))).unwrap(), noise(2 * *n, 50_000));
    }
    let aside = files(&stage.files().join("damaged"));
    assert!(aside.iter().any(|f| f.file_name() == pack.file_name()), "{aside:?}");
    let lost: Vec<_> = lost_before.iter().map(String::as_str).collect();
    forget(&repository, &lost).await;
    run(&repository, Work::Check { read: ReadData::All }).await.unwrap();
    assert!(files(&stage.files()).iter().all(|f| !f.starts_with(stage.files().join("damaged"))));
    assert_eq!(list(&repository).await.len(), 3);
}

#[tokio::test]
async fn a_snapshot_file_that_is_in_no_other_copy_is_named_and_stays() {
    let pair = Pair::new().await;
    run(&pair.bucket(), Work::Erase).await.unwrap();
    let other = pair.stage.repository_in("other");
    pair.stage.write("elsewhere", "x");
    take(&other, &pair.stage.volume()).await.unwrap();
    forget(&pair.local(), &[&pair.ids[0], &pair.ids[1]]).await;
    damage(&pair.folder("repositories"), DAMAGES[8], 1);
    run(&other, Work::Erase).await.unwrap();
    let error = repair(&pair.local(), &other).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::NoSnapshot, "{error}");
    assert_eq!(list_all(&pair.local()).await.1.len(), 1);
}

#[tokio::test]
async fn a_repair_from_what_is_damaged_itself_makes_nothing_worse() {
    let pair = Pair::new().await;
    let (local, bucket) = (pair.local(), pair.bucket());
    // Different halves, so that neither has everything.
    for (folder, skip) in [("repositories", 0), ("bucket", 1)] {
        let mut packs = files(&pair.folder(folder).join("data"));
        packs.sort_by_key(|p| p.metadata().unwrap().len());
        packs.iter().skip(skip).step_by(2).for_each(|pack| flip(pack));
    }
    let mut restorable = Vec::new();
    for (day, id) in (1..).zip(&pair.ids) {
        let root = pair.stage.empty(&format!("before-{day}"));
        let work = Work::Restore { snapshot: id.clone(), root, uid: uid() };
        if run(&local, work).await.is_ok() {
            restorable.push((day, id.clone()));
        }
    }
    let (_, lost) = repair(&local, &bucket).await.unwrap();
    for (day, id) in restorable {
        assert!(lost.iter().all(|text| !text.contains(&id)), "{lost:?}");
        pair.restores(&local, &id, day, "after the repair").await;
    }
    let wrong = Repository { key: key(8), ..bucket.clone() };
    let before = contents(&pair.folder("repositories"));
    repair(&local, &wrong).await.unwrap_err();
    assert_eq!(contents(&pair.folder("repositories")), before);
}

/// The config of a repository with another key must not be replaced.
#[tokio::test]
async fn a_repository_with_another_key_is_left_alone() {
    let pair = Pair::new().await;
    let strange = pair.stage.repository_in("strange");
    take(&Repository { key: key(8), ..strange.clone() }, &pair.stage.volume()).await.unwrap();
    let before = contents(&pair.folder("strange"));
    repair(&strange, &pair.bucket()).await.unwrap_err();
    assert_eq!(contents(&pair.folder("strange")), before);
}
