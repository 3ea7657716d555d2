//! `/admin/machine`: what the machine has, and what of it is used.

use askama::Template;
use axum::extract::State;

use super::troubles;
use crate::{
    Portal,
    answer::{Answer, page},
    assets::Page as _,
    frame::{Chart, Meter, Notice, Site},
    who::Admin,
    words,
};

#[derive(Template)]
#[template(path = "admin/machine.html")]
struct Machine {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    troubles: u64,
    meters: Vec<Meter>,
    charts: Vec<Chart>,
    facts: Vec<Fact>,
}

struct Fact {
    label: &'static str,
    value: String,
}

pub(crate) async fn show(State(portal): State<Portal>, admin: Admin) -> Answer {
    let all = admin.engine().status_all().await.map_err(|e| admin.refuse(e))?;
    let promised: u64 = all.iter().map(|i| i.limits().memory_soft_mib).sum();
    let number = u64::try_from(all.len()).unwrap_or(u64::MAX);
    Ok(page(&Machine {
        site: portal.site(Some(&admin.person)),
        here: "machine",
        notice: None,
        troubles: troubles(&admin).await?,
        meters: Vec::new(),
        charts: Vec::new(),
        facts: vec![
            Fact { label: "Instances", value: words::counted(number, "instance") },
            Fact { label: "Memory promised to them", value: words::mib(promised) },
        ],
    }))
}
