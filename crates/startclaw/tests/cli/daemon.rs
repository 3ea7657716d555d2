//! The built daemon, without Docker: startup, requests and orderly shutdown.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use startclaw_testkit::until_blocking;

use crate::test_platform::{CommandOutput, away_from_here, startclaw, text};

struct Daemon {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Daemon {
    fn start(extra: &str) -> Self {
        Self::with_docker(extra, Path::new("/nowhere/docker.sock"))
    }

    fn with_docker(extra: &str, docker: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Ports that were free a moment ago.
        let free = [0, 0].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
        let [edge, ask] = free.map(|listener| listener.local_addr().unwrap().port());
        let at = |name: &str| folder.path().join(name);
        let settings = format!(
            "data_dir = {:?}\nruntime_dir = {:?}\ncaddyfile = {:?}\n{extra}\n\
             [edge]\nlisten = \"127.0.0.1:{edge}\"\nask_listen = \"127.0.0.1:{ask}\"\n\
             [docker]\nsocket = \"unix://{}\"\nprefix = \"sc-cli-test\"\n",
            at("data"),
            at("run"),
            at("Caddyfile"),
            docker.display(),
        );
        std::fs::write(at("c.toml"), settings).unwrap();
        let mut daemon = Self { folder, child: None };
        daemon.start_again();
        daemon
    }

    fn start_again(&mut self) {
        self.child = Some(self.serve());
        until_blocking("it starts", || self.ask(&["status"]).code == 0);
    }

    /// Without CAP_NET_ADMIN, so that a test cannot touch this host's firewall: the daemon logs the
    /// failure and continues, as it does without Docker.
    fn serve(&self) -> Child {
        let mut command = startclaw();
        if rustix::process::geteuid().is_root() {
            command = away_from_here(Command::new("setpriv"));
            command.args(["--bounding-set=-net_admin", env!("CARGO_BIN_EXE_startclaw")]);
        }
        command.arg("--config").arg(self.at("c.toml")).arg("serve").spawn().unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = startclaw();
        command.arg("--config").arg(self.at("c.toml")).args(arguments);
        command
    }

    fn ask(&self, arguments: &[&str]) -> CommandOutput {
        self.command(arguments).output().unwrap().into()
    }

    /// Sends SIGTERM and returns the output. Caddy holds requests for 10 seconds, and the next
    /// daemon needs some of them.
    fn stop(&mut self) -> CommandOutput {
        self.stop_while(|| ())
    }

    /// The same, calling `meanwhile` repeatedly until it has stopped.
    fn stop_while(&mut self, mut meanwhile: impl FnMut()) -> CommandOutput {
        let mut child = self.child.take().unwrap();
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(6), "it does not stop");
            meanwhile();
            std::thread::sleep(Duration::from_millis(20));
        }
        child.wait_with_output().unwrap().into()
    }

    /// The address of the edge's listener.
    fn edge(&self) -> String {
        let config = std::fs::read_to_string(self.at("c.toml")).unwrap();
        config.split("listen = \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

/// The status of a response on the edge's port; `None` if nothing responds.
fn get(edge: &str, host: &str, path: &str, authorization: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(edge).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Connection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(str::to_owned)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_starts_without_docker_answers_and_stops_in_order() {
    let mut daemon = Daemon::start("");
    assert_eq!(mode(&daemon.at("run/startclaw.sock")) & 0o007, 0, "the socket is not for others");
    for secret in ["data/master.key", "data/startclaw.db"] {
        assert_eq!(mode(&daemon.at(secret)) & 0o077, 0, "{secret}");
    }
    assert!(daemon.at("Caddyfile").exists());
    let doctor = daemon.ask(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.out.contains("✗ docker"), "{doctor:?}");

    let second: CommandOutput = daemon.serve().wait_with_output().unwrap().into();
    assert_eq!(second.code, 1);
    assert!(second.err.contains("another daemon"), "{second:?}");
    assert_eq!(daemon.stop().code, 0);
}

#[test]
fn what_was_begun_goes_on_after_a_restart_and_who_waits_is_told() {
    let mut daemon = Daemon::start("");
    let made = daemon.ask(&["provision", "alice", "--no-wait", "--json"]).json();
    assert_eq!(made["name"], "alice");
    // The operation waits for Docker, which never answers: the stream is open when the daemon
    // stops.
    let errors = daemon.at("errors");
    let mut restart = daemon.command(&["restart", "alice"]);
    restart.stderr(std::fs::File::create(&errors).unwrap());
    let mut waiting = restart.spawn().unwrap();
    let is_told = |what: &str| {
        until_blocking(what, || std::fs::read_to_string(&errors).unwrap().contains(what));
    };
    is_told("queued");
    let said = daemon.stop();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("stopped"), "{said:?}");
    is_told("waiting for it to come back");

    daemon.start_again();
    let operations = daemon.ask(&["operations", "--json"]).json();
    assert_eq!(operations["operations"][1]["id"], made["id"], "the operation is kept");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

#[test]
fn a_step_that_takes_long_holds_up_no_restart_and_the_edge_answers_meanwhile() {
    // A Docker that accepts every request and never responds.
    let folder = tempfile::tempdir().unwrap();
    let silent = folder.path().join("docker.sock");
    let listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let (asked, was_asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if asked.send(stream).is_err() {
                return;
            }
        }
    });
    let mut daemon = Daemon::with_docker("", &silent);
    assert_eq!(daemon.ask(&["provision", "alice", "--no-wait"]).code, 0);
    let _held = was_asked.recv().unwrap();
    let edge = daemon.edge();
    let (began, mut answered) = (Instant::now(), Duration::ZERO);
    let said = daemon.stop_while(|| {
        if get(&edge, "localhost", "/", "").as_deref() == Some("200") {
            answered = began.elapsed();
        }
    });
    let took = began.elapsed();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("the next start continues"), "a step was in progress: {said:?}");
    assert!(took - answered < Duration::from_millis(1500), "{answered:?} of {took:?}");

    daemon.start_again();
    assert_eq!(daemon.ask(&["status", "alice", "--json"]).json()["instances"][0]["name"], "alice");
}

#[test]
fn killed_it_starts_again_over_what_it_left() {
    let mut daemon = Daemon::start("");
    let mut child = daemon.child.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(daemon.at("run/startclaw.sock").exists(), "the stale socket is there");
    daemon.start_again();
}

#[test]
fn its_log_can_be_json() {
    let mut daemon = Daemon::start("[log]\nformat = \"json\"\n");
    for line in daemon.stop().err.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn a_lost_master_key_is_said_and_not_replaced() {
    let mut daemon = Daemon::start("");
    assert_eq!(daemon.ask(&["provision", "alice", "--no-wait"]).code, 0);
    daemon.stop();
    std::fs::remove_file(daemon.at("data/master.key")).unwrap();
    let said: CommandOutput = daemon.serve().wait_with_output().unwrap().into();
    assert_eq!(said.code, 1);
    assert!(said.err.contains("master key") && said.err.contains("missing"), "{said:?}");
}

#[test]
fn programs_reach_the_api_through_the_edge_with_a_token() {
    let daemon = Daemon::start("");
    let made = daemon.ask(&["tokens", "create", "x", "--scope", "read"]);
    let token = made.ok().trim();
    let edge = daemon.edge();
    let status =
        |host: &str, authorization: &str| get(&edge, host, "/status", authorization).unwrap();
    let good = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(status("api.localhost", &good), "200");
    assert_eq!(status("api.localhost", ""), "401");
    assert_eq!(status("demo.localhost", &good), "404", "only api.DOMAIN is the API");
}

#[test]
fn a_wrong_setting_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[edge]\ndomian = \"x\"\n").unwrap();
    let mut command = startclaw();
    command.args(["serve", "--config", &text(&file)]);
    let said: CommandOutput = command.output().unwrap().into();
    assert_eq!(said.code, 2);
    assert!(said.err.contains("domian"), "{said:?}");
}
