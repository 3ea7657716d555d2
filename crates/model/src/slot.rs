//! A slot: the one number from which an instance's port, uid and network follow.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// A unit of capacity of the host, counted from 0; free again when its instance is removed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Slot(pub u32);

impl Slot {
    /// The user (and group) id of this slot when the first slot has `first`.
    pub const fn uid(self, first: u32) -> u32 {
        first + self.0
    }

    /// The port on 127.0.0.1 of this slot when the first slot has `first`.
    /// `None` beyond 32767, where the kernel hands out ports to outgoing connections.
    pub fn port(self, first: u16) -> Option<u16> {
        let port = u32::from(first).checked_add(self.0)?;
        u16::try_from(port).ok().filter(|p| *p < 32_768)
    }
}

/// The private range of instance networks: a /29 for each slot, so that 1,000 instances take an
/// eighth of a /16 and do not overlap Docker's own pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Ipv4Net", into = "Ipv4Net")]
pub struct AddressPool(Ipv4Net);

/// A range that cannot hold instance networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address pool is a private IPv4 range of /8 to /28, such as 10.87.0.0/16")]
pub struct AddressPoolError;

impl AddressPool {
    /// The prefix length of one instance's network.
    pub const NETWORK_PREFIX: u8 = 29;

    /// Takes a range; it must be private and hold at least two networks.
    pub fn new(range: Ipv4Net) -> Result<Self, AddressPoolError> {
        let range = range.trunc();
        let private = range.network().is_private() && range.broadcast().is_private();
        if private && (8..=28).contains(&range.prefix_len()) {
            Ok(Self(range))
        } else {
            Err(AddressPoolError)
        }
    }

    /// The whole range.
    pub const fn range(self) -> Ipv4Net {
        self.0
    }

    /// How many slots the range holds.
    pub fn slots(self) -> u32 {
        1 << (Self::NETWORK_PREFIX - self.0.prefix_len())
    }

    /// The network of `slot`, its gateway (the host's side) and its container's address.
    /// `None` when the range is too small for the slot.
    pub fn network(self, slot: Slot) -> Option<(Ipv4Net, Ipv4Addr, Ipv4Addr)> {
        if slot.0 >= self.slots() {
            return None;
        }
        let base = u32::from(self.0.network()) + (slot.0 << (32 - Self::NETWORK_PREFIX));
        let net = Ipv4Net::new(base.into(), Self::NETWORK_PREFIX).ok()?;
        Some((net, (base + 1).into(), (base + 2).into()))
    }
}

impl TryFrom<Ipv4Net> for AddressPool {
    type Error = AddressPoolError;
    fn try_from(range: Ipv4Net) -> Result<Self, AddressPoolError> {
        Self::new(range)
    }
}

impl From<AddressPool> for Ipv4Net {
    fn from(pool: AddressPool) -> Self {
        pool.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(text: &str) -> Result<AddressPool, AddressPoolError> {
        AddressPool::new(text.parse().unwrap())
    }

    #[test]
    fn a_slash_16_holds_over_a_thousand_networks_that_do_not_overlap() {
        let pool = pool("10.87.0.0/16").unwrap();
        assert_eq!(pool.slots(), 8192);
        let (a, gateway, container) = pool.network(Slot(0)).unwrap();
        let (b, ..) = pool.network(Slot(1)).unwrap();
        assert_eq!(gateway.to_string(), "10.87.0.1");
        assert_eq!(container.to_string(), "10.87.0.2");
        assert!(a.contains(&gateway) && a.contains(&container));
        assert!(!a.contains(&b.network()));
        assert!(pool.network(Slot(8191)).is_some());
        assert!(pool.network(Slot(8192)).is_none());
    }

    #[test]
    fn public_or_tiny_ranges_are_refused() {
        assert!(pool("8.8.0.0/16").is_err());
        assert!(pool("10.0.0.0/29").is_err());
        assert!(pool("172.16.0.0/11").is_err());
    }

    #[test]
    fn ports_start_at_the_first_and_stop_before_the_ephemeral_range() {
        assert_eq!(Slot(0).port(18001), Some(18001));
        assert_eq!(Slot(14_766).port(18001), Some(32_767));
        assert_eq!(Slot(14_767).port(18001), None);
    }
}
