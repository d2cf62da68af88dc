//! `server`: where the HTTP server binds, how others reach it, what its answers carry.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::problems::Problems;

/// Where the HTTP server binds and how others reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The address to bind: `127.0.0.1`, `0.0.0.0`, `::1` or a host name of this machine.
    #[schemars(length(min = 1))]
    pub host: String,
    /// The port to bind.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The primary address of the API.
    pub api_server_url: String,
    /// The address that agents, MCP servers and hooks use.
    pub api_internal_url: String,
    /// The public address, in OAuth callbacks, agent cards, discovery documents and links.
    pub api_external_url: String,
    /// Whether the server is reached over HTTPS, which the external URL must then say too; it decides HSTS and secure
    /// cookies. On by itself when the external URL is https.
    #[serde(default)]
    pub use_https: bool,
    /// The certificate with which the server itself speaks TLS; without it a proxy does. Read at the start.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Origins of browsers that may call the API.
    #[serde(default)]
    pub cors_allowed_origins: Vec<String>,
    /// Markdown instead of HTML for clients that ask for it.
    #[serde(default)]
    pub content_negotiation: ContentNegotiation,
    /// Headers that protect browsers.
    #[serde(default)]
    pub security_headers: SecurityHeaders,
    /// Whether a change of the configuration's files comes into force by itself, within seconds. What cannot be in force
    /// without a restart waits for it, and what is not valid is refused as a whole. `admin config reload` asks for it.
    #[serde(default = "default_watch_configuration")]
    pub watch_configuration: bool,
    /// The name of this instance in stored log lines and on the health page; the host name by default.
    #[serde(default)]
    pub instance_id: Option<String>,
    /// The most HTTP/2 streams per connection.
    #[serde(default = "default_max_concurrent_streams")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrent_streams: u32,
    /// The most connections at once; further ones are closed. One address, or one /64 of IPv6, may have a quarter of them,
    /// unless it is one of `trusted_proxies` or of this machine.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// Addresses or networks (CIDR) of proxies whose forwarded headers are believed: `X-Forwarded-For`, then `X-Real-IP`,
    /// `Fly-Client-IP`, `CF-Connecting-IP`. Without them every request comes from the peer of its connection.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// How long a connection of HTTP/1 may rest between two requests, in seconds. Longer than proxies in front of it keep
    /// theirs, usually 60, so that none sends a request into a connection that is being closed.
    #[serde(default = "default_keep_alive_secs")]
    #[schemars(range(min = 1, max = 86_400))]
    pub keep_alive_secs: u64,
    /// How long open requests and streams may take after the order to stop, in seconds.
    #[serde(default = "default_shutdown_grace_secs")]
    #[schemars(range(min = 0, max = 86_400))]
    pub shutdown_grace_secs: u64,
}

/// The certificate of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain in PEM.
    pub cert_path: std::path::PathBuf,
    /// The private key in PEM.
    pub key_path: std::path::PathBuf,
}

/// Markdown instead of HTML for clients that ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContentNegotiation {
    /// Whether `Accept: text/markdown` or the suffix gives Markdown.
    pub enabled: bool,
    /// The suffix of the Markdown address of a page.
    pub markdown_suffix: String,
}

impl Default for ContentNegotiation {
    fn default() -> Self {
        Self { enabled: false, markdown_suffix: ".md".to_owned() }
    }
}

/// Headers that protect browsers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityHeaders {
    /// Whether they are sent.
    pub enabled: bool,
    /// `Strict-Transport-Security`; sent only when the external URL is https. `preload` is yours to add.
    pub hsts: String,
    /// `X-Frame-Options`.
    pub frame_options: FrameOptions,
    /// `X-Content-Type-Options`.
    pub content_type_options: String,
    /// `Referrer-Policy`.
    pub referrer_policy: ReferrerPolicy,
    /// `Permissions-Policy`.
    pub permissions_policy: String,
    /// `Content-Security-Policy`; none by default.
    pub content_security_policy: Option<String>,
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self {
            enabled: true,
            hsts: "max-age=63072000".to_owned(),
            frame_options: FrameOptions::Deny,
            content_type_options: "nosniff".to_owned(),
            referrer_policy: ReferrerPolicy::StrictOriginWhenCrossOrigin,
            permissions_policy: "camera=(), microphone=(), geolocation=()".to_owned(),
            content_security_policy: None,
        }
    }
}

/// `X-Frame-Options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum FrameOptions {
    /// Nobody may frame our pages.
    Deny,
    /// Only our own pages may.
    SameOrigin,
}

/// `Referrer-Policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the values of the header")]
pub enum ReferrerPolicy {
    NoReferrer,
    NoReferrerWhenDowngrade,
    Origin,
    OriginWhenCrossOrigin,
    SameOrigin,
    StrictOrigin,
    StrictOriginWhenCrossOrigin,
    UnsafeUrl,
}

impl Server {
    /// Whether those outside reach the server over HTTPS.
    pub fn is_https(&self) -> bool {
        self.api_external_url.starts_with("https://")
    }

    /// The networks of [`Self::trusted_proxies`]; a single address is a network of one.
    pub fn proxy_networks(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().filter_map(|text| network(text)).collect()
    }
}

impl FrameOptions {
    /// The value of the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "DENY",
            Self::SameOrigin => "SAMEORIGIN",
        }
    }
}

impl ReferrerPolicy {
    /// The value of the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoReferrer => "no-referrer",
            Self::NoReferrerWhenDowngrade => "no-referrer-when-downgrade",
            Self::Origin => "origin",
            Self::OriginWhenCrossOrigin => "origin-when-cross-origin",
            Self::SameOrigin => "same-origin",
            Self::StrictOrigin => "strict-origin",
            Self::StrictOriginWhenCrossOrigin => "strict-origin-when-cross-origin",
            Self::UnsafeUrl => "unsafe-url",
        }
    }
}

fn default_max_connections() -> u32 {
    10_000
}

fn default_max_concurrent_streams() -> u32 {
    256
}

const fn default_watch_configuration() -> bool {
    true
}

fn default_keep_alive_secs() -> u64 {
    75
}

fn default_shutdown_grace_secs() -> u64 {
    30
}

pub(super) fn check(server: &Server, is_cloud: bool, problems: &mut Problems<'_>) {
    if !is_bindable(&server.host) {
        let quoted = problems.quote("/server/host", &server.host);
        problems.error("/server/host", format!("must be an IP address or a host name, got {quoted}"));
    }
    for (key, text) in [
        ("api_server_url", &server.api_server_url),
        ("api_internal_url", &server.api_internal_url),
        ("api_external_url", &server.api_external_url),
    ] {
        let pointer = format!("/server/{key}");
        let url = match http_url(text) {
            Ok(url) => url,
            Err(reason) => {
                let quoted = problems.quote(&pointer, text);
                problems.error(&pointer, format!("{reason}, got {quoted}"));
                continue;
            }
        };
        if text.ends_with('/') {
            problems.error(&pointer, "must not end in a slash").hint(format!("write {}", text.trim_end_matches('/')));
        }
        if key == "api_external_url" && is_cloud {
            if is_loopback(&url) {
                problems
                    .error(&pointer, "is an address of this machine, which nobody else can reach on a cloud target");
            } else if url.scheme() == "http" {
                problems.warning(&pointer, "should be https on a cloud target");
            }
        }
        if key == "api_internal_url" && url.port_or_known_default() != Some(server.port) {
            let port = url.port_or_known_default().unwrap_or_default();
            problems.warning(&pointer, format!("has port {port}, but the server binds {}", server.port));
        }
    }
    for (index, origin) in server.cors_allowed_origins.iter().enumerate() {
        let pointer = format!("/server/cors_allowed_origins/{index}");
        match check_origin(origin) {
            Err(reason) => {
                let quoted = problems.quote(&pointer, origin);
                problems.error(&pointer, format!("{reason}, got {quoted}"));
            }
            Ok(url) if url.scheme() == "http" && !is_loopback(&url) => {
                problems.warning(&pointer, "allows an origin over plain http that is not this machine");
            }
            Ok(_) => {}
        }
    }
    for (index, proxy) in server.trusted_proxies.iter().enumerate() {
        if network(proxy).is_none() {
            let pointer = format!("/server/trusted_proxies/{index}");
            let quoted = problems.quote(&pointer, proxy);
            problems.error(&pointer, format!("must be an IP address or a network such as 10.0.0.0/8, got {quoted}"));
        }
    }
    if !server.is_https() && http_url(&server.api_external_url).is_ok() {
        let why = "but server.api_external_url is http, so there are no HSTS header and no https links";
        if server.use_https {
            problems.warning("/server/use_https", format!("is on, {why}"));
        }
        if server.tls.is_some() {
            problems.warning("/server/tls", format!("is set, {why}"));
        }
    }
    for (key, path) in server.tls.iter().flat_map(|tls| [("cert_path", &tls.cert_path), ("key_path", &tls.key_path)]) {
        if !path.is_file() {
            problems.error(&format!("/server/tls/{key}"), format!("there is no file {}", path.display()));
        }
    }
}

/// An absolute http or https URL with a host.
pub(crate) fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be an absolute URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must be an http or https URL");
    }
    if url.host().is_none() {
        return Err("must name a host");
    }
    Ok(url)
}

fn check_origin(text: &str) -> Result<Url, &'static str> {
    if text.contains('*') {
        return Err("must be one origin, without wildcards");
    }
    let url = http_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must be an origin, without a query");
    }
    if text.ends_with('/') {
        return Err("must not end in a slash");
    }
    if url.path() != "/" || !url.username().is_empty() {
        return Err("must be an origin: scheme, host and port only");
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    }
}

fn is_bindable(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
        || (!host.starts_with(['-', '.'])
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')))
}

/// `10.0.0.0/8`, or an address, which is a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use crate::profile::problems_of;

    fn check(prefix: &str, changes: &str, expected: &[&str]) {
        let mut keys: Vec<(&str, &str)> = vec![
            ("host", "127.0.0.1"),
            ("port", "8080"),
            ("api_server_url", "http://localhost:8080"),
            ("api_internal_url", "http://localhost:8080"),
            ("api_external_url", "http://localhost:8080"),
        ];
        for change in changes.split("; ").filter(|change| !change.is_empty()) {
            let (key, value) = change.split_once(": ").unwrap();
            keys.retain(|(existing, _)| *existing != key);
            keys.push((key, value));
        }
        let keys: Vec<_> = keys.iter().map(|(key, value)| format!("  {key}: {value}")).collect();
        assert_eq!(problems_of(&format!("{prefix}server:\n{}\n", keys.join("\n"))), expected, "{changes}");
    }

    #[test]
    fn addresses() {
        check("", "", &[]);
        check("", "host: '::1'", &[]);
        check("", "host: 'a b'", &["server.host: must be an IP address or a host name, got `a b`"]);
        check("", "api_server_url: localhost", &["server.api_server_url: must be an absolute URL, got `localhost`"]);
        check("", "api_server_url: ws://h", &["server.api_server_url: must be an http or https URL, got `ws://h`"]);
        check("", "api_server_url: http://h/", &["server.api_server_url: must not end in a slash"]);
        check(
            "",
            "api_internal_url: http://localhost",
            &["warning: server.api_internal_url: has port 80, but the server binds 8080"],
        );
    }

    #[test]
    fn a_cloud_target_is_reached_from_outside() {
        check(
            "target: cloud\n",
            "",
            &["server.api_external_url: is an address of this machine, which nobody else can reach on a cloud target"],
        );
        check(
            "target: cloud\n",
            "api_external_url: http://example.com",
            &["warning: server.api_external_url: should be https on a cloud target"],
        );
        check("target: cloud\n", "api_external_url: https://example.com", &[]);
    }

    #[test]
    fn origins_and_proxies() {
        check(
            "",
            "cors_allowed_origins: ['https://a.b', 'http://localhost:1', '*', 'https://a.b/', 'https://a.b/c', 'https://a.b?x', 'http://a.b', 'ftp://a']",
            &[
                "server.cors_allowed_origins[2]: must be one origin, without wildcards, got `*`",
                "server.cors_allowed_origins[3]: must not end in a slash, got `https://a.b/`",
                "server.cors_allowed_origins[4]: must be an origin: scheme, host and port only, got `https://a.b/c`",
                "server.cors_allowed_origins[5]: must be an origin, without a query, got `https://a.b?x`",
                "warning: server.cors_allowed_origins[6]: allows an origin over plain http that is not this machine",
                "server.cors_allowed_origins[7]: must be an http or https URL, got `ftp://a`",
            ],
        );
        check(
            "",
            "trusted_proxies: ['10.0.0.1', '10.0.0.0/8', 'fd00::/64', '10.0.0.0/33', 'proxy']",
            &[
                "server.trusted_proxies[3]: must be an IP address or a network such as 10.0.0.0/8, got `10.0.0.0/33`",
                "server.trusted_proxies[4]: must be an IP address or a network such as 10.0.0.0/8, got `proxy`",
            ],
        );
    }

    #[test]
    fn https_is_what_the_external_url_says() {
        let so = "but server.api_external_url is http, so there are no HSTS header and no https links";
        check("", "use_https: true", &[&format!("warning: server.use_https: is on, {so}")]);
        check("", "use_https: true; api_external_url: https://example.com", &[]);
        check(
            "",
            "tls: {cert_path: /nowhere/cert.pem, key_path: /nowhere/key.pem}; api_external_url: https://example.com",
            &[
                "server.tls.cert_path: there is no file /nowhere/cert.pem",
                "server.tls.key_path: there is no file /nowhere/key.pem",
            ],
        );
    }

    #[test]
    fn an_open_production_server_is_warned_about() {
        check(
            "runtime: {environment: production}\nsecrets: {validation: strict}\nrate_limits: {disabled: true}\n",
            "host: 0.0.0.0",
            &[
                "warning: server.host: listens on every address in production while rate limits are disabled",
                "warning: rate_limits.disabled: is on in production",
            ],
        );
    }
}
