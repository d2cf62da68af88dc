//! Limits of how many requests one caller may send, as routers see them.
//!
//! The server gives every request of a limited router a [`Meter`]. Whoever authenticates the request asks it twice: before,
//! when only the address is known, and after, when it is known whose request it is. [`Authenticate::identify`](crate::Authenticate::identify)
//! does both.

use std::fmt;
use std::future::Ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use systemprompt_config::profile::RateGroup;
use systemprompt_model::{Principal, UserType};

use crate::ClientIp;

/// Counts requests. There is one for the buckets of a process, and one for buckets that replicas share.
pub trait RateLimiter: Send + Sync {
    /// Counts a request of this address of which nothing else is known yet. Never waits.
    fn guard(&self, client: ClientIp) -> Result<(), RateLimited>;

    /// Counts a request of this caller in this group of endpoints. A caller without an account is counted by address.
    fn count<'a>(&'a self, group: RateGroup, caller: Option<&Principal>, client: ClientIp) -> Counting<'a>;
}

/// An answer that is mostly there at once.
pub type Counting<'a> = Either<Ready<Result<(), RateLimited>>, BoxFuture<'a, Result<(), RateLimited>>>;

/// Counts the requests of one address to one router; in the extensions of every request to a router that is limited.
#[derive(Clone)]
pub struct Meter {
    limiter: Arc<dyn RateLimiter>,
    group: Option<RateGroup>,
    client: ClientIp,
}

impl Meter {
    /// A meter for a request of this address to a router of this group; without a group only the address is counted.
    pub fn new(limiter: Arc<dyn RateLimiter>, group: Option<RateGroup>, client: ClientIp) -> Self {
        Self { limiter, group, client }
    }

    /// Refuses the request if its address has sent too many, to be called before anything is done for it that costs. The
    /// server has counted it already, and answers by itself where nobody asks.
    pub fn guard(&self) -> Result<(), RateLimited> {
        self.limiter.guard(self.client)
    }

    /// Counts the request as the caller's, who may be nobody.
    pub fn count(&self, caller: Option<&Principal>) -> Counting<'_> {
        match self.group {
            Some(group) => self.limiter.count(group, caller, self.client),
            None => Either::Left(std::future::ready(Ok(()))),
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("group", &self.group).field("client", &self.client).finish_non_exhaustive()
    }
}

/// Whether a client should send the request again, `true` or `false`.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A request was one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Rate limit exceeded")]
pub struct RateLimited {
    /// The kind of caller whose limit it is.
    pub tier: UserType,
    /// How many requests are possible at once after a pause; 0 when this kind of caller is blocked.
    pub limit: u64,
    /// When the next request is possible.
    pub retry_after: Duration,
    /// When as many requests as `limit` are possible at once again.
    pub reset: Duration,
}

impl RateLimited {
    /// Writes what clients go by: `Retry-After`, `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset` (both
    /// times in seconds from now) and `X-Rate-Limit-Tier`; the same as `RateLimit` and `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers). Who is blocked is not told to come back.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        if self.limit == 0 {
            headers.remove(RETRY_AFTER);
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        } else {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds(self.retry_after)));
            headers.insert(HeaderName::from_static("x-ratelimit-reset"), HeaderValue::from(seconds(self.reset)));
            let (tier, wait, window) = (self.tier, seconds(self.retry_after), seconds(self.reset));
            for (name, value) in [
                ("ratelimit", format!("\"{tier}\";r=0;t={wait}")),
                ("ratelimit-policy", format!("\"{tier}\";q={};w={window}", self.limit)),
            ] {
                headers.insert(HeaderName::from_static(name), value.try_into().expect("ASCII"));
            }
        }
        headers.insert(HeaderName::from_static("x-ratelimit-limit"), HeaderValue::from(self.limit));
        headers.insert(HeaderName::from_static("x-ratelimit-remaining"), HeaderValue::from(0));
        headers.insert(HeaderName::from_static("x-rate-limit-tier"), HeaderValue::from_static(self.tier.as_str()));
    }

    /// What to do, for people.
    pub fn advice(&self) -> String {
        if self.limit == 0 {
            return format!("callers of the tier `{}` are blocked here (rate_limits.tier_multipliers)", self.tier);
        }
        format!(
            "wait {} s, then send fewer requests; double the wait each time this is the answer (the limit of one caller of \
             the tier `{}`, rate_limits)",
            seconds(self.retry_after),
            self.tier
        )
    }
}

/// What `Retry-After` says of a limit of ours, in seconds. At most a minute: told to wait longer, coding assistants give up
/// at once, and whoever comes back too early is told again.
pub fn retry_after_seconds(wait: Duration) -> u64 {
    seconds(wait).min(60)
}

/// Whole seconds, at least one: who comes back earlier than told would be refused again.
fn seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_blocked_is_not_told_to_come_back() {
        for (limit, retry_after, should_retry) in [(5, Some("3"), None), (0, None, Some("false"))] {
            let wait = Duration::from_secs(3);
            let mut headers = HeaderMap::new();
            RateLimited { tier: UserType::User, limit, retry_after: wait, reset: wait }.write_headers(&mut headers);
            let told = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().expect("ASCII"));
            assert_eq!((told("retry-after"), told("x-should-retry")), (retry_after, should_retry), "{limit}");
            assert_eq!(told("x-ratelimit-reset"), retry_after, "{limit}");
            assert_eq!(told("x-ratelimit-remaining"), Some("0"), "{limit}");
            let standard = (limit > 0).then_some("\"user\";r=0;t=3");
            assert_eq!(told("ratelimit"), standard, "{limit}");
        }
    }
}
