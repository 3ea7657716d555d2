//! Traffic from and to an instance.

use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use startclaw_docker::DockerSettings;
use startclaw_host::{Host, HostAdmin, InstanceSpec, Probe};

use super::lan::{HOST, Lan, METADATA, NEIGHBOUR, PUBLIC, accept, pings};
use super::platform::{Platform, SERVER, machine, run, works};

/// A server on this machine, on all its addresses.
fn serve_here() -> u16 {
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || accept(&listener));
    port
}

/// This machine's address on its own network, apart from those of bridges.
fn own_address() -> Option<String> {
    let text = run("ip", &["-4", "-o", "addr", "show", "scope", "global"]);
    let line = text.lines().find(|line| line.contains(" eth") || line.contains(" en"))?;
    Some(line.split_whitespace().nth(3)?.split('/').next()?.to_owned())
}

async fn serving(p: &Platform, name: &str, slot: u32) -> InstanceSpec {
    let spec = p.spec(name, slot, &["node", "-e", SERVER]);
    p.bring_up(&spec).await;
    p.until(&spec, |seen| matches!(seen.probe, Probe::Answer { .. })).await;
    spec
}

/// Asks a resolver from inside, as a program in the container would, by UDP.
fn resolves(p: &Platform, spec: &InstanceSpec, resolver: &str) -> bool {
    let ask = format!(
        "node -e \"const r = new (require('dns').Resolver)({{timeout: 1000, tries: 1}}); \
         r.setServers(['{resolver}']); \
         r.resolve4('test.example', (e, a) => process.exit(a && a[0] === '198.41.0.77' ? 0 : 1))\""
    );
    p.inside(spec, &ask).status.success()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn it_reaches_the_internet_and_dns_and_nothing_else() {
    let _machine = machine().await;
    let p = Platform::new(5);
    let lan = Lan::new(&[80, 53, 443]);
    let port = serve_here();
    let (a, b) = (serving(&p, "a", 0).await, serving(&p, "b", 1).await);

    let pid = p.pid(&a);
    let from_a = |args: &[&str]| works("nsenter", &[&["-t", &pid, "-n"][..], args].concat());
    let published = p.host.endpoints_of(b.slot).unwrap().gateway.port();
    let connect = |address: &str, port: u16| {
        let command = format!("exec 3<>/dev/tcp/{address}/{port}");
        from_a(&["timeout", "1.5", "bash", "-c", &command])
    };
    // Without the firewall it reaches most of these: this validates the test.
    for (address, port) in [(METADATA, 80), (NEIGHBOUR, 443), (HOST, port), ("10.88.5.1", port)] {
        assert!(p.reaches(&a, address, port), "{address}:{port} without the firewall");
    }
    assert!(lan.reaches("10.88.5.2", 18789), "a neighbour reaches it without the firewall");
    assert!(p.host.ensure_firewall().await.unwrap(), "there was no firewall before");
    assert!(!p.host.ensure_firewall().await.unwrap(), "and one is enough");

    // The internet, and DNS at the cloud's metadata server.
    assert!(p.reaches(&a, PUBLIC, 443));
    assert!(resolves(&p, &a, METADATA));
    assert!(p.reaches(&a, METADATA, 53));
    // Docker's own resolver, which forwards from inside the container's network.
    let asked = Command::new("docker")
        .args(["run", "--rm", "--network", &p.object(&a), "--dns", METADATA])
        .args(["--entrypoint", "getent", &a.image, "ahostsv4", "test.example"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&asked.stdout).contains("198.41.0.77"), "{asked:?}");

    // The metadata server, private networks, the machine itself by every address it has.
    assert!(!p.reaches(&a, METADATA, 80));
    assert!(!p.reaches(&a, NEIGHBOUR, 443));
    assert!(!resolves(&p, &a, NEIGHBOUR));
    let own = own_address();
    for address in [HOST, "10.88.5.1", "10.88.5.9", "172.17.0.1", "127.0.0.1"]
        .into_iter()
        .chain(own.as_deref())
    {
        assert!(!p.reaches(&a, address, port), "{address}");
    }
    for address in ["10.88.5.1", "10.88.5.10", NEIGHBOUR, METADATA, HOST] {
        assert!(!pings(&pid, None, address), "ping {address}");
    }
    assert!(pings(&pid, None, PUBLIC));

    // Another instance, directly or through its published port, also as root in its own network:
    // with a forged source address, or this machine's loopback through the bridge.
    assert!(!p.reaches(&a, "10.88.5.10", 18789));
    assert!(!p.reaches(&a, "10.88.5.1", published));
    assert!(connect(PUBLIC, 443));
    assert!(from_a(&["ip", "addr", "add", "10.99.99.99/32", "dev", "eth0"]));
    assert!(!pings(&pid, Some("10.99.99.99"), PUBLIC));
    assert!(from_a(&["ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"]));
    assert!(from_a(&["ip", "route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local"]));
    assert!(from_a(&["ip", "route", "add", "127.0.0.0/8", "via", "10.88.5.1"]));
    assert!(from_a(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet"]));
    assert!(!connect("127.0.0.1", published));
    assert!(!connect("127.0.0.1", port));

    // A neighbour on the network cannot reach an instance in any way.
    assert!(!lan.reaches("10.88.5.2", 18789));
    assert!(!lan.reaches(HOST, published));
    lan.ip("link set lo down");
    lan.ip("route add 127.0.0.1/32 via 192.168.177.1");
    assert!(!lan.reaches("127.0.0.1", published));

    // Meanwhile it answers us.
    assert!(matches!(p.host.probe(&b).await.unwrap(), Probe::Answer { status: 200, .. }));
    assert!(matches!(p.host.probe(&a).await.unwrap(), Probe::Answer { .. }));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn an_operator_opens_exactly_what_is_allowed() {
    let _machine = machine().await;
    let port = serve_here();
    let gateway = format!("10.88.6.1:{port}");
    let allow = ["192.168.177.2/32:443", "169.254.169.0/24", &gateway, "10.0.0.0/8"];
    let p = Platform::allowing(6, &allow);
    let _lan = Lan::new(&[80, 443]);
    let other = serve_here();
    let (a, _b) = (serving(&p, "a", 0).await, serving(&p, "b", 1).await);
    p.host.ensure_firewall().await.unwrap();
    assert!(p.reaches(&a, NEIGHBOUR, 443));
    assert!(!p.reaches(&a, NEIGHBOUR, 80));
    assert!(p.reaches(&a, METADATA, 80));
    assert!(p.reaches(&a, "10.88.6.1", port));
    assert!(!p.reaches(&a, HOST, other));
    // Another instance stays closed, even when a range that contains it is allowed.
    assert!(!p.reaches(&a, "10.88.6.10", 18789));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn walls_that_somebody_flushed_or_changed_are_put_back() {
    let _machine = machine().await;
    let p = Platform::new(7);
    let table = p.table();
    let check = async || {
        let findings = p.host.diagnose("startclaw/none:1").await;
        findings.into_iter().find(|finding| finding.name == "firewall").unwrap()
    };
    assert!(check().await.detail.contains("not loaded"));
    assert!(p.host.ensure_firewall().await.unwrap());
    assert_eq!(check().await.fix, None);
    let listing = run("nft", &["-s", "list", "table", "inet", &table]);

    let change = |command: &str| run("nft", &[command]);
    let handle = |chain: &str, rule: &str| {
        let text = run("nft", &["-a", "list", "chain", "inet", &table, chain]);
        let line = text.lines().find(|line| line.contains(rule)).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    for damage in [
        format!("delete table inet {table}"),
        format!("flush table inet {table}"),
        format!("insert rule inet {table} leaving accept"),
        format!("delete rule inet {table} to_host handle {}", handle("to_host", "drop")),
        format!("delete element inet {table} blocked {{ 10.0.0.0/8 }}"),
    ] {
        change(&damage);
        assert!(check().await.fix.is_some(), "{damage}");
        assert!(p.host.ensure_firewall().await.unwrap(), "{damage}");
        assert!(!p.host.ensure_firewall().await.unwrap(), "{damage}");
        assert_eq!(run("nft", &["-s", "list", "table", "inet", &table]), listing);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn an_instance_has_a_bounded_number_of_connections_and_its_neighbour_connects() {
    let _machine = machine().await;
    let p = Platform::with(29, |settings| settings.connections = 20);
    let _lan = Lan::new(&[443]);
    let (a, b) = (serving(&p, "a", 0).await, serving(&p, "b", 1).await);
    p.host.ensure_firewall().await.unwrap();
    let open = |count: u32| {
        let one = format!("exec {{fd}}<>/dev/tcp/{PUBLIC}/443 || exit 1");
        let all = format!("for n in $(seq {count}); do {one}; done");
        let command = format!("timeout 10 bash -c '{all}'");
        p.inside(&a, &command).status.success()
    };
    assert!(open(10), "connections below the limit are allowed");
    assert!(!open(40), "40 connections were accepted");
    assert!(p.reaches(&b, PUBLIC, 443), "the neighbour has a count of its own");
    // Counted connections are no change of the table.
    assert!(!p.host.ensure_firewall().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn walls_that_fall_the_moment_they_stand_are_not_taken_for_whole() {
    let _machine = machine().await;
    let p = Platform::new(21);
    let table = p.table();
    assert!(p.host.ensure_firewall().await.unwrap());
    let listing = run("nft", &["-s", "list", "table", "inet", &table]);
    for round in 0..20 {
        run("nft", &["delete", "table", "inet", &table]);
        // Fails until the table exists, so it flushes while the rules are still being loaded.
        let flush = ["flush", "table", "inet", &table].map(str::to_owned);
        let flusher = std::thread::spawn(move || {
            let begun = Instant::now();
            while !works("nft", &flush.each_ref().map(String::as_str)) {
                assert!(begun.elapsed() < Duration::from_secs(60), "the table was never loaded");
            }
        });
        assert!(p.host.ensure_firewall().await.unwrap(), "round {round}");
        flusher.join().unwrap();
        assert!(p.host.ensure_firewall().await.unwrap(), "round {round}: flushed, and not seen");
        assert_eq!(run("nft", &["-s", "list", "table", "inet", &table]), listing);
        assert!(!p.host.ensure_firewall().await.unwrap(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn of_this_machines_users_only_root_and_the_proxy_connect_to_an_instance() {
    let _machine = machine().await;
    let change = |settings: &mut DockerSettings| {
        settings.callers = vec!["daemon".to_owned()];
        // Outside the default range, which a platform that runs here may have closed.
        settings.first_port = 27_001;
    };
    let p = Platform::with(19, change);
    let spec = serving(&p, "door", 0).await;
    let place = p.host.endpoints_of(spec.slot).unwrap();
    // Simulates Docker's userland proxy, which may be off on this machine: root listens on a port
    // of ours and relays every client to the instance.
    let carried = TcpListener::bind(("127.0.0.1", place.gateway.port() + 9)).unwrap();
    let proxy = carried.local_addr().unwrap().port();
    let instance = (place.webhook.ip(), 18789);
    std::thread::spawn(move || {
        for stream in carried.incoming() {
            let (mut ours, mut theirs) = (stream.unwrap(), TcpStream::connect(instance).unwrap());
            let (mut back, mut forth) = (theirs.try_clone().unwrap(), ours.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut ours, &mut theirs));
            std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
        }
    });
    // A service outside our range, which must stay reachable.
    let beside = serve_here();

    let asks = |uid: u32, host: &str, port: u16| {
        let uid = uid.to_string();
        let url = format!("http://{host}:{port}/");
        let who = ["--reuid", &uid, "--regid", &uid, "--clear-groups", "curl", "--http0.9"];
        let output = Command::new("setpriv")
            .args(who)
            .args(["-sS", "--noproxy", "*", "--max-time", "3", &url])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let container = instance.0.to_string();
    let doors =
        [("127.0.0.1", place.gateway.port()), (container.as_str(), 18789), ("127.0.0.1", proxy)];
    // Without the firewall any user may connect: this validates the test.
    for (host, port) in doors {
        assert!(asks(65_534, host, port).0, "{host}:{port} without the firewall");
    }
    p.host.ensure_firewall().await.unwrap();
    for (host, port) in doors {
        // 0 is root, 1 is daemon; 300,608 is the instance's own user, outside its container.
        for (uid, may) in [(0, true), (1, true), (65_534, false), (300_608, false)] {
            let (reached, said) = asks(uid, host, port);
            assert_eq!(reached, may, "user {uid} at {host}:{port}: {said}");
            // Rejected at once, without a timeout.
            assert!(may || !said.contains("timed out"), "{said}");
        }
    }
    let reach = format!("exec 3<>/dev/tcp/127.0.0.1/{beside}");
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    assert!(works("setpriv", &[&nobody[..], &["bash", "-c", &reach]].concat()));
}
