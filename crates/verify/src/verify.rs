//! Whether an export is whole, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chain::{Follower, Held, first};
use crate::format::{Checkpoint, End, Entry, FORMAT, Head, Header, Key, Line, Link};
use crate::read::{Lines, ReadError};

/// How many problems are named.
const NAMED: usize = 1000;

/// What the reader knows from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The keys that are trusted. If there are none, those of the export are, and the report says so.
    pub keys: Vec<Key>,
    /// Checkpoints that were kept.
    pub checkpoints: Vec<Checkpoint>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many entries are sound.
    pub verified: u64,
    /// How many a filter left out; their hashes are sound.
    #[serde(skip_serializing_if = "is_none")]
    pub left_out: u64,
    /// Each chain.
    pub chains: Vec<ChainReport>,
    /// How many checkpoints are signed by a key that is trusted.
    pub checkpoints: u64,
    /// The keys that are trusted.
    pub keys: Vec<String>,
    /// Everything that is not as it should be.
    pub problems: Vec<Problem>,
    /// What deserves to be known and is no problem.
    pub notes: Vec<String>,
}

/// One chain, as far as it is sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The chain.
    pub chain: Uuid,
    /// The installation that writes it.
    pub name: String,
    /// The first entry.
    pub from_seq: i64,
    /// The last one that is sound.
    pub to_seq: i64,
    /// The last one that a trusted signature covers.
    pub signed_until: i64,
    /// The hash of the last entry, as the header says.
    pub head: String,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line it is in.
    pub line: Option<u64>,
    /// The chain.
    pub chain: Option<Uuid>,
    /// The entry.
    pub seq: Option<i64>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!("line {line}"));
        let chain = self.chain.map(|chain| format!("chain {chain}"));
        let seq = self.seq.map(|seq| format!("entry {seq}"));
        let place = [line, chain, seq].into_iter().flatten().collect::<Vec<_>>().join(", ");
        if place.is_empty() { f.write_str(&self.problem) } else { write!(f, "{place}: {}", self.problem) }
    }
}

/// A place that somebody has seen.
struct Seen {
    hash: String,
    by: String,
    is_signed: bool,
}

struct Verification {
    report: Report,
    header: Option<Header>,
    chains: BTreeMap<Uuid, Follower>,
    keys: Vec<Key>,
    seen: BTreeMap<(Uuid, i64), Vec<Seen>>,
    /// What retention dropped, as somebody with a trusted key says.
    dropped: BTreeSet<(Uuid, i64, String)>,
    counted: End,
    end: Option<End>,
    more: usize,
}

/// A checkpoint as an entry of the log has it.
#[derive(Deserialize)]
struct Recorded {
    at: i64,
    heads: Vec<Head>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    public_key: Option<String>,
    reason: String,
    #[serde(default)]
    signature: Option<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether nothing is wrong, and there is something.
    pub fn proves_something(&self) -> bool {
        self.is_sound() && self.verified + self.left_out > 0
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A time in words, or as it is if it is none.
fn time(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| micros.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Reads the export twice, and says what is wrong with it.
pub fn verify(lines: &mut (impl Lines + ?Sized), trust: &Trust) -> Result<Report, ReadError> {
    let mut verification = Verification {
        report: Report::default(),
        header: None,
        chains: BTreeMap::new(),
        keys: trust.keys.clone(),
        seen: BTreeMap::new(),
        dropped: BTreeSet::new(),
        counted: End::default(),
        end: None,
        more: 0,
    };
    while let Some((number, line)) = lines.next()? {
        if verification.header.is_none() && !matches!(line, Line::Header(_)) {
            return Err(ReadError::Line { line: number, why: "an export begins with its header".to_owned() });
        }
        if verification.end.is_some() {
            verification.problem(Some(number), None, "it stands behind the end");
        }
        match line {
            Line::Header(header) if verification.header.is_none() => verification.begin(header, number)?,
            Line::Header(_) => verification.problem(Some(number), None, "it is another header"),
            Line::Entry(entry) => verification.entry(number, &entry),
            Line::Link(link) => verification.link(number, &link),
            Line::Checkpoint(checkpoint) => verification.checkpoint(number, &checkpoint),
            Line::End(end) => verification.end = Some(end),
        }
    }
    let Some(header) = verification.header.take() else {
        return Err(ReadError::Line { line: 1, why: "the export is empty".to_owned() });
    };
    for checkpoint in &trust.checkpoints {
        verification.see(checkpoint, "a checkpoint that was kept elsewhere", true);
    }
    verification.ends(&header, !trust.keys.is_empty());

    lines.rewind()?;
    while let Some((number, line)) = lines.next()? {
        match line {
            Line::Entry(entry) => verification.compare(number, entry.chain, &Held::from(&entry)),
            Line::Link(link) => verification.compare(number, link.chain, &Held::from(&link)),
            Line::Header(_) | Line::Checkpoint(_) | Line::End(_) => {}
        }
    }
    Ok(verification.finish())
}

impl Verification {
    fn begin(&mut self, header: Header, line: u64) -> Result<(), ReadError> {
        if header.format != FORMAT {
            let why = format!("its form is `{}`; this program reads `{FORMAT}`", header.format);
            return Err(ReadError::Line { line, why });
        }
        let known: Vec<Key> = header.keys.iter().filter(|key| key.is_key()).cloned().collect();
        if self.keys.is_empty() {
            if !known.is_empty() {
                let own =
                    "the keys are the export's own: compare them with those you were given, or name these with --key";
                self.report.notes.push(own.to_owned());
            }
            self.keys = known;
        } else {
            // A key that one of them vouches for is as good; keys are listed in the order in which they followed each other.
            for key in known {
                let vouched = self.keys.iter().any(|before| key.is_endorsed_by(before));
                if vouched && !self.keys.contains(&key) {
                    self.keys.push(key);
                }
            }
        }
        for span in &header.chains {
            if !(0 <= span.after.seq && span.after.seq <= span.end.seq && span.end.seq < i64::MAX) {
                let (after, end) = (span.after.seq, span.end.seq);
                let why = format!("of the chain {} it lists the entries after {after} to {end}", span.chain);
                return Err(ReadError::Line { line, why });
            }
            if self.chains.insert(span.chain, Follower::new(span.clone())).is_some() {
                let problem = "the header lists it twice".to_owned();
                self.add(Problem { line: Some(line), chain: Some(span.chain), seq: None, problem });
            }
        }
        // No signature covers the header: what it says was left out is for the reader to hold against what was asked for.
        if let Some(since) = header.since {
            self.note(format!("it begins at {}, as the header says: what was written before is not here", time(since)));
        }
        if let Some(until) = header.until {
            self.note(format!(
                "it ends before {}, as the header says: what was written since is not here",
                time(until)
            ));
        }
        if !header.filter.is_empty() {
            let filter: Vec<String> = header.filter.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            let filter = filter.join(", ");
            self.note(format!("the header says that of the entries those are here that fit {filter}, and checkpoints"));
        }
        self.header = Some(header);
        Ok(())
    }

    fn entry(&mut self, number: u64, entry: &Entry) {
        self.counted.entries += 1;
        let place = Some((entry.chain, entry.seq));
        let Some(chain) = self.chains.get_mut(&entry.chain) else {
            return self.problem(Some(number), place, "the header does not list its chain");
        };
        if let Err(problem) = chain.follow(&Held::from(entry)) {
            return self.problem(Some(number), place, &problem);
        }
        // Most entries are none; their bodies need not be read.
        if !entry.body.contains(r#""kind":"checkpoint""#) {
            return;
        }
        let Ok(recorded) = serde_json::from_str::<Recorded>(&entry.body) else { return };
        let is_sound = chain.is_sound();
        let by = format!("entry {} of the chain {}", entry.seq, entry.chain);
        let (dropped, heads) =
            if recorded.reason == "dropped" { (recorded.heads, Vec::new()) } else { (Vec::new(), recorded.heads) };
        let checkpoint = Checkpoint {
            at: recorded.at,
            dropped,
            heads,
            key: recorded.key.unwrap_or_default(),
            signature: recorded.signature.unwrap_or_default(),
        };
        let own = recorded.public_key.map(|public_key| Key {
            key: checkpoint.key.clone(),
            public_key,
            follows: None,
            endorsement: None,
        });
        if own.is_some_and(|own| !checkpoint.is_signed_by(&own)) {
            return self.problem(Some(number), place, "its signature is not one of the key it names");
        }
        let is_signed = self.keys.iter().any(|key| checkpoint.is_signed_by(key));
        if is_sound {
            self.see(&checkpoint, &by, is_signed);
        }
    }

    fn link(&mut self, number: u64, link: &Link) {
        self.counted.links += 1;
        let place = Some((link.chain, link.seq));
        if self.header.as_ref().is_some_and(|header| header.filter.is_empty()) {
            return self.problem(Some(number), place, "it was left out, and the header names no filter");
        }
        let Some(chain) = self.chains.get_mut(&link.chain) else {
            return self.problem(Some(number), place, "the header does not list its chain");
        };
        if let Err(problem) = chain.follow(&Held::from(link)) {
            return self.problem(Some(number), place, &problem);
        }
        self.report.left_out += u64::from(chain.is_sound());
    }

    fn checkpoint(&mut self, number: u64, checkpoint: &Checkpoint) {
        self.counted.checkpoints += 1;
        if self.keys.iter().any(|key| checkpoint.is_signed_by(key)) {
            self.report.checkpoints += 1;
            return self.see(checkpoint, &format!("the checkpoint of line {number}"), true);
        }
        let key = &checkpoint.key;
        let problem = if self.keys.iter().any(|known| known.key == *key) {
            format!("it is not what the key {key} signed")
        } else {
            format!("it is signed by the key {key}, which is not trusted")
        };
        self.problem(Some(number), None, &problem);
    }

    fn see(&mut self, checkpoint: &Checkpoint, by: &str, is_signed: bool) {
        for head in checkpoint.heads.iter().chain(&checkpoint.dropped) {
            let seen = Seen { hash: head.hash.clone(), by: by.to_owned(), is_signed };
            self.seen.entry((head.chain, head.seq)).or_default().push(seen);
        }
        if is_signed {
            let cut = |head: &Head| (head.chain, head.seq, head.hash.clone());
            self.dropped.extend(checkpoint.dropped.iter().map(cut));
        }
    }

    /// What can be said once everything was read.
    fn ends(&mut self, header: &Header, is_strict: bool) {
        match &self.end {
            None => self.problem(None, None, "its end is missing: it was cut off"),
            Some(end) if *end != self.counted => {
                let words = |end: &End| match end.links {
                    0 => format!("{} entries and {} checkpoints", end.entries, end.checkpoints),
                    links => format!("{} entries, {links} left out and {} checkpoints", end.entries, end.checkpoints),
                };
                let problem = format!("it has {}, and says that there are {}", words(&self.counted), words(end));
                self.problem(None, None, &problem);
            }
            Some(_) => {}
        }
        let mut found = Vec::new();
        for (id, chain) in &mut self.chains {
            let mut at = |seq: i64, problem: String| {
                found.push(Problem { line: None, chain: Some(*id), seq: Some(seq), problem });
            };
            let after = chain.span.after.clone();
            if after.seq == 0 && after != first(*id) {
                at(0, "it does not begin with the hash of its own id".to_owned());
            } else if after.seq > 0 && header.since.is_none() {
                let cut = (*id, after.seq, after.hash.clone());
                if !self.dropped.contains(&cut) {
                    at(
                        after.seq,
                        format!("entries 1 to {} are missing, and no signature says that they were dropped", after.seq),
                    );
                }
            }
            if let Some(Seen { by, .. }) =
                self.seen.get(&(*id, after.seq)).and_then(|seen| seen.iter().find(|seen| seen.hash != after.hash))
            {
                at(after.seq, format!("{by} saw another entry before its first"));
            }
            if let Err(problem) = chain.end() {
                at(chain.sound_until().saturating_add(1), problem);
            }
            let last = chain.sound_until();
            let signed = self.seen.iter().filter(|((of, seq), seen)| {
                of == id && (after.seq..=last).contains(seq) && seen.iter().any(|seen| seen.is_signed)
            });
            let signed_until = signed.map(|((_, seq), _)| *seq).max().unwrap_or(after.seq);
            if signed_until < last {
                let open = format!("no trusted signature covers entries {} to {last}", signed_until + 1);
                if is_strict {
                    at(signed_until + 1, open);
                } else {
                    self.report.notes.push(format!("chain {id}: {open}"));
                }
            }
            self.report.verified += u64::try_from(last - after.seq).unwrap_or(0);
            self.report.chains.push(ChainReport {
                chain: *id,
                name: chain.span.name.clone(),
                from_seq: after.seq + 1,
                to_seq: last,
                signed_until,
                head: chain.span.end.hash.clone(),
            });
        }
        // Of each chain what says most about its end.
        let mut missing: BTreeMap<Uuid, (i64, i64, &str)> = BTreeMap::new();
        for ((id, seq), seen) in &self.seen {
            let end = self.chains.get(id).map_or(0, |chain| chain.span.end.seq);
            if end < *seq
                && let Some(Seen { by, .. }) = seen.first()
            {
                missing.insert(*id, (end + 1, *seq, by));
            }
        }
        for (id, (from, to, by)) in missing {
            let gone = format!("entries {from} to {to} are not here: {by} saw them");
            if header.until.is_some() {
                self.report.notes.push(format!("chain {id}: {gone}, and the export ends before that"));
            } else {
                found.push(Problem { line: None, chain: Some(id), seq: Some(from), problem: gone });
            }
        }
        for problem in found {
            self.add(problem);
        }
    }

    fn compare(&mut self, number: u64, chain: Uuid, entry: &Held<'_>) {
        let differs = self.seen.get(&(chain, entry.seq)).and_then(|seen| {
            let other = seen.iter().find(|seen| seen.hash != entry.hash)?;
            Some(format!("it is another one than {} saw", other.by))
        });
        if let Some(problem) = differs {
            self.problem(Some(number), Some((chain, entry.seq)), &problem);
        }
    }

    fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    fn problem(&mut self, line: Option<u64>, place: Option<(Uuid, i64)>, problem: &str) {
        let (chain, seq) = place.unzip();
        self.add(Problem { line, chain, seq, problem: problem.to_owned() });
    }

    fn add(&mut self, problem: Problem) {
        if self.report.problems.len() < NAMED {
            self.report.problems.push(problem);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Report {
        self.report.verified = self.report.verified.saturating_sub(self.report.left_out);
        if self.report.left_out > 0 {
            let left_out = "what was left out is there by its hashes only: which filter did it is what the header says";
            self.report.notes.push(left_out.to_owned());
        }
        if self.more > 0 {
            let problem = format!("{} more things are not as they should be", self.more);
            self.report.problems.push(Problem { problem, ..Problem::default() });
        }
        self.report.keys = self.keys.into_iter().map(|key| key.key).collect();
        self.report
    }
}
