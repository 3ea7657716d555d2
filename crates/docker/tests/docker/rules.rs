//! Docker's own firewall rules, flushed: what is said of it, what a restart of Docker repairs, and
//! what becomes of instances and connections meanwhile.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use startclaw_docker::{DockerHost, DockerSettings};
use startclaw_host::{
    ContainerState, Host, HostAdmin, HostErrorKind, HostFault, InstanceSpec, Probe, objects::Step,
};
use startclaw_model::{Check, CheckStatus};

use super::lan::{HOST, Lan, PUBLIC};
use super::own_docker::{Init, OwnDocker, in_network};
use super::platform::{Platform, run};

/// Answers what it gets with the same, and probes with a yes.
const ECHO: &str = r#"
use IO::Socket::INET;
$SIG{CHLD} = "IGNORE";
my $listener = IO::Socket::INET->new(LocalPort => 18789, Listen => 99, ReuseAddr => 1) or die;
while (my $caller = $listener->accept) {
    next if fork;
    while (sysread $caller, my $data, 4096) {
        if ($data =~ /^GET/) { syswrite $caller, "HTTP/1.1 204 Yes\r\n\r\n"; exit }
        syswrite $caller, $data;
    }
    exit;
}
"#;

/// How long an answer may take that comes at all.
const LIMIT: Duration = Duration::from_secs(10);
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The instance, and the world outside that it connects to.
struct World {
    p: Platform,
    spec: InstanceSpec,
    pid: String,
    /// Says from which address it was connected to, for each connection.
    peers: std::sync::mpsc::Receiver<SocketAddr>,
    _lan: Lan,
}

impl World {
    async fn new() -> Self {
        let p = Platform::new(28);
        let spec = p.spec("echo", 0, &["/usr/bin/perl", "-e", ECHO]);
        p.bring_up(&spec).await;
        p.until(&spec, |seen| matches!(seen.probe, Probe::Answer { .. })).await;
        assert!(p.host.ensure_firewall().await.unwrap());
        assert!(!p.host.ensure_firewall().await.unwrap(), "it is as it was loaded");
        let (pid, lan) = (p.pid(&spec), Lan::new(&[]));
        let listener =
            in_network("/run/netns/sctest-lan".to_owned(), || TcpListener::bind((PUBLIC, 443)));
        let (tell, peers) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = tell.send(stream.peer_addr().unwrap());
                std::thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    std::io::copy(&mut stream, &mut back)
                });
            }
        });
        Self { p, spec, pid, peers, _lan: lan }
    }

    /// A connection to the instance's published port.
    fn inward(&self) -> TcpStream {
        let address = self.p.host.endpoints_of(self.spec.slot).unwrap().gateway;
        TcpStream::connect_timeout(&address, LIMIT).unwrap()
    }

    /// A connection from the instance to the internet, which sees this machine's address.
    fn outward(&self) -> TcpStream {
        let address = SocketAddr::new(PUBLIC.parse::<Ipv4Addr>().unwrap().into(), 443);
        let connect = move || TcpStream::connect_timeout(&address, LIMIT);
        let stream = in_network(format!("/proc/{}/ns/net", self.pid), connect);
        let peer = self.peers.recv_timeout(LIMIT).unwrap();
        assert_eq!(peer.ip().to_string(), HOST, "it goes through NAT");
        stream
    }

    async fn rules(&self) -> Check {
        let checks = self.p.host.diagnose("startclaw/none:1").await;
        checks.into_iter().find(|check| check.name == "docker rules").unwrap()
    }

    /// A connection into the instance, and one out of it.
    fn pair(&self) -> [TcpStream; 2] {
        [self.inward(), self.outward()]
    }

    /// A host with other settings, on the same Docker.
    fn host(&self, change: impl FnOnce(&mut DockerSettings)) -> DockerHost {
        let mut settings = self.p.settings.clone();
        change(&mut settings);
        DockerHost::new(settings, 8787).unwrap()
    }

    /// All is as it was, and the instance was not restarted for it.
    async fn assert_repaired(&self) {
        self.assert_untouched().await;
        assert_eq!(self.rules().await.status, CheckStatus::Ok);
        assert!(matches!(self.p.host.probe(&self.spec).await.unwrap(), Probe::Answer { .. }));
        assert_eq!(echoes(&mut self.pair()), [Ok(()), Ok(())]);
    }

    /// The instance runs on: it was not restarted.
    async fn assert_untouched(&self) {
        let seen = self.p.container(&self.spec).await;
        assert_eq!(
            (seen.state, self.p.pid(&self.spec)),
            (ContainerState::Running, self.pid.clone())
        );
    }
}

/// What becomes of five bytes that each connection is given and is to give back.
fn echoes(streams: &mut [TcpStream; 2]) -> [Result<(), String>; 2] {
    streams.each_mut().map(|stream| {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut back = [0; 5];
        let exchange = stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut back));
        exchange.map_err(|e| e.to_string())
    })
}

/// What an operator has who sets nothing.
fn default_restart(settings: &mut DockerSettings) {
    settings.restart_command = DockerSettings::default().restart_command;
}

fn network(faults: &[HostFault]) -> &HostFault {
    assert_eq!(faults.iter().map(|fault| fault.key).collect::<Vec<_>>(), [HostFault::NETWORK]);
    &faults[0]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_flush_is_told_and_a_restart_of_docker_repairs_it_while_instances_run_on() {
    let test = "rules::a_flush_is_told_and_a_restart_of_docker_repairs_it_while_instances_run_on";
    let Some(docker) = OwnDocker::of(test, Init::Nobody) else { return };
    let w = World::new().await;
    let repairing = w.host(|settings| settings.restart_command = docker.restart_command());
    assert_eq!(w.p.host.faults().await.found, []);
    assert_eq!(w.rules().await.status, CheckStatus::Ok);
    let (mut idle, mut early, mut late) = (w.pair(), w.pair(), w.pair());
    for pair in [&mut idle, &mut early, &mut late] {
        assert_eq!(echoes(pair), [Ok(()), Ok(())]);
    }

    run("nft", &["flush", "ruleset"]);
    println!("used at once, into and out of the instance: {:?}", echoes(&mut early));
    let begun = Instant::now();
    let faults = w.p.host.faults().await.found;
    println!("detected in {:?}", begun.elapsed());
    let fault = network(&faults);
    println!("{}. Remedy: {}", fault.detail, fault.remedy);
    for what in [
        "the published ports of 1 of 1 running instances",
        "the outgoing NAT of 1 of 1 running instances",
        "docker.restart_command is empty",
    ] {
        assert!(fault.detail.contains(what), "{what}: {}", fault.detail);
    }
    assert!(fault.remedy.contains("systemctl restart docker"), "{}", fault.remedy);
    let check = w.rules().await;
    assert_eq!((check.status, check.fix.as_ref()), (CheckStatus::Error, Some(&fault.remedy)));
    assert_eq!(w.p.observe(&w.spec).await.probe, Probe::Blocked, "the instance is not to blame");
    // Our own table comes back by itself, and with it connections that were open.
    assert!(w.p.host.ensure_firewall().await.unwrap());
    assert_eq!(echoes(&mut late), [Ok(()), Ok(())]);
    let other = w.p.spec("other", 1, &["/usr/bin/perl", "-e", ECHO]);
    let error = w.p.fails(&other, &Step::CreateNetwork).await;
    assert_eq!(error.kind, HostErrorKind::Unavailable);
    assert!(error.message.contains("firewall rules are gone"), "{error}");
    w.assert_untouched().await;

    // Where a restart would end instances, or nobody is known to do it, there is none.
    docker.set_live_restore(false);
    let pid = docker.pid();
    let faults = repairing.faults().await.found;
    assert!(network(&faults).detail.contains("without live-restore"), "{faults:?}");
    docker.set_live_restore(true);
    let faults = w.host(default_restart).faults().await.found;
    assert!(network(&faults).detail.contains("no systemd runs here"), "{faults:?}");
    assert_eq!(docker.pid(), pid);

    let begun = Instant::now();
    assert_eq!(repairing.faults().await.found, []);
    println!("repaired in {:?}", begun.elapsed());
    assert_ne!(docker.pid(), pid);
    w.assert_repaired().await;
    assert_eq!(echoes(&mut idle), [Ok(()), Ok(())], "open connections outlive it");
    assert_eq!(echoes(&mut late), [Ok(()), Ok(())], "open connections outlive it");
    w.p.apply(&other, Step::CreateNetwork).await;
    w.p.apply(&other, Step::RemoveNetwork).await;

    // Who flushes them again and again does not keep Docker restarting.
    let pid = docker.pid();
    run("nft", &["flush", "ruleset"]);
    let faults = repairing.faults().await.found;
    assert!(network(&faults).detail.contains("within 10 minutes"), "{faults:?}");
    assert_eq!(docker.pid(), pid);
    docker.restart();
    assert_eq!(repairing.faults().await.found, [], "the operator's restart repairs it");

    // Forwarding is one setting, and is set at once.
    std::fs::write(FORWARDING, "0").unwrap();
    let check = w.rules().await;
    assert!(check.detail.contains("IPv4 forwarding"), "{check:?}");
    assert_eq!(w.p.host.faults().await.found, []);
    assert_eq!(std::fs::read_to_string(FORWARDING).unwrap().trim(), "1");
    w.p.host.ensure_firewall().await.unwrap();
    w.assert_repaired().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn where_systemd_runs_docker_a_flush_is_repaired_without_a_setting() {
    let test = "rules::where_systemd_runs_docker_a_flush_is_repaired_without_a_setting";
    let Some(docker) = OwnDocker::of(test, Init::Systemd) else { return };
    let w = World::new().await;
    let host = w.host(default_restart);
    assert_eq!(host.faults().await.found, []);
    let mut idle = w.pair();
    for flush in [&["nft", "flush", "ruleset"][..], &["iptables", "-F"]] {
        // As Docker sets it where it was the one to turn forwarding on.
        run("iptables", &["-P", "FORWARD", "DROP"]);
        let pid = docker.pid();
        run(flush[0], &flush[1..]);
        let begun = Instant::now();
        // Each time with a new host, to which ten minutes have passed.
        assert_eq!(w.host(default_restart).faults().await.found, [], "{flush:?}");
        println!("{flush:?} was repaired in {:?}", begun.elapsed());
        assert_ne!(docker.pid(), pid);
        w.p.host.ensure_firewall().await.unwrap();
        w.assert_repaired().await;
        assert_eq!(echoes(&mut idle), [Ok(()), Ok(())], "open connections outlive it");
    }

    // A unit that ends all its processes is left alone.
    let folder = "/run/systemd/system/docker.service.d";
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(format!("{folder}/kill.conf"), "[Service]\nKillMode=control-group\n").unwrap();
    run("systemctl", &["daemon-reload"]);
    let pid = docker.pid();
    run("nft", &["flush", "ruleset"]);
    let faults = w.host(default_restart).faults().await.found;
    assert!(network(&faults).detail.contains("KillMode"), "{faults:?}");
    assert_eq!(docker.pid(), pid);
    w.assert_untouched().await;
}
