//! `/admin/machine`: resources of the host, and their use.

use askama::Template;
use startclaw_engine::{Disk, MachineHistory};

use super::alerts;
use crate::{
    access::Admin,
    answer::{Answer, page},
    assets::Page as _,
    chart,
    frame::{Chart, Meter, Notice, Site},
    labels,
};

#[derive(Template)]
#[template(path = "admin/machine.html")]
struct Machine {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    alert_count: u64,
    meters: Vec<Meter>,
    charts: Vec<Chart>,
    facts: Vec<Fact>,
}

struct Fact {
    label: &'static str,
    value: String,
}

pub(crate) async fn show(admin: Admin) -> Answer {
    let all = admin.instances().await?;
    let promised: u64 = all.iter().map(|i| i.limits().memory_soft_mib).sum();
    let number = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let history = admin.machine_usage();
    Ok(page(&Machine {
        site: admin.site(),
        here: "machine",
        notice: None,
        alert_count: alerts(&admin).await?,
        meters: meters(&history),
        charts: charts(&history),
        facts: vec![
            Fact { label: "Instances", value: labels::counted(number, "instance") },
            Fact { label: "Reserved memory", value: labels::mib(promised) },
            Fact { label: "StartClaw", value: env!("CARGO_PKG_VERSION").to_owned() },
        ],
    }))
}

fn meters(history: &MachineHistory) -> Vec<Meter> {
    let Some(now) = history.now else { return Vec::new() };
    let memory = now.memory_total.saturating_sub(now.memory_available);
    let of = |used: u64, all: u64| format!("{} of {}", labels::bytes(used), labels::bytes(all));
    let mut meters =
        vec![Meter::new("Memory", memory, now.memory_total, of(memory, now.memory_total))];
    if let Some(last) = history.samples.last() {
        let all = u64::from(now.cpus) * 1000;
        let used = u64::from(last.cpu_thousandths);
        let text = format!("{} of {}", chart::cores(last.cpu_thousandths), now.cpus);
        meters.push(Meter::new("CPU", used, all, text));
    }
    let mut disk = |label: &'static str, disk: Option<Disk>| {
        if let Some(disk) = disk {
            let used = disk.total.saturating_sub(disk.available);
            meters.push(Meter::new(label, used, disk.total, of(used, disk.total)));
        }
    };
    disk("Disk of the instances", now.instances);
    // A file system that both share is shown once.
    disk("Disk of the platform", now.data.filter(|_| now.data != now.instances));
    meters
}

fn charts(history: &MachineHistory) -> Vec<Chart> {
    let has = history.now;
    let memory = has.and_then(|m| u32::try_from(m.memory_total >> 20).ok());
    chart::memory_and_cpu(&history.samples, memory, has.map(|m| m.cpus * 1000))
}
