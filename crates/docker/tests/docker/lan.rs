//! A simulated outside network, in a network namespace: a neighbour on a private network, a cloud's
//! metadata server, and a server on the internet. No traffic leaves the machine.

use std::{
    io::Write,
    net::{SocketAddrV4, TcpListener, UdpSocket},
    os::fd::AsFd,
    process::Command,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::platform::run;

const SPACE: &str = "sctest-lan";
/// This machine's address on the private network.
pub const HOST: &str = "192.168.177.1";
/// The neighbour on the private network.
pub const NEIGHBOUR: &str = "192.168.177.2";
/// A server with a public address.
pub const PUBLIC: &str = "198.41.0.4";
/// The metadata server.
pub const METADATA: &str = "169.254.169.254";
/// What the name `test.example` resolves to at the metadata server's port 53.
pub const ANSWER: [u8; 4] = [198, 41, 0, 77];

pub struct Lan;

impl Lan {
    /// All its addresses accept connections on these ports.
    pub fn new(ports: &[u16]) -> Self {
        let lan = Self;
        lan.clear();
        ip("netns add sctest-lan");
        ip("link add sctl0 type veth peer name sctl1 netns sctest-lan");
        ip("addr add 192.168.177.1/24 dev sctl0");
        ip("link set sctl0 up");
        ip("-n sctest-lan addr add 192.168.177.2/24 dev sctl1");
        ip("-n sctest-lan link set lo up");
        ip("-n sctest-lan link set sctl1 up");
        ip("-n sctest-lan route add default via 192.168.177.1");
        for address in [PUBLIC, METADATA] {
            ip(&format!("-n {SPACE} addr add {address}/32 dev lo"));
            ip(&format!("route add {address}/32 via {NEIGHBOUR} dev sctl0"));
            // Otherwise the test would send traffic to the internet.
            assert!(run("ip", &["route", "get", address]).contains("dev sctl0"));
        }
        let ports = ports.to_owned();
        let (ready, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let space = std::fs::File::open(format!("/run/netns/{SPACE}")).unwrap();
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            for port in ports {
                let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
                std::thread::spawn(move || accept(&listener));
            }
            let resolver = UdpSocket::bind((METADATA, 53)).unwrap();
            ready.send(()).unwrap();
            resolve(&resolver);
        });
        wait.recv_timeout(Duration::from_secs(5)).unwrap();
        lan
    }

    /// Whether the neighbour can connect to an address.
    pub fn reaches(&self, address: &str, port: u16) -> bool {
        let command = format!("exec 3<>/dev/tcp/{address}/{port}");
        let args = ["netns", "exec", SPACE, "timeout", "1.5", "bash", "-c", &command];
        Command::new("ip").args(args).output().unwrap().status.success()
    }

    pub fn ip(&self, arguments: &str) {
        ip(&format!("-n {SPACE} {arguments}"));
    }

    fn clear(&self) {
        let _ = Command::new("ip").args(["link", "delete", "sctl0"]).output();
        let _ = Command::new("ip").args(["netns", "delete", SPACE]).output();
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether `to` answers a ping that is sent as root from the network of the process `pid`.
pub fn pings(pid: &str, from: Option<&str>, to: &str) -> bool {
    let path = format!("/proc/{pid}/ns/net");
    let from: SocketAddrV4 = SocketAddrV4::new(from.unwrap_or("0.0.0.0").parse().unwrap(), 0);
    let to = SocketAddrV4::new(to.parse().unwrap(), 0);
    let pinging = std::thread::spawn(move || {
        let space = std::fs::File::open(path).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let kind = rustix::net::SocketType::RAW;
        let protocol = Some(rustix::net::ipproto::ICMP);
        let socket = rustix::net::socket(rustix::net::AddressFamily::INET, kind, protocol).unwrap();
        rustix::net::bind(&socket, &from).unwrap();
        // The standard library's calls work on any datagram socket.
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        // An echo request without data: type 8, its checksum, and the number 0x5c5c twice.
        let request = [8, 0, 0x3f, 0x47, 0x5c, 0x5c, 0x5c, 0x5c];
        if socket.send_to(&request, to).is_err() {
            return false;
        }
        let mut answer = [0; 256];
        while let Ok((length, from)) = socket.recv_from(&mut answer) {
            // After 20 bytes of IP header, an echo reply with the same number.
            if length >= 28
                && from.ip() == *to.ip()
                && answer[20] == 0
                && answer[24..28] == [0x5c; 4]
            {
                return true;
            }
        }
        false
    });
    pinging.join().unwrap()
}

fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

/// Accepts every connection and sends a greeting.
pub fn accept(listener: &TcpListener) {
    for stream in listener.incoming() {
        let _ = stream.and_then(|mut stream| stream.write_all(b"hello\n"));
    }
}

/// Answers every query with the same address.
fn resolve(socket: &UdpSocket) {
    let mut packet = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if length < 12 {
            continue;
        }
        // The question ends after the name's closing zero, its type and its class.
        let name = packet[12..length].iter().position(|byte| *byte == 0).unwrap_or(0);
        let end = (12 + name + 5).min(length);
        let asked_for_ipv4 = packet[..end].ends_with(&[0, 1, 0, 1]);
        let mut answer = packet[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(asked_for_ipv4), 0, 0, 0, 0]);
        answer.extend(&packet[12..end]);
        if asked_for_ipv4 {
            answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(ANSWER);
        }
        let _ = socket.send_to(&answer, from);
    }
}
