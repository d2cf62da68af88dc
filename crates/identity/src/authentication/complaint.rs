//! What the log says of credentials that were refused: who came from where with what, and why. Who shows wrong ones must not
//! be able to fill it, so an address has a line in a while, and all together have some.

use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use systemprompt_extension::{ClientIp, RefusedBecause};

/// An address has a line in so much time.
const EVERY: TimeDelta = TimeDelta::seconds(10);
/// All together have so many in as much.
const LINES: u32 = 20;
/// Addresses that are remembered.
const KEPT: u64 = 10_000;

/// Says what was refused, and how often it did not.
#[derive(Clone)]
pub(crate) struct Complaints {
    of_addresses: Cache<(Ipv6Addr, RefusedBecause), Arc<Mutex<Silence>>>,
    together: Arc<Mutex<Together>>,
}

#[derive(Default)]
struct Silence {
    until: DateTime<Utc>,
    unsaid: u64,
}

#[derive(Default)]
struct Together {
    since: DateTime<Utc>,
    lines: u32,
}

impl Complaints {
    pub(crate) fn new() -> Self {
        let of_addresses = Cache::builder().max_capacity(KEPT).time_to_idle(Duration::from_mins(10)).build();
        Self { of_addresses, together: Arc::default() }
    }

    /// Says that a credential was refused; `prefix` is the visible part of an API key.
    pub(crate) fn refused(
        &self,
        client: Option<ClientIp>,
        prefix: Option<&str>,
        because: RefusedBecause,
        why: &dyn std::fmt::Display,
        now: DateTime<Utc>,
    ) {
        let Some(unsaid) = self.may_say(client, because, now) else { return };
        let client_ip = client.map(tracing::field::display);
        let (reason, unsaid) = (because.as_str(), (unsaid > 0).then_some(unsaid));
        tracing::info!(client_ip, key_prefix = prefix, reason, %why, unsaid, "a credential was refused");
    }

    /// How many such lines were left out, if this one may be said.
    fn may_say(&self, client: Option<ClientIp>, because: RefusedBecause, now: DateTime<Utc>) -> Option<u64> {
        let address = client.map_or(Ipv6Addr::UNSPECIFIED, ClientIp::network);
        let silence = self.of_addresses.get_with((address, because), Arc::default);
        let mut silence = silence.lock().unwrap_or_else(PoisonError::into_inner);
        if now < silence.until || !self.has_room(now) {
            silence.unsaid += 1;
            return None;
        }
        silence.until = now + EVERY;
        Some(std::mem::take(&mut silence.unsaid))
    }

    fn has_room(&self, now: DateTime<Utc>) -> bool {
        let mut together = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        if !(together.since..together.since + EVERY).contains(&now) {
            *together = Together { since: now, lines: 0 };
        }
        together.lines += 1;
        together.lines <= LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_fills_the_log() {
        let complaints = Complaints::new();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let client = |number: u32| Some(ClientIp::new(std::net::Ipv4Addr::from_bits(number).into()));
        let say = |number, at| complaints.may_say(client(number), RefusedBecause::Unknown, at);
        assert_eq!(say(0, now), Some(0));
        for _ in 0..100 {
            assert_eq!(say(0, now + TimeDelta::seconds(1)), None);
        }
        assert_eq!(complaints.may_say(client(0), RefusedBecause::Expired, now), Some(0), "that is something else");
        let said = (1..1000).filter(|number| say(*number, now).is_some()).count();
        assert_eq!(said as u32, LINES - 2, "of many addresses");
        assert_eq!(say(0, now + EVERY), Some(100), "and how often it was not said");
    }
}
