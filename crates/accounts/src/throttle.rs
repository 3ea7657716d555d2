//! Rate limits failures: after a number of them, a pause.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Maximum number of keys, to bound memory.
const REMEMBERED: usize = 4096;

/// Counts failures per key, such as an address.
#[derive(Debug)]
pub struct Throttle<K> {
    attempts: u32,
    window: Duration,
    table: Mutex<HashMap<K, (u32, Instant)>>,
}

impl<K: Eq + Hash + Clone> Throttle<K> {
    /// Allows `attempts` failures per window, which is also the longest pause.
    pub fn new(attempts: u32, window: Duration) -> Self {
        Self { attempts, window, table: Mutex::default() }
    }

    /// How long `key` has to wait, if at all.
    pub fn pause(&self, key: &K, now: Instant) -> Option<Duration> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = table.get(key)?;
        let left = self.window.checked_sub(now.saturating_duration_since(*since))?;
        (*count >= self.attempts && !left.is_zero()).then_some(left)
    }

    /// Counts a failure.
    pub fn failed(&self, key: K, now: Instant) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= REMEMBERED && !table.contains_key(&key) {
            table.retain(|_, (_, since)| now.saturating_duration_since(*since) < self.window);
            let oldest = table.iter().min_by_key(|(_, (_, at))| *at).map(|(k, _)| k.clone());
            if table.len() >= REMEMBERED
                && let Some(oldest) = oldest
            {
                table.remove(&oldest);
            }
        }
        let entry = table.entry(key).or_insert((0, now));
        if now.saturating_duration_since(entry.1) >= self.window {
            *entry = (0, now);
        }
        entry.0 = entry.0.saturating_add(1);
    }

    /// Uncounts one failure.
    pub fn forgive(&self, key: &K) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = table.get_mut(key) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The network of an address: an IPv6 client usually has the whole /64.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn too_many_failures_pause_one_key_for_a_while() {
        let (throttle, now) = (Throttle::new(20, WINDOW), Instant::now());
        for _ in 0..20 {
            assert!(throttle.pause(&1, now).is_none());
            throttle.failed(1, now);
        }
        assert_eq!(throttle.pause(&1, now), Some(WINDOW));
        assert!(throttle.pause(&2, now).is_none());
        assert!(throttle.pause(&1, now + WINDOW).is_none());
    }

    #[test]
    fn what_was_no_failure_is_taken_back() {
        let (throttle, now) = (Throttle::new(1, WINDOW), Instant::now());
        throttle.failed(1, now);
        throttle.forgive(&1);
        throttle.forgive(&2);
        assert!(throttle.pause(&1, now).is_none());
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn the_table_stays_bounded() {
        let (throttle, now) = (Throttle::new(20, WINDOW), Instant::now());
        for n in 0..10_000_u32 {
            throttle.failed(n, now);
        }
        assert!(throttle.table.lock().unwrap().len() <= REMEMBERED);
    }
}
