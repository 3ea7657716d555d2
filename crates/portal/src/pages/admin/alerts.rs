//! `/admin/alerts`: troubles there are now, and what happened.

use askama::Template;
use axum::extract::State;
use startclaw_engine::Trouble;

use super::troubles as count;
use crate::{
    Portal,
    answer::{Answer, page},
    assets::Page as _,
    error::sentence,
    frame::{EventRow, Notice, Site},
    who::Admin,
    words,
};

/// Events on the page.
const EVENTS: u32 = 50;

#[derive(Template)]
#[template(path = "admin/alerts.html")]
struct Alerts {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    troubles: u64,
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

pub(crate) async fn show(State(portal): State<Portal>, admin: Admin) -> Answer {
    let there = admin.engine().troubles().await.map_err(|e| admin.refuse(e))?;
    let events = admin.engine().events(None, EVENTS).await.map_err(|e| admin.refuse(e))?;
    let number = count(&admin).await?;
    Ok(page(&Alerts {
        site: portal.site(Some(&admin.person)),
        here: "alerts",
        notice: None,
        troubles: number,
        alerts: there.iter().map(row).collect(),
        events: events.iter().map(|e| words::event(e, true)).collect(),
        say: if number == 0 { "No trouble".into() } else { words::counted(number, "trouble") },
    }))
}

fn row(trouble: &Trouble) -> AlertRow {
    let (kind, about) = trouble.key.split_once('/').unwrap_or((&trouble.key, ""));
    let (title, next) = match kind {
        "backup" => ("Backups fail", "It is tried again; startclaw doctor checks the destination."),
        "instance" => {
            ("An instance is failing", "Its page shows the reason and the last lines of its log.")
        }
        "firewall" => (
            "The firewall is not in place",
            "No instance is started without it; startclaw doctor says what is wrong.",
        ),
        "host" => ("The host does not answer", "startclaw doctor says what is wrong with Docker."),
        "upload" => (
            "Backups of one instance do not reach the bucket",
            "The others are sent; copies are kept here meanwhile, and it is tried again.",
        ),
        "bucket" => {
            ("The bucket is away", "Copies are made here meanwhile and sent when it is back.")
        }
        "check" => (
            "Stored backups are damaged",
            "Make a new backup now, keep the old repository, and look at the disk or bucket.",
        ),
        "retention" => ("Old backups cannot be forgotten", "It is tried again each night."),
        "drill" => ("A restore drill failed", "Run startclaw drill for it and look at its steps."),
        _ => ("Trouble", "startclaw doctor says how to mend what it finds."),
    };
    AlertRow {
        tone: if matches!(kind, "check" | "drill" | "instance" | "firewall" | "host") {
            "bad"
        } else {
            "warn"
        },
        title: if about.is_empty() { title.to_owned() } else { format!("{title}: {about}") },
        text: sentence(&trouble.detail),
        next,
        since: words::ago(trouble.since),
        datetime: trouble.since.to_string(),
    }
}
