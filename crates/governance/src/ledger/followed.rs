//! How far a chain is sound, and where it is expected to be.

use systemprompt_extension::ledger::ChainHead;
use uuid::Uuid;

use super::chain::Head;

/// What a chain is followed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// Its beginning.
    First,
    /// The end of what retention has dropped.
    Dropped,
    /// A place the reader chose.
    Chosen,
}

/// How far a chain is sound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed {
    /// What it was followed from.
    pub(super) start: Head,
    pub(super) begins: Begins,
    /// Its last sound entry.
    pub(super) end: Head,
    /// Where it is said to end, if it was followed to a place the reader chose before that.
    pub(super) listed: i64,
}

impl Followed {
    /// Whether this is one of its sound entries.
    pub(super) fn has(&self, seq: i64) -> bool {
        self.start.seq < seq && seq <= self.end.seq
    }
}

/// An end of a chain that somebody wrote down: `SEQ:HASH`, or `CHAIN:SEQ:HASH` to say of which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedHead {
    /// The chain, if it was said.
    pub chain: Option<Uuid>,
    /// The place.
    pub seq: i64,
    /// The hash there, in lower-case hexadecimal.
    pub hash: String,
}

impl std::str::FromStr for ExpectedHead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not SEQ:HASH or CHAIN:SEQ:HASH, as `verify` prints where chains end");
        let mut parts = text.trim().rsplitn(3, ':');
        let (hash, seq, chain) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(wrong)?, parts.next());
        let hash = hash.to_ascii_lowercase();
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("{}: the hash has 64 hexadecimal digits", wrong()));
        }
        let seq = seq.parse().ok().filter(|seq: &i64| *seq > 0).ok_or_else(wrong)?;
        let chain = chain.map(|chain| Uuid::parse_str(chain).map_err(|_| wrong())).transpose()?;
        Ok(Self { chain, seq, hash })
    }
}

impl ExpectedHead {
    /// Whether this is the entry.
    pub(super) fn is_at(&self, head: &ChainHead) -> bool {
        self.chain.is_none_or(|chain| chain == head.chain) && self.seq == head.seq && self.hash == head.hash
    }
}
