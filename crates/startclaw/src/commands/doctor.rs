//! `startclaw doctor`

use startclaw_api::{
    client::{Cause, ClientError},
    wire::Findings,
};
use startclaw_host::{Host, docker::DockerHost};
use startclaw_model::{Finding, Verdict};

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
            findings.insert(0, Finding::good("daemon", format!("answers at {}", client.place())));
            findings
        }
        // On its own machine, doctor works without the daemon too: then it is needed most.
        Err(e) if e.cause == Cause::Unreachable && globals.api.is_none() => here(globals, &e).await,
        Err(e) => return Err(e.into()),
    };
    let bad = findings.iter().filter(|f| f.verdict == Verdict::Bad).count();
    if globals.json {
        output::json(&Findings { findings })?;
    } else {
        for finding in &findings {
            show(finding)?;
        }
    }
    match bad {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Failed, "one check found something that does not work").into()),
        n => Err(Failure::new(
            Exit::Failed,
            format!("{n} checks found something that does not work"),
        )
        .into()),
    }
}

/// What can be checked without the daemon.
async fn here(globals: &Globals, e: &ClientError) -> Vec<Finding> {
    let mut findings = vec![Finding::bad("daemon", e.message.clone(), hint(&e.message))];
    if !rustix::process::geteuid().is_root() {
        // Every other check would fail for want of rights, and advise what does not help.
        findings.push(Finding::bad(
            "rights",
            "the checks of this machine need the rights of root",
            "sudo startclaw doctor",
        ));
        return findings;
    }
    let settings = match Settings::load(globals.config.as_deref()) {
        Ok(settings) => {
            findings.push(Finding::good("configuration", "can be used"));
            settings
        }
        Err(e) => {
            let mend = "correct it, then: systemctl restart startclaw";
            findings.push(Finding::bad("configuration", format!("{e:#}"), mend));
            return findings;
        }
    };
    let image = format!("{}:{}", settings.instances.image, settings.instances.version);
    match DockerHost::new(settings.docker, startclaw_openclaw::WEBHOOK_PORT) {
        Ok(host) => findings.extend(host.check(&image).await),
        Err(e) => findings.push(Finding::bad("docker", e.message, "correct the configuration")),
    }
    findings.extend(startclaw_edge::check(&settings.edge).await);
    findings
}

fn show(finding: &Finding) -> anyhow::Result<()> {
    let (mark, shade) = match finding.verdict {
        Verdict::Good => ("✓", Tint::Good),
        Verdict::Warning => ("!", Tint::Middling),
        Verdict::Bad => ("✗", Tint::Bad),
    };
    let (check, detail) = (clean(&finding.check), clean(&finding.detail));
    output::line(&format!("{} {check:<14} {detail}", tint(mark, shade)))?;
    if let Some(mend) = finding.mend.as_ref().filter(|_| finding.verdict != Verdict::Good) {
        output::line(&format!("  {:<14} → {}", "", clean(mend)))?;
    }
    Ok(())
}
