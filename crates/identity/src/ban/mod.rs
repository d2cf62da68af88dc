//! Addresses that are shut out: the table `banned_ips`, and what each server remembers of it.

pub(crate) mod list;
mod queries;
pub(crate) mod store;

use chrono::{DateTime, Utc};
use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BannedIp {
    /// The address, or a network.
    pub ip_address: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub banned_at: DateTime<Utc>,
    /// Until when; absent for a permanent one.
    pub expires_at: Option<DateTime<Utc>>,
    /// How often it was banned.
    pub ban_count: i32,
    /// Whether it has no end.
    pub is_permanent: bool,
    /// Who found it: `manual`, `cli` or what watches for abuse.
    pub ban_source: String,
}

impl BannedIp {
    /// Whether it holds at this time.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The network that a text names: an address is a network of one, written as it is written once.
pub fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let address = text.parse::<std::net::IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    address.or_else(|| text.parse::<IpNet>().ok().map(|network| canonical(network.trunc())))
}

/// A network of IPv4 addresses that are written as IPv6 ones is one of IPv4, as clients from it are known.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let v4 = mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(96));
    v4.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

/// How the table names a network.
pub(crate) fn written(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_name() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            (" ::ffff:192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.77/24", Some("192.0.2.0/24")),
            ("2001:DB8::0:1", Some("2001:db8::1")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("192.0.2.1/32", Some("192.0.2.1")),
            ("::ffff:192.0.2.77/120", Some("192.0.2.0/24")),
            ("::ffff:192.0.2.77/64", Some("::/64")),
            ("example.com", None),
            ("192.0.2.1:80", None),
        ] {
            assert_eq!(network(text).map(written).as_deref(), expected, "{text}");
        }
    }
}
