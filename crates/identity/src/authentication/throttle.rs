//! Guessing is slow: who shows wrong credentials waits, longer each time, before the next one is looked at.
//!
//! What is counted is *different* wrong credentials: a program that goes on with a key that was revoked guesses nothing, and
//! the people behind its address are not to wait for it. An address has one account of failures, and one for each key it
//! names. Credentials that were right lately, wherever, are let through from an address that waits, also if it waits for guesses
//! at just that key, so that nobody is kept out by his neighbours; from any other address nobody waits.

use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use systemprompt_extension::{ClientIp, RateLimited};
use systemprompt_model::UserType;

use crate::api_key;

/// Wrong credentials of an address, and for a key, before anybody waits.
const FREE: u32 = 10;
const FREE_FOR_KEY: u32 = 5;
/// The first wait; each further failure doubles it.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(1);
/// The longest.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(5);
/// After so long without a failure everything is forgotten.
const FORGIVEN: Duration = Duration::from_mins(15);
/// A credential that was right is let through for this long.
const TRUSTED: Duration = Duration::from_hours(1);
/// Accounts that are kept.
const KEPT: u64 = 100_000;
/// Wrong credentials of an account that are known again.
const KNOWN_AGAIN: usize = 8;

/// The SHA-256 of a credential.
pub(super) type CredentialDigest = [u8; 32];

/// Whose failures are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Account {
    address: Ipv6Addr,
    /// The visible part of the credential, or nothing for all of the address.
    hint: Option<Box<str>>,
}

#[derive(Default)]
struct Failures {
    count: u32,
    until: DateTime<Utc>,
    /// The last wrong credentials, by the beginnings of their digests.
    seen: Vec<u64>,
}

/// Who waits.
#[derive(Clone)]
pub(crate) struct Throttle {
    failures: Cache<Account, Arc<Mutex<Failures>>>,
    /// The digests of credentials that were right lately, by what is visible of them.
    trusted: Cache<Box<str>, CredentialDigest>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self {
            failures: Cache::builder().max_capacity(KEPT).time_to_idle(FORGIVEN).build(),
            trusted: Cache::builder().max_capacity(KEPT).time_to_live(TRUSTED).build(),
        }
    }

    /// Whether a credential of this address may be looked at now. Nothing of a guess is hashed for that, unless it is one at a
    /// key that was right lately.
    pub(crate) fn admit(&self, client: ClientIp, credential: &str, now: DateTime<Utc>) -> Result<(), RateLimited> {
        let (of_address, of_key) = accounts(client, credential);
        let wait = |account: &Account| {
            let failures = self.failures.get(account)?;
            let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = (failures.until - now).to_std().ok().filter(|wait| !wait.is_zero())?;
            Some(RateLimited { tier: UserType::Anon, limit: u64::from(FREE), retry_after: wait, reset: wait })
        };
        match wait(&of_key).or_else(|| wait(&of_address)) {
            Some(refusal) if !self.was_right(credential) => Err(refusal),
            _ => Ok(()),
        }
    }

    fn was_right(&self, credential: &str) -> bool {
        let right = self.trusted.get(hint(credential));
        right.is_some_and(|right| right[..].ct_eq(&Sha256::digest(credential)[..]).into())
    }

    /// A credential was wrong.
    pub(crate) fn failed(&self, client: ClientIp, credential: &str, digest: &CredentialDigest, now: DateTime<Utc>) {
        let (of_address, of_key) = accounts(client, credential);
        let mut mark = [0; 8];
        mark.copy_from_slice(&digest[..8]);
        let mark = u64::from_be_bytes(mark);
        for (account, free) in [(of_address, FREE), (of_key, FREE_FOR_KEY)] {
            let failures = self.failures.get_with(account, Arc::default);
            failures.lock().unwrap_or_else(PoisonError::into_inner).add(mark, free, now);
        }
    }

    /// A credential was right.
    pub(crate) fn succeeded(&self, credential: &str, digest: &CredentialDigest) {
        let hint = hint(credential);
        if self.trusted.get(hint).as_ref() != Some(digest) {
            self.trusted.insert(hint.into(), *digest);
        }
    }
}

impl Failures {
    fn add(&mut self, mark: u64, free: u32, now: DateTime<Utc>) {
        if self.seen.contains(&mark) {
            return;
        }
        if self.seen.len() == KNOWN_AGAIN {
            self.seen.remove(0);
        }
        self.seen.push(mark);
        self.count = self.count.saturating_add(1);
        if let Some(over) = self.count.checked_sub(free) {
            let wait = FIRST_WAIT * (1 << over.min(16));
            self.until = now + wait.min(LONGEST_WAIT);
        }
    }
}

fn accounts(client: ClientIp, credential: &str) -> (Account, Account) {
    let address = client.network();
    (Account { address, hint: None }, Account { address, hint: Some(hint(credential).into()) })
}

/// What tells credentials apart without being one: the visible beginning of an API key, the end of a token's signature.
fn hint(credential: &str) -> &str {
    api_key::prefix_of(credential).unwrap_or_else(|| {
        let end = credential.char_indices().rev().nth(11).map_or(0, |(at, _)| at);
        &credential[end..]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> ClientIp {
        ClientIp::new([192, 0, 2, last].into())
    }

    fn digest(text: &str) -> [u8; 32] {
        Sha256::digest(text).into()
    }

    fn key(prefix: u8, secret: u32) -> String {
        format!("sp-live-{prefix:012x}.{secret:052x}")
    }

    #[test]
    fn who_guesses_waits_longer_each_time_and_nobody_else_does() {
        let throttle = Throttle::new();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let good = key(200, 1);
        throttle.succeeded(&good, &digest(&good));
        let mut last = Duration::ZERO;
        let (mut at, mut guesses) = (now, 0);
        for guess in 0..30 {
            // Each names another key, so that it is the address that is counted.
            let wrong = key(u8::try_from(guess).expect("few"), guess);
            match throttle.admit(client(1), &wrong, at) {
                Ok(()) => {
                    throttle.failed(client(1), &wrong, &digest(&wrong), at);
                    guesses += 1;
                }
                Err(refusal) => {
                    assert!(refusal.retry_after > last || refusal.retry_after == Duration::from_mins(5), "{refusal:?}");
                    last = refusal.retry_after;
                    at += TimeDelta::from_std(refusal.retry_after).expect("short");
                }
            }
        }
        assert!((18..=22).contains(&guesses), "{guesses}");
        assert!(throttle.admit(client(1), &key(0, 99), at - TimeDelta::seconds(1)).is_err());
        assert!(throttle.admit(client(1), &good, at - TimeDelta::seconds(1)).is_ok(), "it was right before");
        assert!(throttle.admit(client(2), &key(0, 99), at).is_ok(), "another address");
    }

    #[test]
    fn guesses_of_one_key_are_counted_for_it() {
        let throttle = Throttle::new();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        for guess in 0..FREE_FOR_KEY {
            let wrong = key(1, guess);
            throttle.admit(client(1), &wrong, now).expect("so many are free");
            throttle.failed(client(1), &wrong, &digest(&wrong), now);
        }
        let right = key(1, 100);
        throttle.succeeded(&right, &digest(&right));
        assert!(throttle.admit(client(1), &key(1, 99), now).is_err());
        assert!(throttle.admit(client(1), &right, now).is_ok(), "its owner");
        assert!(throttle.admit(client(1), &key(2, 99), now).is_ok(), "another key");
        assert!(throttle.admit(client(2), &key(1, 99), now).is_ok(), "another address");
    }

    #[test]
    fn a_program_with_an_old_key_guesses_nothing() {
        let throttle = Throttle::new();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let old = key(1, 1);
        for _ in 0..1000 {
            throttle.admit(client(1), &old, now).expect("it is one and the same");
            throttle.failed(client(1), &old, &digest(&old), now);
        }
    }
}
