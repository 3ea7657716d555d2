//! `/admin`: all instances.

use askama::Template;
use axum::extract::Query;
use startclaw_engine::InstanceStatus;
use startclaw_model::{InstanceState, Timestamp};

use super::{
    alerts,
    table::{Column, List, Table, TableQuery},
};
use crate::{
    access::Admin,
    answer::{Answer, page},
    assets::Page as _,
    error::sentence,
    frame::{Notice, Site},
    labels,
};

/// A backup older than this is late: one night and the spread of the schedule.
const LATE: std::time::Duration = std::time::Duration::from_secs(26 * 3600);

#[derive(Template)]
#[template(path = "admin/instances.html")]
struct Instances {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    alert_count: u64,
    counts: Vec<Count>,
    table: Table<AdminInstance>,
}

const LIST: List<InstanceStatus> = List {
    path: "/admin",
    one: "instance",
    searched_by: "name or owner",
    wants: |asked, i| {
        (asked.finds(i.name.as_str()) || asked.finds(i.owner.as_str()))
            && (asked.state.is_empty() || i.state.as_str() == asked.state)
    },
    columns: &[
        Column("Name", "name", "", |a, b| a.name.cmp(&b.name)),
        Column("Owner", "owner", "", |a, b| a.owner.as_str().cmp(b.owner.as_str())),
        Column("State", "state", "", |a, b| a.state.as_str().cmp(b.state.as_str())),
        Column("Memory", "memory", "num", |a, b| {
            a.limits().memory_hard_mib.cmp(&b.limits().memory_hard_mib)
        }),
        Column("Last backup", "backup", "", |a, b| a.last_backup.cmp(&b.last_backup)),
        Column("Since", "since", "", |a, b| a.since.cmp(&b.since)),
    ],
};

struct Count {
    label: &'static str,
    value: String,
    tone: &'static str,
    href: String,
    current: bool,
}

pub(crate) struct AdminInstance {
    pub name: String,
    pub owner: String,
    pub tone: &'static str,
    pub state: &'static str,
    pub remark: Option<String>,
    pub memory: String,
    pub backup: String,
    pub backup_late: bool,
    pub since: String,
}

pub(crate) async fn show(admin: Admin, Query(asked): Query<TableQuery>) -> Answer {
    let all = admin.instances().await?;
    Ok(page(&Instances {
        site: admin.site(),
        here: "admin",
        notice: None,
        alert_count: alerts(&admin).await?,
        counts: counts(&asked, &all),
        table: LIST.table(asked, all, |i| row(&admin, i)),
    }))
}

fn counts(asked: &TableQuery, all: &[InstanceStatus]) -> Vec<Count> {
    use InstanceState::{Failing, Live, Removing, Starting, Unknown};
    let count = |state: Option<InstanceState>, label: &'static str, tone: &'static str| {
        let number = all.iter().filter(|i| state.is_none_or(|s| s == i.state)).count();
        let word = state.map_or("", InstanceState::as_str);
        Count {
            label,
            value: labels::thousands(u64::try_from(number).unwrap_or(u64::MAX)),
            tone,
            href: asked.address(|other| word.clone_into(&mut other.state)),
            current: asked.state == word,
        }
    };
    let mut counts = vec![
        count(None, "all", "idle"),
        count(Some(Live), "live", "good"),
        count(Some(Starting), "starting", "busy"),
        count(Some(Failing), "failing", "bad"),
        count(Some(Removing), "being removed", "busy"),
    ];
    if all.iter().any(|i| i.state == Unknown) {
        counts.push(count(Some(Unknown), "checking", "idle"));
    }
    counts
}

pub(crate) fn row(admin: &Admin, instance: &InstanceStatus) -> AdminInstance {
    let (tone, state) = labels::state(instance.state);
    let now = Timestamp::now();
    let limit = instance.limits().memory_hard_mib;
    let newest = instance.last_backup.unwrap_or(instance.created_at);
    AdminInstance {
        name: instance.name.to_string(),
        owner: instance.owner.to_string(),
        tone,
        state,
        remark: instance.reason.as_deref().map(sentence),
        memory: match admin.usage(instance).last() {
            Some(now) => {
                format!("{} of {}", labels::mib(now.memory_mib.into()), labels::mib(limit))
            }
            None => format!("up to {}", labels::mib(limit)),
        },
        backup: labels::last_backup(instance),
        backup_late: now.since(newest) > LATE,
        since: labels::ago(instance.since),
    }
}
