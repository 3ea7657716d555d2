//! One whole platform: daemon, Caddy, and instances in Docker, apart from any other on the
//! machine, and gone without a trace when it is dropped.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{caddy::Caddy, until};

/// What distinguishes the platforms of tests that run side by side.
#[derive(Debug, Clone, Copy)]
pub struct Lot(pub u8);

/// One platform.
pub struct Platform {
    lot: Lot,
    dir: TempDir,
    daemon: Option<Child>,
    caddy: Option<Caddy>,
    https_port: u16,
}

/// How long a daemon or Caddy may take to answer.
const UP: Duration = Duration::from_secs(30);

/// How long an operation may take on a machine that does much else.
pub const OPERATION: Duration = Duration::from_secs(300);

/// Whether tests on real parts are to run; says so when not.
pub fn is_real() -> bool {
    let real = std::env::var_os("STARTCLAW_REAL").is_some();
    if !real {
        println!("skipped: needs Docker, Caddy and the image; script/test runs it");
    }
    real
}

/// A port of the loopback interface that nobody has at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// The built program: it lies beside the test's own folder.
pub fn program() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows where it is");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let program = path.join("startclaw");
    assert!(program.exists(), "{} is missing: cargo build -p startclaw", program.display());
    program
}

impl Platform {
    /// Starts daemon and Caddy. `allow` are addresses that instances may reach; `extra` is
    /// more for the settings file.
    pub async fn start(lot: u8, allow: &[SocketAddr], extra: &str) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let https_port = free_port();
        let mut platform = Self { lot: Lot(lot), dir, daemon: None, caddy: None, https_port };
        platform.remove_leftovers();
        platform.write_settings(allow, extra);
        platform.start_daemon().await;
        platform.start_caddy().await;
        platform
    }

    fn write_settings(&self, allow: &[SocketAddr], extra: &str) {
        let at = |name: &str| self.path(name).display().to_string();
        let n = self.lot.0;
        let allow: Vec<_> = allow.iter().map(|a| format!("\"{a}\"")).collect();
        let settings = format!(
            "data_dir = \"{}\"\nruntime_dir = \"{}\"\ncaddyfile = \"{}\"\n\n\
             [edge]\ndomain = \"{}\"\ntls = \"internal\"\nbind = [\"127.0.0.1\"]\nhttp_port = {}\nhttps_port = {}\n\
             listen = \"127.0.0.1:{}\"\nask_listen = \"127.0.0.1:{}\"\nstorage = \"{}\"\naccess_log = \"{}\"\n\n\
             [docker]\nprefix = \"{}\"\nfirst_port = {}\nfirst_uid = {}\naddress_pool = \"10.89.{n}.0/24\"\nallow = [{}]\n\n{extra}",
            at("data"),
            at("run"),
            at("Caddyfile"),
            self.domain(),
            free_port(),
            self.https_port,
            free_port(),
            free_port(),
            at("caddy"),
            at("access.log"),
            self.prefix(),
            22_000 + u32::from(n) * 32,
            300_000 + u32::from(n) * 1000,
            allow.join(", "),
        );
        std::fs::write(self.settings(), settings).expect("the settings can be written");
    }

    /// A file of this platform.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn settings(&self) -> PathBuf {
        self.path("startclaw.toml")
    }

    /// What the names in Docker begin with.
    pub fn prefix(&self) -> String {
        format!("sctest{}", self.lot.0)
    }

    /// The domain; browsers and our clients take it for this machine.
    pub fn domain(&self) -> String {
        format!("t{}.localhost", self.lot.0)
    }

    /// The address of an instance.
    pub fn origin(&self, name: &str) -> String {
        format!("https://{name}.{}:{}", self.domain(), self.https_port)
    }

    /// The address of the pages.
    pub fn site(&self) -> String {
        format!("https://{}:{}", self.domain(), self.https_port)
    }

    /// The certificate that signs those of this platform.
    pub fn authority(&self) -> PathBuf {
        self.path("caddy/pki/authorities/local/intermediate.crt")
    }

    /// The port of HTTPS.
    pub fn https_port(&self) -> u16 {
        self.https_port
    }

    /// Starts the daemon and waits until it answers.
    pub async fn start_daemon(&mut self) {
        self.spawn_daemon();
        until("the daemon answers", UP, async || {
            let output = self.command(&["status", "--json"]).output().ok()?;
            output.status.success().then_some(())
        })
        .await;
    }

    /// Starts the daemon without waiting.
    pub fn spawn_daemon(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("daemon.log"))
            .expect("a log file can be made");
        let child = Command::new(program())
            .arg("--config")
            .arg(self.settings())
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        self.daemon = Some(child);
    }

    /// `kill -9` of the daemon.
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// The machine is gone with all that was on it.
    pub fn lose_machine(&mut self) {
        self.kill_daemon();
        self.caddy = None;
        self.remove_leftovers();
        for entry in std::fs::read_dir(self.dir.path()).expect("it can be listed").flatten() {
            let path = entry.path();
            let gone = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            gone.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }

    /// What the daemon printed so far.
    pub fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// Starts Caddy and waits until it answers.
    pub async fn start_caddy(&mut self) {
        let caddyfile = self.path("Caddyfile");
        self.caddy = Some(Caddy::start(&caddyfile, self.dir.path(), &self.path("caddy.log")));
        let api = format!("https://api.{}:{}/healthz", self.domain(), self.https_port);
        until("Caddy answers over TLS", UP, async || {
            let client = self.try_client()?;
            client.get(&api).send().await.ok()?.status().is_success().then_some(())
        })
        .await;
    }

    /// The command line of this platform's program.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--config")
            .arg(self.settings())
            .arg("--socket")
            .arg(self.path("run/startclaw.sock"))
            .args(arguments)
            .stdin(Stdio::null())
            .env_remove("STARTCLAW_TOKEN");
        command
    }

    /// Runs a command and gives what it printed as JSON.
    ///
    /// # Panics
    /// When it fails.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments, "").await;
        assert!(output.status.success(), "{arguments:?}: {}", self.report(&output));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", self.report(&output)))
    }

    /// Runs a command with this on its standard input.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("the program runs");
            if let Some(mut stdin) = child.stdin.take() {
                // A command that reads nothing may have closed it.
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output().expect("the program ends")
        });
        tokio::time::timeout(OPERATION, run)
            .await
            .expect("the command ends in time")
            .expect("it ran")
    }

    /// What a command printed, and the daemon's last lines.
    pub fn report(&self, output: &Output) -> String {
        let log = self.daemon_log();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        format!(
            "{}\n{}\n{}\ndaemon:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
        )
    }

    fn over_socket(&self) -> reqwest::Client {
        let socket = self.path("run/startclaw.sock");
        reqwest::Client::builder().unix_socket(socket).build().expect("a client")
    }

    /// What Prometheus would read.
    pub async fn metrics(&self) -> String {
        let answer = self.over_socket().get("http://localhost/metrics").send().await;
        answer.expect("the socket answers").text().await.expect("a text")
    }

    /// A request of the API over the socket, as any program can make it.
    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.over_socket().request(method, format!("http://localhost{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the socket answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Waits until an operation is over.
    pub async fn over(&self, operation: &Value) -> Value {
        let path = format!("/operations/{}", operation["id"].as_str().expect("an operation's id"));
        until("the operation is over", OPERATION, async || {
            let (_, now) = self.api("GET", &path, None).await;
            matches!(now["state"].as_str(), Some("succeeded" | "failed")).then_some(now)
        })
        .await
    }

    /// How an instance is.
    pub async fn status(&self, name: &str) -> Value {
        let (_, all) = self.api("GET", &format!("/status?name={name}"), None).await;
        all["instances"][0].clone()
    }

    /// Makes an instance, and waits until it is live.
    pub async fn provision(&self, name: &str) {
        let made = self.run(&["provision", name], "").await;
        assert!(made.status.success(), "{}", self.report(&made));
    }

    /// Makes an account an admin's. To be replaced by `startclaw accounts create EMAIL --admin`
    /// as soon as that is there: nothing else here writes into the database.
    pub async fn make_admin(&self, email: &str) {
        let script = "import sqlite3, sys\n\
                      with sqlite3.connect(sys.argv[1], timeout=10) as db:\n \
                      assert db.execute('UPDATE accounts SET admin = 1 WHERE email = ?', sys.argv[2:]).rowcount == 1";
        let output = Command::new("python3")
            .args(["-c", script])
            .arg(self.path("data/startclaw.db"))
            .arg(email)
            .output()
            .expect("python3 runs");
        assert!(output.status.success(), "{}", self.report(&output));
    }

    /// What happened to an instance: the details of its events of one kind, oldest first.
    pub async fn events(&self, name: &str, kind: &str) -> Vec<String> {
        let (status, events) = self.api("GET", &format!("/events?name={name}"), None).await;
        assert_eq!(status, 200, "{events}");
        let events = events["events"].as_array().expect("a list of events");
        let mut details: Vec<_> = events
            .iter()
            .filter(|e| e["kind"] == kind)
            .map(|e| (e["at"].to_string(), e["detail"].as_str().unwrap_or_default().to_owned()))
            .collect();
        details.sort_by(|a, b| a.0.cmp(&b.0));
        details.into_iter().map(|(_, detail)| detail).collect()
    }

    /// One of the daemon's metrics, as it begins its line; 0 when there is none yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = self.over_socket().get("http://localhost/metrics").send().await;
        let text = answer.expect("the socket answers").text().await.expect("text");
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Which run of which container an instance has just now.
    pub fn run_of(&self, name: &str) -> String {
        let container = self.container(name);
        self.docker(&["inspect", "--format", "{{.Id}} since {{.State.StartedAt}}", &container])
    }

    /// Waits until an instance answers at its address again, in another run than `before`, by
    /// itself.
    pub async fn renewed(&self, name: &str, before: &str, cookie: &str) -> Value {
        until(&format!("{name} is back, other than {before}"), OPERATION, async || {
            let status = self.status(name).await;
            let back = status["state"] == "live"
                && self.page(name, cookie).await == Some(200)
                && self.run_of(name) != before
                && self.is_running(name);
            back.then_some(status)
        })
        .await
    }

    /// Whether Docker says that an instance's container runs.
    pub fn is_running(&self, name: &str) -> bool {
        let container = self.container(name);
        self.docker(&["inspect", "--format", "{{.State.Running}}", &container]) == "true"
    }

    /// The process of an instance's container that all others in it descend from.
    pub fn first_process(&self, name: &str) -> String {
        self.docker(&["inspect", "--format", "{{.State.Pid}}", &self.container(name)])
    }

    /// Where an instance's data lie.
    pub fn data(&self, name: &str) -> PathBuf {
        let named = format!("label={}.name={name}", self.prefix());
        let volume = self.docker(&["volume", "ls", "--quiet", "--filter", &named]);
        let mount = self.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]);
        assert!(Path::new(&mount).is_dir(), "{name} has a volume: {mount}");
        mount.into()
    }

    /// Waits until an instance is in this state.
    pub async fn becomes(&self, name: &str, state: &str) -> Value {
        until(&format!("{name} is {state}"), OPERATION, async || {
            let now = self.status(name).await;
            (now["state"] == state).then_some(now)
        })
        .await
    }

    fn try_client(&self) -> Option<reqwest::Client> {
        self.client_builder()?.timeout(Duration::from_secs(30)).build().ok()
    }

    fn client_builder(&self) -> Option<reqwest::ClientBuilder> {
        let root = std::fs::read(self.path("caddy/pki/authorities/local/root.crt")).ok()?;
        let root = reqwest::Certificate::from_pem(&root).ok()?;
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, self.https_port));
        let names = ["alice", "bob", "carol", "api", "nobody"];
        let mut builder = reqwest::Client::builder()
            .tls_certs_only([root])
            .redirect(reqwest::redirect::Policy::none())
            .resolve(&self.domain(), here);
        for name in names {
            builder = builder.resolve(&format!("{name}.{}", self.domain()), here);
        }
        Some(builder)
    }

    /// A client that checks certificates and follows no redirects.
    pub fn client(&self) -> reqwest::Client {
        self.try_client().expect("Caddy has made its authority")
    }

    /// A client like [`Self::client`] for connections that become something else and last.
    pub fn upgrading_client(&self) -> reqwest::Client {
        let builder = self.client_builder().expect("Caddy has made its authority");
        builder.http1_only().build().expect("a client")
    }

    /// The status of an instance's first page; `None` when nobody answers.
    pub async fn page(&self, name: &str, cookie: &str) -> Option<u16> {
        let request = self.client().get(self.origin(name)).header("cookie", cookie);
        Some(request.send().await.ok()?.status().as_u16())
    }

    /// A cookie that signs in to an instance, got as a browser gets it.
    pub async fn sign_in(&self, name: &str) -> String {
        let link = self.json(&["open", name, "--json"]).await;
        let url = link["url"].as_str().expect("a link");
        let ticket = url.split("ticket=").nth(1).expect("a ticket in the link");
        let answer = self
            .client()
            .post(format!("{}/.startclaw/enter", self.origin(name)))
            .header("origin", self.origin(name))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("ticket={ticket}"))
            .send()
            .await
            .expect("the address answers");
        assert_eq!(answer.status(), 303, "the ticket is good");
        let cookie = answer.headers()["set-cookie"].to_str().expect("a plain cookie");
        cookie.split(';').next().expect("a cookie").to_owned()
    }

    /// Runs `docker` and gives what it printed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(arguments).output().expect("docker runs");
        // Logs come on both.
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// The id of an instance's container.
    pub fn container(&self, name: &str) -> String {
        let id = format!("label={}.instance", self.prefix());
        let named = format!("label={}.name={name}", self.prefix());
        self.docker(&["ps", "--all", "--quiet", "--filter", &id, "--filter", &named])
    }

    /// The objects of one kind that this platform has in Docker.
    pub fn objects(&self, kind: &str) -> Vec<String> {
        let label = format!("label={}.instance", self.prefix());
        let mut arguments = vec![kind, "ls", "--quiet", "--filter", &label];
        if kind == "container" {
            arguments.push("--all");
        }
        self.docker(&arguments).lines().map(str::to_owned).collect()
    }

    fn remove_leftovers(&self) {
        for (kind, force) in [("container", true), ("network", false), ("volume", true)] {
            for id in self.objects(kind) {
                let mut arguments = vec![kind, "rm"];
                if force {
                    arguments.push("--force");
                }
                arguments.push(&id);
                self.docker(&arguments);
            }
        }
        let _ = Command::new("nft")
            .args(["delete", "table", "inet", &self.prefix().replace('-', "_")])
            .stderr(Stdio::null())
            .status();
        unmount(&self.path("run/secrets"));
    }
}

fn unmount(path: &Path) {
    let _ = Command::new("umount").arg(path).stderr(Stdio::null()).status();
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["daemon.log", "caddy.log"] {
                let log = std::fs::read_to_string(self.path(name)).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(40).collect();
                eprintln!("the last lines of {name}:");
                for line in tail.into_iter().rev() {
                    eprintln!("  {line}");
                }
            }
            for container in self.objects("container") {
                eprintln!("the last lines of container {container}:");
                eprintln!("{}", self.docker(&["logs", "--tail", "40", &container]));
            }
        }
        self.kill_daemon();
        self.caddy = None;
        self.remove_leftovers();
    }
}
