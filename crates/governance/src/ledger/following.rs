//! One chain, followed entry by entry.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use systemprompt_extension::ledger::{LedgerEntry, Record};
use systemprompt_model::with_causes;
use uuid::Uuid;

use super::chain::{Head, link_hash};
use super::checkpoint::SignedCheckpoint;
use super::expected::Expected;
use super::followed::{Begins, Followed};
use super::read::{self, StoredEntry};
use super::report::LedgerProblem;
use super::text::{Sha, sha256};

/// How many problems of one chain are named. Whoever did more did it to everything.
const NAMED: usize = 100;

/// Follows one chain. Where something is wrong it goes on with what is stored there, so that one change hides no other.
pub(super) struct ChainCheck {
    pub(super) chain: Uuid,
    start: Head,
    begins: Begins,
    /// The last entry that was read.
    at: Head,
    /// What may be the hash of it instead, if what is stored there is not what it should be.
    or_hash: Option<Sha>,
    /// The last entry before the first problem; nothing as long as there is none.
    sound: Option<Head>,
    problems: Vec<LedgerProblem>,
    more: usize,
    /// The keys that signed checkpoints of it, and where first.
    keys: BTreeSet<String>,
    signed: Vec<(i64, String)>,
}

impl ChainCheck {
    pub(super) fn new(chain: Uuid, start: Head, begins: Begins) -> Self {
        Self {
            chain,
            start,
            begins,
            at: start,
            or_hash: None,
            sound: None,
            problems: Vec::new(),
            more: 0,
            keys: BTreeSet::new(),
            signed: Vec::new(),
        }
    }

    /// Behind which entry reading goes on.
    pub(super) fn place(&self) -> (i64, DateTime<Utc>) {
        (self.at.seq, self.at.at)
    }

    /// How far it is sound. `listed`: where it is said to end, if nobody followed it that far.
    pub(super) fn followed(&self, listed: Option<i64>) -> Followed {
        let end = self.sound.unwrap_or(self.at);
        let listed = listed.filter(|_| self.sound.is_none()).unwrap_or(end.seq);
        Followed { start: self.start, begins: self.begins, end, listed }
    }

    /// Everything that is wrong, and the keys that signed checkpoints of it, with the places where they first did.
    pub(super) fn findings(self) -> (Vec<LedgerProblem>, Vec<(i64, String)>) {
        let mut problems = self.problems;
        if self.more > 0 {
            let more = format!("{} more entries of this chain are not as they should be", self.more);
            problems.push(LedgerProblem { chain: Some(self.chain), ..LedgerProblem::of(more) });
        }
        (problems, self.signed)
    }

    /// Looks at the next entry. What it says about chains is expected from now on, if nothing was wrong so far.
    pub(super) fn follow(&mut self, entry: &StoredEntry, expected: &mut Expected) {
        let stored = Sha::try_from(entry.hash.as_slice()).ok();
        if entry.seq <= self.at.seq {
            self.broken(Some(entry), "there is another entry at this place".to_owned());
            self.at.at = self.at.at.max(entry.at);
            return;
        }
        if entry.seq > self.at.seq + 1 {
            let (first, last) = (self.at.seq + 1, entry.seq - 1);
            let problem = if first == last {
                format!("entry {first} is missing; the next one is {}", entry.seq)
            } else {
                format!("entries {first} to {last} are missing; the next one is {}", entry.seq)
            };
            self.broken(None, problem);
            // What it follows is gone, so it is taken as it is stored.
            self.go_on(entry, stored, None);
            return;
        }
        let body = sha256(entry.body.as_bytes());
        let computed = link_hash(&self.at.hash, entry.seq, entry.at, &body);
        let other = self.or_hash.map(|hash| link_hash(&hash, entry.seq, entry.at, &body));
        if stored != Some(computed) && (other.is_none() || stored != other) {
            self.broken(Some(entry), "it was changed, or does not follow the entry before it".to_owned());
            // Either its hash was changed, or something else of it.
            self.go_on(entry, stored.or(Some(computed)), Some(computed));
            return;
        }
        if entry.at < self.at.at {
            self.broken(Some(entry), "it is older than the entry before it".to_owned());
        } else if read::said(&entry.body) != (entry.kind.clone(), entry.action) {
            self.broken(Some(entry), "its columns say something else than its body".to_owned());
        } else {
            match entry.read() {
                Ok(Some(LedgerEntry { record: Record::Checkpoint(checkpoint), .. })) => {
                    match SignedCheckpoint::in_log(&checkpoint) {
                        Some(signed) if !signed.is_consistent() => {
                            self.broken(Some(entry), "its signature is not one of the key it names".to_owned());
                        }
                        Some(signed) if self.keys.insert(signed.signature.key.clone()) => {
                            self.signed.push((entry.seq, signed.signature.key));
                        }
                        _ => {}
                    }
                    if self.sound.is_none() {
                        expected.note(self.chain, entry.seq, &checkpoint);
                    }
                }
                // Of a kind that is not known here the chain is what counts.
                Ok(_) => {}
                Err(error) => self.broken(Some(entry), format!("it cannot be read: {}", with_causes(&error))),
            }
        }
        self.go_on(entry, stored, None);
    }

    /// Compares where the chain is said to end with where it does.
    pub(super) fn ends(&mut self, seq: i64, hash: &[u8], at: DateTime<Utc>) {
        if self.at.seq < seq {
            let first = self.at.seq + 1;
            self.broken(None, format!("entry {first} is missing: the recorded end of the chain is {seq}"));
        } else if self.at.hash[..] != *hash && self.or_hash.is_none_or(|other| other[..] != *hash) {
            let problem = "the recorded end of the chain has another hash than its last entry".to_owned();
            self.broken_at(self.at.seq, None, problem);
        } else if self.at.seq > self.start.seq && self.at.at != at {
            let problem = "the recorded end of the chain has another time than its last entry".to_owned();
            self.broken_at(self.at.seq, None, problem);
        }
    }

    fn go_on(&mut self, entry: &StoredEntry, hash: Option<Sha>, or_hash: Option<Sha>) {
        self.at = Head { seq: entry.seq, hash: hash.unwrap_or_default(), at: entry.at.max(self.at.at) };
        self.or_hash = or_hash;
    }

    fn broken(&mut self, entry: Option<&StoredEntry>, problem: String) {
        let seq = entry.map_or(self.at.seq + 1, |entry| entry.seq);
        self.broken_at(seq, entry, problem);
    }

    fn broken_at(&mut self, seq: i64, entry: Option<&StoredEntry>, problem: String) {
        self.sound.get_or_insert(self.at);
        if self.problems.len() == NAMED {
            self.more += 1;
            return;
        }
        self.problems.push(LedgerProblem {
            action: entry.map(|entry| entry.action).filter(|action| !action.is_nil()),
            ..LedgerProblem::at(self.chain, seq, problem)
        });
    }
}
