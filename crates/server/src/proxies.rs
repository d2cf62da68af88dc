//! Whom a request comes from, when proxies hand it on.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use systemprompt_extension::ClientIp;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers that name the client alone, for proxies that do not write `X-Forwarded-For`.
const CLIENT: [HeaderName; 3] = [
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("fly-client-ip"),
    HeaderName::from_static("cf-connecting-ip"),
];

/// What proxies write besides. Whom they name there is not believed; that they are there is.
const TRACES: [HeaderName; 5] = [
    X_FORWARDED_FOR,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    FORWARDED,
    VIA,
];

/// Whether a proxy, trusted or not, handed the request on.
pub(crate) fn handed_on(headers: &HeaderMap) -> bool {
    CLIENT.iter().chain(&TRACES).any(|name| headers.contains_key(name))
}

/// The proxies whose word is believed (`server.trusted_proxies`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    pub(crate) fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted)
    }

    /// Who sent a request that arrived from `peer`.
    ///
    /// Each proxy appends whom it was called by, so the list is read from its end for as long as what it says comes from
    /// somebody trusted: the first stranger is the client. What stands before him is his own word.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientIp {
        let mut nearest = peer.to_canonical();
        if !self.trust(nearest) {
            return ClientIp::new(nearest);
        }
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.to_str().unwrap_or("unreadable").rsplit(','));
        let mut any = false;
        for hop in hops.map(str::trim).filter(|hop| !hop.is_empty()) {
            // A trusted proxy that hides its caller (`unknown`, RFC 7239 §6.2) is as far as we can see.
            let Some(address) = address(hop) else { return ClientIp::new(nearest) };
            nearest = address;
            any = true;
            if !self.trust(address) {
                break;
            }
        }
        if !any {
            let named = CLIENT.iter().find_map(|name| address(headers.get(name)?.to_str().ok()?.trim()));
            nearest = named.unwrap_or(nearest);
        }
        ClientIp::new(nearest)
    }

    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: bare, in brackets, with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_is_the_last_stranger_of_the_list() {
        let trusted = ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"].map(|network| network.parse().expect("a network"));
        let proxies = Proxies::new(trusted.to_vec());
        let forwarded = "x-forwarded-for";
        for (peer, headers, expected) in [
            // Strangers are not believed, whatever they say.
            ("203.0.113.1", &[(forwarded, "198.51.100.1"), ("x-real-ip", "198.51.100.2")][..], "203.0.113.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(forwarded, "198.51.100.1")], "198.51.100.1"),
            // What stands before the last stranger is his own word.
            ("10.0.0.1", &[(forwarded, "1.1.1.1, 198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(forwarded, "1.1.1.1, 198.51.100.1, 10.2.3.4, 192.0.2.7")], "198.51.100.1"),
            // Lines are one list.
            (
                "10.0.0.1",
                &[(forwarded, "1.1.1.1"), (forwarded, "198.51.100.1"), (forwarded, "10.9.9.9")],
                "198.51.100.1",
            ),
            // All are trusted: the client is one of ours.
            ("10.0.0.1", &[(forwarded, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            // IPv6 and its ways of writing.
            ("fd00::1", &[(forwarded, "2001:db8::5")], "2001:db8::5"),
            ("fd00::1", &[(forwarded, "[2001:db8::5]:4711")], "2001:db8::5"),
            ("fd00::1", &[(forwarded, "[2001:db8::5]")], "2001:db8::5"),
            ("::ffff:10.0.0.1", &[(forwarded, "::ffff:198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(forwarded, "198.51.100.1:1234")], "198.51.100.1"),
            // Nonsense ends the chain where it was still sense.
            ("10.0.0.1", &[(forwarded, "198.51.100.1, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(forwarded, "198.51.100.1, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(forwarded, " , ,")], "10.0.0.1"),
            // Headers that name one address count only without a list.
            ("10.0.0.1", &[("x-real-ip", "198.51.100.2")], "198.51.100.2"),
            ("10.0.0.1", &[("x-real-ip", "198.51.100.2"), (forwarded, "198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[("x-real-ip", "nobody"), ("cf-connecting-ip", "198.51.100.3")], "198.51.100.3"),
            ("10.0.0.1", &[("cf-connecting-ip", "198.51.100.3"), ("fly-client-ip", "198.51.100.4")], "198.51.100.4"),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let client = proxies.client(peer.parse().expect("an address"), &map);
            assert_eq!(client.to_string(), expected, "{peer} {headers:?}");
        }
    }
}
