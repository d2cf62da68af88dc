//! What was remembered of the chains, and whether it is still so: ends that somebody has seen, and beginnings that
//! retention has dropped.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use systemprompt_extension::ledger::{ChainHead, Checkpoint};
use uuid::Uuid;

use super::chain::Head;
use super::checkpoint::Remembered;
use super::entry::DROPPED;
use super::followed::{Begins, Followed};
use super::read::Places;
use super::report::LedgerProblem;

/// Hashes that were seen at one place, and when.
type Seen = Vec<(String, DateTime<Utc>)>;

/// What checkpoints say.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// By chain and place: every hash that was seen there, and when. All must agree, so that a forged checkpoint in the
    /// database cannot speak over a signed one.
    seen: BTreeMap<(Uuid, i64), Seen>,
    /// Where the home says that chains were cut by retention.
    signed: BTreeSet<(Uuid, i64, String)>,
    /// Where an entry says so: by what was cut, the place of the entry.
    noted: BTreeMap<(Uuid, i64, String), (Uuid, i64)>,
    /// How far the home has seen each chain.
    covered: BTreeMap<Uuid, i64>,
    /// Whether the home remembers anything.
    remembers: bool,
    /// From when on the home remembers, unless it has forgotten older things as it should.
    begins: Option<DateTime<Utc>>,
    /// The chain of the home.
    own: Option<Uuid>,
    /// The first entry of it that says which key signs, and when.
    names_key: Option<(i64, String, DateTime<Utc>)>,
}

impl Expected {
    /// What the home remembers.
    pub(super) fn of(home: &Remembered) -> Self {
        let mut expected =
            Self { remembers: !home.checkpoints.is_empty(), begins: home.begins(), own: home.chain, ..Self::default() };
        for checkpoint in home.checkpoints.iter().chain(&home.brought) {
            expected.add(checkpoint.at, &checkpoint.heads);
            for head in &checkpoint.heads {
                let covered = expected.covered.entry(head.chain).or_default();
                *covered = head.seq.max(*covered);
            }
            expected.add(checkpoint.at, &checkpoint.dropped);
            expected.signed.extend(checkpoint.dropped.iter().map(cut));
        }
        expected
    }

    /// What an entry that was followed says.
    pub(super) fn note(&mut self, chain: Uuid, seq: i64, checkpoint: &Checkpoint) {
        self.add(checkpoint.at, &checkpoint.heads);
        if checkpoint.reason == DROPPED {
            for head in &checkpoint.heads {
                self.noted.entry(cut(head)).or_insert((chain, seq));
            }
        }
        if Some(chain) == self.own
            && self.names_key.is_none()
            && let Some(key) = &checkpoint.key
        {
            self.names_key = Some((seq, key.clone(), checkpoint.at));
        }
    }

    fn add(&mut self, at: DateTime<Utc>, heads: &[ChainHead]) {
        for head in heads {
            self.seen.entry((head.chain, head.seq)).or_default().push((head.hash.clone(), at));
        }
    }

    /// The places that were seen, as far as the chains could be followed, a page at a time.
    pub(super) fn places(&self, followed: &BTreeMap<Uuid, Followed>, page: usize) -> Vec<Places> {
        let reached: Vec<(Uuid, i64)> = self
            .seen
            .keys()
            .filter(|(chain, seq)| followed.get(chain).is_some_and(|chain| chain.has(*seq)))
            .copied()
            .collect();
        let places = |some: &[(Uuid, i64)]| Places {
            chains: some.iter().map(|(chain, _)| *chain).collect(),
            seqs: some.iter().map(|(_, seq)| *seq).collect(),
        };
        reached.chunks(page).map(places).collect()
    }

    /// The problem if another hash than this was seen at the place.
    pub(super) fn differs(&self, chain: Uuid, seq: i64, hash: &str) -> Option<LedgerProblem> {
        let seen = self.seen.get(&(chain, seq))?;
        let (_, at) = seen.iter().find(|(seen, _)| seen != hash)?;
        let problem = format!("it is another one than the checkpoint of {at} saw");
        Some(LedgerProblem::at(chain, seq, problem))
    }

    /// What was seen and is not there any more, beginnings nobody has cut, and a home that has forgotten. What deserves to be
    /// known and is no problem comes second.
    pub(super) fn judge(&self, followed: &BTreeMap<Uuid, Followed>) -> (Vec<LedgerProblem>, Vec<String>) {
        let (mut problems, mut notes) = (Vec::new(), Vec::new());
        let mut missing: BTreeMap<Uuid, (i64, i64, DateTime<Utc>)> = BTreeMap::new();
        for ((chain, seq), seen) in &self.seen {
            let reached = followed.get(chain).map_or(0, |chain| chain.listed.max(chain.end.seq));
            if let Some((_, at)) = seen.first()
                && reached < *seq
            {
                // The last one that was seen says most.
                missing.insert(*chain, (reached + 1, *seq, *at));
            }
        }
        problems.extend(missing.into_iter().map(|(chain, (first, last, at))| {
            let problem = format!("entries {first} to {last} are missing: the checkpoint of {at} saw them");
            LedgerProblem::at(chain, first, problem)
        }));
        for (chain, Followed { start, begins, .. }) in followed.iter().filter(|(_, chain)| chain.start.seq > 0) {
            problems.extend(self.differs(*chain, start.seq, &hex::encode(start.hash)));
            if *begins == Begins::Chosen {
                continue;
            }
            match self.beginning(*chain, start) {
                Ok(note) => notes.extend(note),
                Err(problem) => problems.push(LedgerProblem::at(*chain, start.seq, problem)),
            }
        }
        if let Some((seq, key, at)) = &self.names_key
            && let Some(own) = self.own
        {
            let forgotten = match self.begins {
                Some(begins) if begins > *at => Some(format!("what the home remembers begins later, at {begins}")),
                None if !self.remembers => Some("the home has no checkpoint: its file or key is gone".to_owned()),
                _ => None,
            };
            let problem = |forgotten| format!("it says that the key {key} signed, and {forgotten}");
            problems.extend(forgotten.map(|forgotten| LedgerProblem::at(own, *seq, problem(forgotten))));
        }
        // One line for each place says it.
        problems.sort_by_key(|problem| (problem.chain, problem.seq));
        problems.dedup_by_key(|problem| (problem.chain, problem.seq));
        (problems, notes)
    }

    /// Whether retention has cut the chain here, as far as is known.
    fn beginning(&self, chain: Uuid, start: &Head) -> Result<Option<String>, String> {
        let cut = (chain, start.seq, hex::encode(start.hash));
        if self.signed.contains(&cut) {
            return Ok(None);
        }
        let begins = format!("entries 1 to {} are said to be dropped", start.seq);
        match self.noted.get(&cut) {
            // What this home has signed was there before.
            Some((by, seq)) if !self.remembers || self.covered.get(by).is_some_and(|covered| covered >= seq) => {
                let said = format!(
                    "chain {chain}: {begins} by entry {seq} of chain {by}, and not by a signature of this home"
                );
                Ok(Some(said))
            }
            Some((by, seq)) => Err(format!(
                "{begins} by entry {seq} of chain {by}, of which no checkpoint of this home knows yet, and not by a signature \
                 of this home"
            )),
            None => Err(format!("{begins}, and neither a signature of this home nor an entry says so")),
        }
    }
}

fn cut(head: &ChainHead) -> (Uuid, i64, String) {
    (head.chain, head.seq, head.hash.clone())
}
