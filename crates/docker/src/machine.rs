//! Reads information about this host from the kernel.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

/// A field of `/proc/meminfo`, in MiB.
pub(super) fn memory_mib(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

/// The number of CPUs and their total busy time since boot, from the text of `/proc/stat`.
pub(super) fn cpus(stat: &str) -> (u32, Duration) {
    /// A tick is 10 ms on every platform that Docker supports (`USER_HZ`).
    const TICK: Duration = Duration::from_millis(10);
    let count = stat.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = all.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq. The others are time of other virtual
    // machines (steal), or included in user (guest).
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|n| ticks.get(*n)).sum::<u64>();
    let busy = TICK.saturating_mul(u32::try_from(busy).unwrap_or(u32::MAX));
    (u32::try_from(count).unwrap_or(u32::MAX), busy)
}

/// The ports in `range` with a listener, from the text of `/proc/net/tcp` or `/proc/net/tcp6`, on
/// an address that conflicts with ours: the loopback or all addresses.
pub(super) fn listening(table: &str, range: &RangeInclusive<u16>) -> BTreeSet<u16> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            (fields.nth(1)? == LISTEN).then_some(local)
        })
        .filter_map(|local| local.split_once(':'))
        .filter(|(address, _)| {
            // In the host's byte order: 7F000001 reversed.
            *address == "0100007F" || address.bytes().all(|digit| digit == b'0')
        })
        .filter_map(|(_, port)| u16::from_str_radix(port, 16).ok())
        .filter(|port| range.contains(port))
        .collect()
}

/// The host port that a process with this `/proc/PID/cmdline` forwards to a container, if it is a
/// userland proxy of Docker.
pub(super) fn proxied(cmdline: &[u8]) -> Option<u16> {
    let mut arguments = cmdline.split(|byte| *byte == 0);
    let program = arguments.next()?;
    if program.rsplit(|byte| *byte == b'/').next()? != b"docker-proxy" {
        return None;
    }
    arguments.find(|argument| *argument == b"-host-port")?;
    std::str::from_utf8(arguments.next()?).ok()?.parse().ok()
}

/// Whether Docker's settings or command line disable the userland proxy; it is enabled by default.
pub(super) fn proxy_is_off(daemon_json: &[u8], cmdline: &[u8]) -> bool {
    let settings: serde_json::Value = serde_json::from_slice(daemon_json).unwrap_or_default();
    settings["userland-proxy"] == serde_json::Value::Bool(false)
        || cmdline.split(|byte| *byte == 0).any(|a| a.ends_with(b"-userland-proxy=false"))
}

/// The command lines of all processes.
pub(super) fn command_lines() -> impl Iterator<Item = Vec<u8>> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
}

/// The command line of Docker's daemon; empty when it is not found.
pub(super) fn dockerd_command_line() -> Vec<u8> {
    let is_dockerd = |line: &Vec<u8>| {
        let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
        program.rsplit(|byte| *byte == b'/').next() == Some(b"dockerd")
    };
    command_lines().find(is_dockerd).unwrap_or_default()
}

/// The first ephemeral port.
pub(super) fn first_ephemeral(text: &str) -> Option<u16> {
    text.split_whitespace().next()?.parse().ok()
}

/// An integer in a file of `/proc/sys`.
pub(super) fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_in_our_range_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             0: 0100007F:4651 00000000:0000 0A 00000000:00000000\n\
             1: 00000000:4652 00000000:0000 0A 00000000:00000000\n\
             2: 0101010A:4653 00000000:0000 0A 00000000:00000000\n\
             3: 0100007F:4654 0100007F:1234 01 00000000:00000000\n\
             4: 0100007F:0050 00000000:0000 0A 00000000:00000000\n";
        assert_eq!(listening(table, &(18001..=18100)), BTreeSet::from([18001, 18002]));
    }

    #[test]
    fn dockers_userland_proxy_is_known_by_its_command_line() {
        let line = b"/usr/sbin/docker-proxy\0-proto\0tcp\0-host-ip\x00127.0.0.1\0-host-port\0\
            18001\0-container-ip\x0010.87.0.2\0-container-port\x0018789\0";
        assert_eq!(proxied(line), Some(18001));
        assert_eq!(proxied(b"/bin/cat\0-host-port\x0018001\0"), None);
        assert_eq!(proxied(b""), None);
        assert!(proxy_is_off(br#"{"userland-proxy": false}"#, b""));
        assert!(proxy_is_off(b"", b"/usr/bin/dockerd\0--userland-proxy=false\0"));
        assert!(!proxy_is_off(b"{}", b"/usr/bin/dockerd\0"));
        assert!(!proxy_is_off(b"", b""));
    }

    #[test]
    fn busy_time_is_what_was_computed_and_not_waited() {
        let text = "cpu  100 10 50 9000 300 4 6 77 20 0\ncpu0 1 2\ncpu1 1 2\nintr 5\n";
        assert_eq!(cpus(text), (2, Duration::from_millis(1700)));
        assert_eq!(cpus(""), (0, Duration::ZERO));
    }

    #[test]
    fn memory_is_read_in_mib() {
        let text = "MemTotal:       24684084 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(memory_mib(text, "MemAvailable"), Some(2));
        assert_eq!(memory_mib(text, "Mem"), None);
    }
}
