//! `startclaw doctor`

use startclaw_api::{
    client::{Cause, ClientError},
    wire::CheckList,
};
use startclaw_docker::DockerHost;
use startclaw_host::HostAdmin;
use startclaw_model::{Check, CheckStatus};

use crate::{
    cli::Globals,
    connect,
    exit::{Exit, Failure, hint},
    output::{self, Tint, clean, tint},
    settings::Settings,
};

pub async fn run(globals: &Globals) -> anyhow::Result<()> {
    let client = connect::client(globals)?;
    let findings = match client.doctor().await {
        Ok(mut findings) => {
            findings.insert(0, Check::ok("daemon", format!("answers at {}", client.place())));
            findings
        }
        // On the host itself, doctor also works without the daemon: that is when it is needed most.
        Err(e) if e.cause == Cause::Unreachable && globals.api.is_none() => here(globals, &e).await,
        Err(e) => return Err(e.into()),
    };
    let bad = findings.iter().filter(|f| f.status == CheckStatus::Error).count();
    if globals.json {
        output::json(&CheckList { checks: findings })?;
    } else {
        for finding in &findings {
            show(finding)?;
        }
    }
    match bad {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Failed, "1 check failed").into()),
        n => Err(Failure::new(Exit::Failed, format!("{n} checks failed")).into()),
    }
}

/// The checks that need no daemon.
async fn here(globals: &Globals, e: &ClientError) -> Vec<Check> {
    let mut findings = vec![Check::error("daemon", e.message.clone(), hint(&e.message))];
    if !rustix::process::geteuid().is_root() {
        // Without root, every other check would fail and suggest a fix that does not help.
        findings.push(Check::error(
            "rights",
            "the checks of this host need root",
            "sudo startclaw doctor",
        ));
        return findings;
    }
    let settings = match Settings::load(globals.config.as_deref()) {
        Ok(settings) => {
            findings.push(Check::ok("configuration", "is valid"));
            settings
        }
        Err(e) => {
            let fix = "correct it, then: systemctl restart startclaw";
            findings.push(Check::error("configuration", format!("{e:#}"), fix));
            return findings;
        }
    };
    let image = format!("{}:{}", settings.instances.image, settings.instances.version);
    match DockerHost::new(settings.docker, startclaw_openclaw::WEBHOOK_PORT) {
        Ok(host) => findings.extend(host.diagnose(&image).await),
        Err(e) => findings.push(Check::error("docker", e.message, "correct the configuration")),
    }
    findings.extend(startclaw_edge::check(&settings.edge).await);
    findings
}

fn show(finding: &Check) -> anyhow::Result<()> {
    let (mark, shade) = match finding.status {
        CheckStatus::Ok => ("✓", Tint::Good),
        CheckStatus::Warning => ("!", Tint::Middling),
        CheckStatus::Error => ("✗", Tint::Bad),
    };
    let (check, detail) = (clean(&finding.name), clean(&finding.detail));
    output::line(&format!("{} {check:<14} {detail}", tint(mark, shade)))?;
    if let Some(fix) = finding.fix.as_ref().filter(|_| finding.status != CheckStatus::Ok) {
        output::line(&format!("  {:<14} → {}", "", clean(fix)))?;
    }
    Ok(())
}
