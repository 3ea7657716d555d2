//! Slows down whoever tries tokens: so many bad ones from one address, then a pause.
//!
//! Tokens are 256 random bits, so guessing is hopeless; what this saves is the database and
//! the log from somebody who tries anyway.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Bad tokens that one address may send in one window.
const ATTEMPTS: u32 = 20;
/// How long attempts are counted, and so the longest pause.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered at most, so that many addresses cannot fill the memory.
const ADDRESSES: usize = 4096;

/// Counts bad tokens by address.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Throttle {
    /// How long `address` has to wait, if it has to.
    pub(crate) fn pause(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = table.get(&group(address))?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(*since))?;
        (*count >= ATTEMPTS && !left.is_zero()).then_some(left)
    }

    /// Notes a bad token.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= ADDRESSES && !table.contains_key(&group(address)) {
            table.retain(|_, (_, since)| now.saturating_duration_since(*since) < WINDOW);
            if table.len() >= ADDRESSES
                && let Some(oldest) = table.iter().min_by_key(|(_, (_, at))| *at).map(|(k, _)| *k)
            {
                table.remove(&oldest);
            }
        }
        let entry = table.entry(group(address)).or_insert((0, now));
        if now.saturating_duration_since(entry.1) >= WINDOW {
            *entry = (0, now);
        }
        entry.0 = entry.0.saturating_add(1);
    }
}

/// Who is behind an IPv6 address usually has the whole /64.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn too_many_bad_tokens_pause_one_address_for_a_while() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..ATTEMPTS {
            assert!(throttle.pause(ip("192.0.2.1"), now).is_none());
            throttle.failed(ip("192.0.2.1"), now);
        }
        assert_eq!(throttle.pause(ip("192.0.2.1"), now), Some(WINDOW));
        assert!(throttle.pause(ip("192.0.2.2"), now).is_none());
        assert!(throttle.pause(ip("192.0.2.1"), now + WINDOW).is_none());
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..ATTEMPTS {
            throttle.failed(ip(&format!("2001:db8::{n:x}")), now);
        }
        assert!(throttle.pause(ip("2001:db8::ffff"), now).is_some());
        assert!(throttle.pause(ip("2001:db8:0:1::1"), now).is_none());
    }

    #[test]
    fn the_table_stays_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..10_000_u32 {
            throttle.failed(IpAddr::V4((0x0a00_0000 + n).into()), now);
        }
        assert!(throttle.0.lock().unwrap().len() <= ADDRESSES);
    }
}
