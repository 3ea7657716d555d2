//! What the operator can set about backups.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use startclaw_model::TimeZone;

use crate::RepositoryLayout;

/// When and where backups are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackupSettings {
    /// Whether there are nightly backups.
    pub nightly: bool,
    /// When the nightly backups begin, in `time_zone`.
    #[schemars(with = "String")]
    pub at: TimeOfDay,
    /// The time zone of `at`, of the days and times that are written without one, such as in
    /// `startclaw restore`, and of those in the portal: a name such as `Europe/Berlin`.
    #[schemars(with = "String")]
    pub time_zone: TimeZone,
    /// Over how many minutes the nightly backups begin; each instance has its own minute.
    pub spread_minutes: u32,
    /// How many backups run in parallel; beside them as many uploads and as many restores.
    pub side_by_side: usize,
    /// Where backups go: `gs://bucket/prefix`, `s3://bucket/prefix`, or a folder such as
    /// `/mnt/backups`. The folder `backups` in `data_dir` when empty, which is lost with the
    /// machine.
    pub destination: String,
    /// The file with the key that opens the bucket: a service account's JSON file for `gs://`, or
    /// lines with the id of an access key, its secret, and the session token if there is one. The
    /// host's own identity when empty.
    pub credentials: PathBuf,
    /// The address of the store, when it is not Google's or Amazon's own.
    pub endpoint: String,
    /// The region of an S3 bucket. When empty, the one that `endpoint` names if the provider is
    /// known, else `us-east-1`.
    pub region: String,
    /// Whether requests to an S3 bucket name it in the host name, as `bucket.endpoint`, instead of
    /// the path.
    pub virtual_hosted_style: bool,
    /// A file with certificates of authorities, in PEM format, that the bucket's certificate may be
    /// from, besides those that the system trusts.
    pub ca: PathBuf,
    /// Whether the bucket refuses deletion, so that nothing is deleted in it: not what is older
    /// than `keep_days` either.
    pub append_only: bool,
    /// Where copies lie on this host while backups go to a bucket, and the marks of who is
    /// writing. The folder `backups` in `data_dir` when empty.
    pub folder: PathBuf,
    /// Days that copies on this host are kept while backups go to a bucket.
    pub keep_local_days: u32,
    /// Days that backups are kept at the destination.
    pub keep_days: u32,
    /// Hours that the volume which a restore replaced is kept for `restore --undo`.
    pub keep_replaced_hours: u32,
    /// Days from one drill to the next, in which it is tried whether an instance's newest backup
    /// would come back; 0 for never.
    pub drill_days: u32,
    /// Seconds that an instance may be frozen for a backup, from 1 to 300; a backup that needs more
    /// fails.
    pub longest_pause: u32,
    /// Memory that a worker may take, in MiB; a restore may take twice as much.
    pub worker_memory_mib: u64,
    /// CPUs that all workers together may use, and threads that each computes with; 0 means half of
    /// the host's, at least one.
    pub worker_threads: usize,
    /// Where alerts go: a webhook that takes a JSON body with `text`, as Slack's and Discord's do.
    /// Nowhere when empty.
    pub alert_webhook: String,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self {
            nightly: true,
            at: TimeOfDay { minutes: 3 * 60 },
            time_zone: TimeZone::default(),
            spread_minutes: 60,
            side_by_side: 2,
            destination: String::new(),
            credentials: PathBuf::new(),
            endpoint: String::new(),
            region: String::new(),
            virtual_hosted_style: false,
            ca: PathBuf::new(),
            append_only: false,
            folder: PathBuf::new(),
            keep_local_days: 7,
            keep_days: 30,
            keep_replaced_hours: 24,
            drill_days: 30,
            longest_pause: 10,
            worker_memory_mib: 1024,
            worker_threads: 0,
            alert_webhook: String::new(),
        }
    }
}

impl BackupSettings {
    /// Whether backups can be made so.
    ///
    /// # Errors
    /// What is wrong, beginning with the setting that it is about.
    pub fn check(&self) -> Result<(), String> {
        let layout = RepositoryLayout::new(self)
            .map_err(|e| format!("backup.destination: {}", e.message))?;
        if self.append_only && !layout.has_bucket() {
            return Err("backup.append_only is for buckets, gs:// or s3://".into());
        }
        if self.keep_days == 0 || self.keep_local_days == 0 {
            return Err("backup.keep_days and backup.keep_local_days are at least 1".into());
        }
        if !(1..=720).contains(&self.spread_minutes) {
            return Err("backup.spread_minutes lies between 1 and 720".into());
        }
        if !(1..=300).contains(&self.longest_pause) {
            return Err("backup.longest_pause lies between 1 and 300".into());
        }
        if self.worker_memory_mib < 256 {
            return Err("backup.worker_memory_mib is at least 256".into());
        }
        Ok(())
    }

    /// How long a replaced volume is kept.
    pub fn keep_replaced(&self) -> Duration {
        Duration::from_secs(u64::from(self.keep_replaced_hours) * 3600)
    }

    /// How long an instance may be frozen.
    pub fn longest_pause(&self) -> Duration {
        Duration::from_secs(self.longest_pause.into())
    }

    pub(crate) fn threads(&self) -> usize {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match self.worker_threads {
            0 => (cpus / 2).max(1),
            set => set,
        }
    }
}

/// A time of day, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    minutes: u32,
}

/// A text that is no time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time of day is like 03:00, from 00:00 to 23:59")]
pub struct TimeOfDayError;

impl TimeOfDay {
    /// Minutes since midnight.
    pub const fn minutes(self) -> u32 {
        self.minutes
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<Self, TimeOfDayError> {
        let (hours, minutes) = text.split_once(':').ok_or(TimeOfDayError)?;
        let part = |text: &str, below: u32| -> Result<u32, TimeOfDayError> {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse::<u32>().ok().filter(|n| digits && *n < below);
            number.ok_or(TimeOfDayError)
        };
        Ok(Self { minutes: part(hours, 24)? * 60 + part(minutes, 60)? })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = TimeOfDayError;
    fn try_from(text: String) -> Result<Self, TimeOfDayError> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_not_append_only() {
        let with = |destination: &str| BackupSettings {
            destination: destination.into(),
            append_only: true,
            folder: "/backups".into(),
            ..BackupSettings::default()
        };
        assert_eq!(with("s3://bucket").check(), Ok(()));
        for folder in ["", "/mnt/backups"] {
            assert!(with(folder).check().unwrap_err().starts_with("backup.append_only"));
        }
    }

    #[test]
    fn a_time_of_day_is_read_and_written_alike() {
        for good in ["03:00", "00:00", "23:59"] {
            assert_eq!(good.parse::<TimeOfDay>().unwrap().to_string(), good);
        }
        for bad in ["", "3:00", "24:00", "03:60", "0300", "+3:00", "03:00:00"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad}");
        }
    }
}
