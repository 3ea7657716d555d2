//! `/instances`: the user's instances.

use askama::Template;
use axum::extract::Query;
use startclaw_accounts::AccountInfo;
use startclaw_engine::InstanceStatus;
use startclaw_model::InstanceState;

use super::Done;
use crate::{
    access::CurrentUser,
    answer::{Answer, page},
    assets::Page as _,
    frame::{Meter, Notice, Site},
    labels,
};

#[derive(Template)]
#[template(path = "instances.html")]
struct Instances {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    instances: Vec<InstanceCard>,
    meters: Vec<Meter>,
    full: bool,
}

struct InstanceCard {
    name: String,
    host: String,
    tone: &'static str,
    state: &'static str,
    detail: Option<String>,
    backup: String,
    live: bool,
    operation: Option<String>,
}

pub(crate) async fn show(user: CurrentUser, Query(done): Query<Done>) -> Answer {
    let info = user.info().await?;
    let instances = user.instances().await?;
    Ok(page(&Instances {
        site: user.site(),
        here: "instances",
        notice: done.notice(),
        instances: instances.iter().map(card).collect(),
        full: info.usage.instances >= info.quota.instances,
        meters: meters(&info),
    }))
}

fn card(instance: &InstanceStatus) -> InstanceCard {
    let (tone, state) = labels::state(instance.state);
    let live = instance.state == InstanceState::Live;
    InstanceCard {
        name: instance.name.to_string(),
        host: host_of(&instance.url),
        tone,
        state,
        detail: (!live).then(|| labels::lasting(instance.since)),
        backup: labels::last_backup(instance),
        live,
        operation: instance.operation.as_ref().map(ToString::to_string),
    }
}

/// The host of an instance's address.
pub(crate) fn host_of(url: &str) -> String {
    let bare = url.trim_start_matches("https://");
    bare.split([':', '/']).next().unwrap_or(bare).to_owned()
}

/// The usage of an account's quota.
pub(crate) fn meters(info: &AccountInfo) -> Vec<Meter> {
    let (used, may) = (info.usage, info.quota);
    vec![
        Meter::new(
            "Instances",
            used.instances.into(),
            may.instances.into(),
            format!("{} of {}", used.instances, may.instances),
        ),
        Meter::new(
            "Memory",
            used.memory_mib,
            may.memory_mib,
            format!("{} of {}", labels::mib(used.memory_mib), labels::mib(may.memory_mib)),
        ),
        Meter::new(
            "Data",
            used.disk_mib,
            may.disk_mib,
            format!("{} of {}", labels::mib(used.disk_mib), labels::mib(may.disk_mib)),
        ),
    ]
}
