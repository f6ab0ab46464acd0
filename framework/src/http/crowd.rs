//! How many connections each client address holds, so that one client cannot hold them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of each address, as far as they are counted.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// The client holds as many connections as it may.
#[derive(Debug)]
pub(super) struct Crowded;

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        four => four,
    }
}

impl Crowd {
    /// Counts one more connection of `address`, unless it holds `limit` already.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Admission> {
        let address = household(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Admission { crowd: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.crowd.counts().entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_limit_and_others_have_theirs() {
        let crowd = Arc::new(Crowd::default());
        let [one, other] = ["203.0.113.9", "::ffff:203.0.113.10"].map(|text| text.parse().unwrap());
        let held = [crowd.admit(one, 2), crowd.admit(one, 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(crowd.admit(one, 2).is_none());
        assert!(crowd.admit(other, 2).is_some());
        drop(held);
        assert!(crowd.admit(one, 1).is_some());
        assert!(crowd.counts().is_empty(), "nothing is kept of those who have left");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one_client() {
        let crowd = Arc::new(Crowd::default());
        let [one, same, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        let _held = crowd.admit(one, 1);
        assert!(crowd.admit(same, 1).is_none());
        assert!(crowd.admit(other, 1).is_some());
    }
}
