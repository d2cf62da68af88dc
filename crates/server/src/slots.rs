//! How many connections there may be, and how many of them one address may have.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use systemprompt_extension::ClientIp;

use crate::metrics::ConnectionMetrics;
use crate::proxies::Proxies;

/// One address may have a quarter of all connections.
const SHARE: usize = 4;

/// The connections that may still be accepted.
pub(crate) struct Slots {
    most: usize,
    proxies: Proxies,
    taken: Mutex<Taken>,
    metrics: ConnectionMetrics,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_network: HashMap<Ipv6Addr, usize>,
}

/// One connection's place, free again when this is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// Whose share it counts in.
    network: Option<Ipv6Addr>,
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("there are as many connections as server.max_connections allows")]
    Everything,
    #[error("its address has a quarter of server.max_connections already")]
    Share,
}

impl Slots {
    /// At most `most` connections. Behind `proxies`, and on this machine, are many clients with one address: they have no
    /// share.
    pub(crate) fn new(most: usize, proxies: Proxies, metrics: ConnectionMetrics) -> Arc<Self> {
        Arc::new(Self { most, proxies, taken: Mutex::default(), metrics })
    }

    pub(crate) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Slot, Full> {
        let slot = self.find(peer);
        match &slot {
            Ok(_) => self.metrics.opened(),
            Err(Full::Everything) => self.metrics.refused("everything"),
            Err(Full::Share) => self.metrics.refused("share"),
        }
        slot
    }

    fn find(self: &Arc<Self>, peer: IpAddr) -> Result<Slot, Full> {
        let peer = peer.to_canonical();
        let shared = peer.is_loopback() || self.proxies.trust(peer);
        let network = (!shared).then(|| ClientIp::new(peer).network());
        let mut taken = self.taken();
        if taken.all >= self.most {
            return Err(Full::Everything);
        }
        if let Some(network) = network {
            let share = (self.most / SHARE).max(1);
            if taken.by_network.get(&network).is_some_and(|count| *count >= share) {
                return Err(Full::Share);
            }
            *taken.by_network.entry(network).or_default() += 1;
        }
        taken.all += 1;
        drop(taken);
        Ok(Slot { slots: self.clone(), network })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.all -= 1;
        self.slots.metrics.closed();
        if let Some(network) = self.network
            && let Some(count) = taken.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_and_all_together_have_a_limit() {
        let slots =
            Slots::new(8, Proxies::new(vec!["10.0.0.0/8".parse().expect("a network")]), ConnectionMetrics::default());
        let take = |peer: &str| slots.take(peer.parse().expect("an address"));
        let full = |peer: &str| take(peer).err();
        let mut held: Vec<_> = (0..2).map(|_| take("192.0.2.1").expect("a slot")).collect();
        assert_eq!(full("192.0.2.1"), Some(Full::Share));
        assert_eq!(full("::ffff:192.0.2.1"), Some(Full::Share), "however it is written");
        held.extend(["2001:db8::1", "2001:db8::2"].map(|peer| take(peer).expect("a slot")));
        assert_eq!(full("2001:db8::3"), Some(Full::Share), "a /64 is one customer");
        held.extend(["10.0.0.1", "10.0.0.1", "10.0.0.1", "127.0.0.1"].map(|peer| take(peer).expect("a slot")));
        assert_eq!(full("198.51.100.1"), Some(Full::Everything));
        drop(held);
        assert!(slots.taken().by_network.is_empty(), "nothing is kept of those who left");
        assert_eq!((full("192.0.2.1"), slots.taken().all), (None, 0));
    }
}
