//! Whether a request comes from the server's own machine.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

use crate::listener::Peer;
use crate::proxies::handed_on;

/// Whether a request comes from this machine, was not handed on by a proxy on it, and not made by a page that a browser on
/// it shows: such a page has an origin, or has come by a name of its own that resolves to this machine (DNS rebinding).
pub(crate) fn is_local(request: &Request) -> bool {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.ip().to_canonical());
    peer.is_some_and(|ip| ip.is_loopback())
        && !handed_on(headers)
        && !headers.contains_key(ORIGIN)
        && asked_host(request).is_some_and(is_loopback_name)
}

/// The host a request is for: `Host`, or `:authority` of HTTP/2.
fn asked_host(request: &Request) -> Option<Authority> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (request.uri().authority(), hosts.next(), hosts.next()) {
        (Some(authority), None, None) => Some(authority.clone()),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        // Both are allowed if they agree (RFC 9113 §8.3.1).
        (Some(authority), Some(host), None) => {
            Authority::try_from(host.as_bytes()).ok().filter(|host| host == authority)
        }
        _ => None,
    }
}

fn is_loopback_name(authority: Authority) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn local_is_who_asks_this_machine_by_its_name_from_this_machine() {
        let here = "127.0.0.1";
        for (peer, uri, headers, expected) in [
            (here, "/metrics", &[("host", "localhost:8080")][..], true),
            (here, "/metrics", &[("host", "127.0.0.1")], true),
            ("::1", "/metrics", &[("host", "[::1]:8080")], true),
            ("::ffff:127.0.0.1", "/metrics", &[("host", "LOCALHOST")], true),
            (here, "http://localhost:8080/metrics", &[], true),
            (here, "http://localhost/metrics", &[("host", "localhost")], true),
            (here, "http://localhost/metrics", &[("host", "example.com")], false),
            (here, "http://example.com/metrics", &[("host", "localhost")], false),
            ("192.0.2.1", "/metrics", &[("host", "localhost")], false),
            (here, "/metrics", &[], false),
            (here, "/metrics", &[("host", "localhost"), ("host", "localhost")], false),
            (here, "/metrics", &[("host", "rebound.example.com")], false),
            (here, "/metrics", &[("host", "localhost.example.com")], false),
            (here, "/metrics", &[("host", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("origin", "http://localhost:3000")], false),
            (here, "/metrics", &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("forwarded", "for=192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("x-real-ip", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("fly-client-ip", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("cf-connecting-ip", "192.0.2.1")], false),
            (here, "/metrics", &[("host", "localhost"), ("via", "1.1 proxy")], false),
        ] {
            let mut request = Request::get(uri).body(Body::empty()).expect("a request");
            for (name, value) in headers {
                request.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            let peer: IpAddr = peer.parse().expect("an address");
            request.extensions_mut().insert(Peer((peer, 4711).into()));
            assert_eq!(is_local(&request), expected, "{peer} {uri} {headers:?}");
        }
    }
}
