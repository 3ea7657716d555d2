//! Puts the walls up, and sees when somebody took a stone out.
//!
//! How `nft` prints a table differs between its versions, so what we wrote cannot be compared
//! with what the kernel holds. Instead, right after loading, the kernel's own listing is
//! taken and its digest kept next to the digest of what was asked for. The walls stand when
//! both still match: any rule, set or chain that was added, changed or removed shows.

use std::{net::Ipv4Addr, path::PathBuf, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt, process::Command, sync::Mutex, time::timeout};

use super::{DockerSettings, firewall, firewall::Walls, names::Names, names::hex_digest};
use crate::HostError;

/// `nft` takes milliseconds; longer means that it waits for a lock.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The keeper of our nftables table.
pub(super) struct Guard {
    table: String,
    bridges: String,
    settings: DockerSettings,
    last_port: u16,
    record: PathBuf,
    busy: Mutex<()>,
}

/// How the walls are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wall {
    /// As they should be.
    Standing,
    /// Not there.
    Missing,
    /// There, and not as they should be.
    Changed,
}

impl Guard {
    pub(super) fn new(names: &Names, settings: &DockerSettings, last_port: u16) -> Self {
        Self {
            table: names.table(),
            bridges: names.bridges().to_owned(),
            settings: settings.clone(),
            last_port,
            record: settings.runtime_dir.join("firewall"),
            busy: Mutex::new(()),
        }
    }

    /// Puts the walls up if they do not stand. `true` when it did.
    pub(super) async fn mend(&self) -> Result<bool, HostError> {
        let _busy = self.busy.lock().await;
        let wanted = self.wanted();
        if self.look(&wanted).await? == Wall::Standing {
            return Ok(false);
        }
        nft(&["-f", "-"], Some(&wanted)).await?;
        let live = self.live().await?.ok_or_else(|| {
            HostError::unavailable("the firewall's table vanished while it was loaded")
        })?;
        let record =
            format!("{}\n{}\n", hex_digest(wanted.as_bytes()), hex_digest(live.as_bytes()));
        self.keep(&record).map_err(|e| {
            HostError::refused(format!("cannot write {}: {e}", self.record.display()))
        })?;
        Ok(true)
    }

    /// How the walls are now.
    pub(super) async fn check(&self) -> Result<Wall, HostError> {
        self.look(&self.wanted()).await
    }

    async fn look(&self, wanted: &str) -> Result<Wall, HostError> {
        let Some(live) = self.live().await? else { return Ok(Wall::Missing) };
        let record = std::fs::read_to_string(&self.record).unwrap_or_default();
        let mut lines = record.lines();
        let same = lines.next() == Some(&hex_digest(wanted.as_bytes()))
            && lines.next() == Some(&hex_digest(live.as_bytes()));
        Ok(if same { Wall::Standing } else { Wall::Changed })
    }

    fn keep(&self, record: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.settings.runtime_dir)?;
        let new = self.record.with_extension("new");
        std::fs::write(&new, record)?;
        std::fs::rename(&new, &self.record)
    }

    fn wanted(&self) -> String {
        Walls {
            table: &self.table,
            bridges: &self.bridges,
            pool: self.settings.address_pool.range(),
            ports: self.settings.first_port..=self.last_port,
            resolvers: host_resolvers(),
            allow: &self.settings.allow,
            callers: firewall::user_ids(
                &std::fs::read_to_string("/etc/passwd").unwrap_or_default(),
                &self.settings.callers,
            ),
        }
        .render()
    }

    /// The table as the kernel has it, without its counters; `None` when there is none.
    async fn live(&self) -> Result<Option<String>, HostError> {
        match nft(&["-s", "list", "table", "inet", &self.table], None).await {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.message.contains("No such file") => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The resolvers that Docker hands the containers' questions to. Where systemd-resolved is
/// in charge, Docker reads the second file.
fn host_resolvers() -> Vec<Ipv4Addr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| firewall::resolvers(&text))
        .collect()
}

async fn nft(arguments: &[&str], input: Option<&str>) -> Result<String, HostError> {
    let gone = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            HostError::refused("there is no nft. Install it with: apt install nftables")
        }
        _ => HostError::unavailable(format!("cannot run nft: {e}")),
    };
    let mut child = Command::new("nft")
        .args(arguments)
        // A service's PATH can lack the folders of the system's tools.
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(gone)?;
    let run = async {
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
            // When nft ends early its error, read below, tells more than the broken pipe.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(TIMEOUT, run)
        .await
        .map_err(|_| HostError::unavailable("nft did not end in 10 s"))?
        .map_err(|e| HostError::unavailable(format!("cannot run nft: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(HostError::refused(format!(
        "nft {} failed: {}",
        arguments.join(" "),
        said.lines().next().unwrap_or("it said nothing")
    )))
}
