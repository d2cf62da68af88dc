//! Which addresses a provider may have. Checked when the configuration is read, and again when a name is resolved
//! (`upstream/resolver.rs`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use url::{Host, Url};

/// Whether an endpoint may be configured: it is a base URL, at an address that may be asked ([`check_address`]).
pub(super) fn check_endpoint(endpoint: &str, trusted: &BTreeSet<String>) -> Result<(), String> {
    let url = Url::parse(endpoint).map_err(|error| format!("`{endpoint}` is not a URL: {error}"))?;
    if endpoint.ends_with('/') {
        return Err(format!("`{endpoint}` ends with a slash"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("the endpoint carries a user, a query or a fragment".to_owned());
    }
    check_address(&url, trusted)
}

/// Whether messages may be sent to an address: the same, and it may have a query.
pub(crate) fn check_webhook(address: &str, trusted: &BTreeSet<String>) -> Result<(), String> {
    let url = Url::parse(address).map_err(|error| format!("the address is not a URL: {error}"))?;
    check_address(&url, trusted)
}

/// Whether a URL may be asked: https, or http to this machine or a trusted host; never a literal private address that is
/// not trusted. Names are checked again when they are resolved, see `upstream/resolver.rs`.
pub(crate) fn check_address(url: &Url, trusted: &BTreeSet<String>) -> Result<(), String> {
    // Without a query, which may hold a secret.
    let shown = &url[..url::Position::AfterPath];
    let host = url.host().ok_or_else(|| format!("`{shown}` has no host"))?;
    let is_trusted = trusted.contains(&host.to_string().to_ascii_lowercase());
    let (is_loopback, is_private) = match host {
        Host::Domain(name) => (name == "localhost" || name.ends_with(".localhost"), false),
        Host::Ipv4(ip) => (ip.is_loopback(), !is_public(ip.into())),
        Host::Ipv6(ip) => (ip.is_loopback(), !is_public(ip.into())),
    };
    match url.scheme() {
        _ if is_loopback || is_trusted => Ok(()),
        "https" if is_private => Err(format!("`{shown}` names a private address")),
        "https" => Ok(()),
        "http" => Err(format!("`{shown}` would send prompts and credentials in clear text")),
        other => Err(format!("`{shown}` has the scheme {other}")),
    }
}

/// The names and addresses of the metadata services of the clouds. Nothing but a metadata credential leads there.
const METADATA_HOSTS: [&str; 3] = ["metadata.google.internal", "169.254.169.254", "[fd00:ec2::254]"];

/// Whether the base URL of a metadata service may be configured: one of the clouds', which speak plain HTTP, or what an
/// endpoint may be.
pub(super) fn check_token_url(url: &str, trusted: &BTreeSet<String>) -> Result<(), String> {
    check_endpoint(url, &with_metadata(trusted))
}

/// The hosts that may be asked for a credential of this machine.
pub(crate) fn with_metadata(trusted: &BTreeSet<String>) -> BTreeSet<String> {
    trusted.iter().cloned().chain(METADATA_HOSTS.map(str::to_owned)).collect()
}

/// Whether an address is one of the public internet: not loopback, private, link-local, carrier-grade NAT (RFC 6598),
/// unspecified, multicast or documentation space.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                // Protocol assignments, benchmarking, reserved.
                || (a == 192 && b == 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240)
        }
        IpAddr::V6(ip) => {
            if let Some(mapped) = ip.to_ipv4_mapped() {
                return is_public(mapped.into());
            }
            let [first, second, ..] = ip.segments();
            // Addresses that carry an IPv4 address lead wherever that leads: NAT64, 6to4, IPv4-compatible.
            let octets = ip.octets();
            let inner = match (first, second) {
                (0x0064, 0xff9b) => octets.last_chunk::<4>().copied(),
                (0x2002, _) => octets[2..6].try_into().ok(),
                (0, 0) if octets[..12].iter().all(|octet| *octet == 0) => octets.last_chunk::<4>().copied(),
                _ => None,
            };
            if let Some(inner) = inner {
                return is_public(std::net::Ipv4Addr::from(inner).into());
            }
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
                || (first & 0xffc0) == 0xfec0
                || (first == 0x2001 && second == 0x0db8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let trusted = BTreeSet::from(["10.0.0.7".to_owned(), "llm.internal".to_owned()]);
        for (endpoint, accepted) in [
            ("https://api.anthropic.com/v1", true),
            ("https://api.anthropic.com/v1/", false),
            ("http://api.anthropic.com/v1", false),
            ("http://127.0.0.1:9000/v1", true),
            ("http://[::1]:9000", true),
            ("http://localhost:11434/v1", true),
            ("https://10.0.0.8/v1", false),
            ("https://[fd00::1]/v1", false),
            ("https://100.64.1.1/v1", false),
            ("https://169.254.169.254/latest", false),
            ("https://[64:ff9b::a9fe:a9fe]/latest", false),
            ("https://[2002:a00:1::]/v1", false),
            ("https://198.18.0.1/v1", false),
            ("https://[::ffff:10.0.0.8]/v1", false),
            ("http://10.0.0.7:8000/v1", true),
            ("http://llm.internal/v1", true),
            ("https://user:pw@example.com/v1", false),
            ("ftp://example.com", false),
            ("example.com/v1", false),
        ] {
            let verdict = check_endpoint(endpoint, &trusted);
            assert_eq!(verdict.is_ok(), accepted, "{endpoint}: {verdict:?}");
        }
    }
}
