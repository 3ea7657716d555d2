//! `/admin/alerts`: unresolved alerts, and recent events.

use askama::Template;
use startclaw_engine::Alert;

use super::alerts as count;
use crate::{
    access::Admin,
    answer::{Answer, page},
    assets::Page as _,
    error::sentence,
    frame::{EventRow, Notice, Site},
    labels,
};

/// Events shown.
const EVENTS: u32 = 50;

#[derive(Template)]
#[template(path = "admin/alerts.html")]
struct Alerts {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    alert_count: u64,
    alerts: Vec<AlertRow>,
    events: Vec<EventRow>,
    say: String,
}

struct AlertRow {
    tone: &'static str,
    title: String,
    text: String,
    next: &'static str,
    since: String,
    datetime: String,
}

pub(crate) async fn show(admin: Admin) -> Answer {
    let there = admin.alerts().await?;
    let events = admin.events(EVENTS).await?;
    let number = count(&admin).await?;
    Ok(page(&Alerts {
        site: admin.site(),
        here: "alerts",
        notice: None,
        alert_count: number,
        alerts: there.iter().map(row).collect(),
        events: events.iter().map(|e| labels::event(e, true)).collect(),
        say: if number == 0 { "No alerts".into() } else { labels::counted(number, "alert") },
    }))
}

fn row(alert: &Alert) -> AlertRow {
    let (kind, about) = alert.key.split_once('/').unwrap_or((&alert.key, ""));
    let (title, next) = match kind {
        "backup" => ("Backups are failing", "Retrying; startclaw doctor checks the destination."),
        "instance" => {
            ("An instance is failing", "Its page shows the reason and the last lines of its log.")
        }
        "firewall" => (
            "The firewall is not in place",
            "No instance is started without it; run startclaw doctor for the cause.",
        ),
        "host" => ("The host does not answer", "Run startclaw doctor to check Docker."),
        "upload" => (
            "Backups of one instance do not reach the bucket",
            "Other instances are uploaded. Copies stay on the host; the upload is retried.",
        ),
        "bucket" => (
            "The bucket is unavailable",
            "Backups are kept on the host and uploaded when it is back.",
        ),
        "check" => (
            "Stored backups are damaged",
            "Take a new backup now, keep the old repository, and check the disk or bucket.",
        ),
        "retention" => ("Expired backups cannot be deleted", "Retried every night."),
        "drill" => ("A restore test failed", "Run startclaw drill for it and check its steps."),
        _ => ("Alert", "Run startclaw doctor for suggested fixes."),
    };
    AlertRow {
        tone: if matches!(kind, "check" | "drill" | "instance" | "firewall" | "host") {
            "bad"
        } else {
            "warn"
        },
        title: if about.is_empty() { title.to_owned() } else { format!("{title}: {about}") },
        text: sentence(&alert.detail),
        next,
        since: labels::ago(alert.since),
        datetime: alert.since.to_string(),
    }
}
