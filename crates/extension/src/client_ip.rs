//! The address a request came from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The address a request comes from, in the request's extensions: the peer of its connection or, when that is one of
/// `server.trusted_proxies`, what the proxies say about theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientIp(IpAddr);

impl ClientIp {
    /// An address; an IPv4 address in IPv6 form (`::ffff:192.0.2.1`) is taken for what it is.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address.
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// What one customer of a network has: the address itself, of IPv6 the whole /64, in the form of IPv6.
    pub fn network(self) -> Ipv6Addr {
        match self.0 {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)),
        }
    }
}

impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_of_a_network_are_told_apart() {
        let network = |text: &str| ClientIp::new(text.parse().expect("an address")).network();
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
    }
}
