//! The settings file of a platform, which isolates it from others on the host.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::Platform;

/// More than the default of an instance: a first answer takes some 30 seconds of CPU on a slow
/// machine, and most tests wait for one. That the limit holds is tested in `docker`.
const CPUS: u32 = 2;

/// A free port of the loopback interface.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

impl Platform {
    pub(super) fn write_settings(&self, allow: &[SocketAddr], extra: &str) {
        let at = |name: &str| self.path(name).display().to_string();
        let n = self.lot.0;
        let allow: Vec<_> = allow.iter().map(|a| format!("\"{a}\"")).collect();
        let settings = format!(
            "data_dir = \"{}\"\nruntime_dir = \"{}\"\ncaddyfile = \"{}\"\n\n\
             [edge]\ndomain = \"{}\"\ntls = \"internal\"\nbind = [\"127.0.0.1\"]\nhttp_port = {}\nhttps_port = {}\n\
             listen = \"127.0.0.1:{}\"\nask_listen = \"127.0.0.1:{}\"\nstorage = \"{}\"\naccess_log = \"{}\"\n\n\
             [instances.limits]\ncpus = {CPUS}\n\n\
             [docker]\nprefix = \"{}\"\nfirst_port = {}\nfirst_uid = {}\naddress_pool = \"10.89.{n}.0/24\"\nallow = [{}]\n\
             restart_command = []\n\n{extra}",
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
}
