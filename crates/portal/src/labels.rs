//! Numbers, times and states as text for people.

use std::time::Duration;

use startclaw_engine::InstanceStatus;
use startclaw_model::{BackupPlace, Event, EventKind, InstanceState, TimeZone, Timestamp};

use crate::{error::sentence, frame::EventRow};

/// How long ago `at` was.
pub(crate) fn ago(at: Timestamp) -> String {
    match long(Timestamp::now().since(at)) {
        None => "just now".to_owned(),
        Some(time) => format!("{time} ago"),
    }
}

/// How long a state has lasted.
pub(crate) fn lasting(since: Timestamp) -> String {
    match long(Timestamp::now().since(since)) {
        None => "for a moment".to_owned(),
        Some(time) => format!("for {time}"),
    }
}

/// A duration in its largest unit; `None` below ten seconds.
fn long(time: Duration) -> Option<String> {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..10 => return None,
        10..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    Some(counted(count, unit))
}

/// `1 file`, `2 files`.
pub(crate) fn counted(count: u64, unit: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", thousands(count))
}

/// A number with thousands separators.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration: `3.2 s`, `1 min 5 s`. The script of the pages continues it in this format.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

/// Bytes, in the largest unit that fits.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return counted(count, "byte");
    }
    #[expect(clippy::cast_precision_loss, reason = "to two digits")]
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// MiB, as GB where it is a whole number of them.
pub(crate) fn mib(count: u64) -> String {
    if count >= 1024 && count.is_multiple_of(1024) {
        format!("{} GB", count / 1024)
    } else {
        format!("{} MB", thousands(count))
    }
}

/// `8 February 2026`.
pub(crate) fn day(at: Timestamp, zone: &TimeZone) -> String {
    zone.format(at, "%-d %B %Y")
}

/// `8 February 2026, 03:12 UTC`. With the year: a link may last for one.
pub(crate) fn moment(at: Timestamp, zone: &TimeZone) -> String {
    zone.format(at, "%-d %B %Y, %H:%M %Z")
}

/// The tone and the label of a state.
pub(crate) const fn state(state: InstanceState) -> (&'static str, &'static str) {
    match state {
        InstanceState::Live => ("good", "Live"),
        InstanceState::Starting => ("busy", "Starting"),
        InstanceState::Failing => ("bad", "Failing"),
        InstanceState::Removing => ("busy", "Being removed"),
        InstanceState::Unknown => ("idle", "Checking"),
    }
}

/// When the last backup was taken.
pub(crate) fn last_backup(instance: &InstanceStatus) -> String {
    instance.last_backup.map_or_else(|| "none yet".to_owned(), ago)
}

/// The newest backup that was verified, and where it is.
pub(crate) fn verified_backup(instance: &InstanceStatus) -> String {
    let Some(backup) = instance.verified_backup else { return "none yet".to_owned() };
    let place = match backup.place {
        BackupPlace::Destination => "in backup storage",
        BackupPlace::Host => "on this server",
    };
    format!("{}, {place}", ago(backup.taken_at))
}

/// The name of a device, from its user agent.
pub(crate) fn device(agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    let browser = find(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = find(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "Another device".to_owned(),
    }
}

/// A row of the activity list.
pub(crate) fn event(event: &Event, with_name: bool) -> EventRow {
    let failed = event.detail.contains(" failed");
    let (tone, text) = match event.kind {
        EventKind::Finished if failed => ("bad", sentence(&event.detail)),
        EventKind::Finished => ("good", sentence(&event.detail)),
        EventKind::Failed => ("bad", sentence(&event.detail)),
        EventKind::Recovered => ("good", sentence(&event.detail)),
        EventKind::SignedIn => ("idle", format!("{} signed in to it.", event.detail)),
        EventKind::Requested | EventKind::Changed => ("idle", sentence(&event.detail)),
    };
    EventRow {
        tone,
        text,
        time: ago(event.at),
        datetime: event.at.to_string(),
        name: event.name.as_ref().filter(|_| with_name).map(ToString::to_string),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(120_400_000), "120 MB");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(mib(2048), "2 GB");
        assert_eq!(mib(512), "512 MB");
        assert_eq!(took(Duration::from_millis(14_234)), "14.2 s");
        assert_eq!(took(Duration::from_secs(65)), "1 min 5 s");
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        let before = |seconds: i64| {
            ago(Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000 - 500))
        };
        assert_eq!(before(2), "just now");
        assert_eq!(before(60), "1 minute ago");
        assert_eq!(before(3 * 3600), "3 hours ago");
        assert_eq!(before(4 * 86_400), "4 days ago");
        let at = Timestamp::parse("2026-02-08T03:12:00Z").unwrap();
        let utc = TimeZone::default();
        assert_eq!(day(at, &utc), "8 February 2026");
        assert_eq!(moment(at, &utc), "8 February 2026, 03:12 UTC");
        let there = "America/New_York".parse().unwrap();
        assert_eq!(moment(at, &there), "7 February 2026, 22:12 EST");
    }

    #[test]
    fn a_device_is_known_by_its_browser_and_system() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert_eq!(device(firefox), "Firefox on Linux");
        let phone =
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36";
        assert_eq!(device(phone), "Chrome on Android");
        assert_eq!(device("curl/8"), "Another device");
    }
}
