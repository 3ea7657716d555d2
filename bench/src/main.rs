//! The measurements of `bench/RESULTS.md`: speed, side by side with peers in one run, on real parts
//! where users wait for them. `script/bench` installs the requirements.

mod backup;
mod boot;
mod client;
mod crowd;
mod fleet;
mod machine;
mod memory;
mod overhead;
mod pages;
mod platform;
mod report;
mod samples;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{machine::Machine, report::Report};

#[derive(Parser)]
#[command(about = "Measures StartClaw side by side with its peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the measurements and write the results
    Run(Run),
    /// The daemon's core on a simulated host, in its own process
    #[command(hide = true)]
    Crowd(crowd::daemon::Arguments),
}

#[derive(Args)]
struct Run {
    /// Output file of the results
    #[arg(long)]
    out: PathBuf,
    /// Folder with the image's release, `node` and `app/openclaw.mjs`, for `openclaw fleet`
    #[arg(long)]
    release: PathBuf,
    /// Few rounds: to test the benchmark, not to publish
    #[arg(long)]
    quick: bool,
    /// Only these parts [default: all]
    #[arg(long)]
    only: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From provision to the first response
    Boot,
    /// Backup and restore
    Backup,
    /// The overhead of the authorize request
    Overhead,
    /// Many simulated instances
    Crowd,
    /// The pages of the portal
    Pages,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    // The crypto provider of the whole process. Fails only if one is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Crowd(arguments) => crowd::daemon::run(arguments).await,
            // On interrupt, drops everything, which stops and removes all that it created.
            Command::Run(run) => tokio::select! {
                outcome = measure(run) => outcome,
                () = interrupted() => anyhow::bail!("interrupted; nothing was written"),
            },
        }
    })
}

async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

async fn measure(run: Run) -> anyhow::Result<()> {
    let wanted = |part| run.only.is_empty() || run.only.contains(&part);
    let mut report = Report::new(Machine::look()?, run.quick);
    if wanted(Part::Crowd) {
        let sizes = if run.quick { crowd::Sizes::QUICK } else { crowd::Sizes::FULL };
        report.crowd = Some(crowd::measure(sizes).await.context("the simulated instances")?);
    }
    if wanted(Part::Pages) {
        let sizes = if run.quick { pages::Sizes::QUICK } else { pages::Sizes::FULL };
        report.pages = Some(pages::measure(sizes).await.context("the pages")?);
    }
    if wanted(Part::Overhead) {
        let sizes = if run.quick { overhead::Sizes::QUICK } else { overhead::Sizes::FULL };
        let found = overhead::measure(sizes).await;
        report.overhead = Some(found.context("the authorize question")?);
    }
    if wanted(Part::Boot) {
        let rounds = if run.quick { 2 } else { 5 };
        let found = boot::measure(rounds, &run.release).await;
        report.boot = Some(found.context("from provision to the first answer")?);
    }
    if wanted(Part::Backup) {
        let days = if run.quick { 1 } else { 5 };
        let found = backup::measure(days, &run.release).await;
        report.backup = Some(found.context("backup and restore")?);
    }
    let text = report.to_string();
    std::fs::write(&run.out, &text)
        .with_context(|| format!("cannot write {}", run.out.display()))?;
    println!("{text}");
    Ok(())
}
