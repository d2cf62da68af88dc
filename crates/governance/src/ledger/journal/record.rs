//! A record as bytes: an entry with what is kept of its content, or the end an action would have if nothing more came.
//!
//! ```text
//! what (1)  kind (1)  action (16)  body: length (4), text  parts (2)  each: name, bytes (8), body, head, tail
//! ```
//!
//! Numbers are little-endian. A name or text begins with its length; one that is not there has the length `u32::MAX`.

use std::borrow::Cow;

use bytes::Bytes;
use systemprompt_extension::ledger::EntryKind;
use uuid::Uuid;

use super::super::content::{Kept, KeptPart};
use super::super::entry::Sealed;
use super::super::text::sha256;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An entry that waits to be written.
    Entry,
    /// How an action stands: its end, if nothing more came.
    Standing,
}

/// A record as it is read.
#[derive(Debug)]
pub(in super::super) struct Record {
    /// Whether it is an entry, or only how an action stood.
    pub(in super::super) is_entry: bool,
    pub(in super::super) entry: Sealed,
    pub(in super::super) content: Vec<KeptPart>,
}

const ABSENT: u32 = u32::MAX;

/// Appends a record.
pub(super) fn encode(what: What, entry: &Sealed, content: &[KeptPart], into: &mut Vec<u8>) {
    into.push(match what {
        What::Entry => 1,
        What::Standing => 2,
    });
    into.push(kind_number(entry.kind));
    into.extend_from_slice(entry.action.as_bytes());
    put(Some(entry.body.as_bytes()), into);
    into.extend_from_slice(&(content.len() as u16).to_le_bytes());
    for KeptPart { name, kept } in content {
        put(Some(name.as_bytes()), into);
        into.extend_from_slice(&kept.bytes.to_le_bytes());
        for text in [&kept.body, &kept.head, &kept.tail] {
            put(text.as_deref(), into);
        }
    }
}

/// Reads a record. Nothing if it is none of ours.
pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    let mut rest = bytes;
    let is_entry = match take::<1>(&mut rest)? {
        [1] => true,
        [2] => false,
        _ => return None,
    };
    let [number] = take::<1>(&mut rest)?;
    let kind = EntryKind::ALL.into_iter().find(|kind| kind_number(*kind) == number)?;
    let action = Uuid::from_bytes(take(&mut rest)?);
    let body = String::from_utf8(get(&mut rest)?.present()?.to_vec()).ok()?;
    let parts = u16::from_le_bytes(take(&mut rest)?);
    let mut content = Vec::with_capacity(usize::from(parts).min(256));
    for _ in 0..parts {
        let name = String::from_utf8(get(&mut rest)?.present()?.to_vec()).ok()?;
        let bytes = u64::from_le_bytes(take(&mut rest)?);
        let mut text = || get(&mut rest).map(|text| text.present().map(Bytes::copy_from_slice));
        let kept = Kept { bytes, body: text()?, head: text()?, tail: text()? };
        content.push(KeptPart { name: Cow::Owned(name), kept });
    }
    let sha256 = sha256(body.as_bytes());
    rest.is_empty().then_some(Record { is_entry, entry: Sealed { kind, action, body, sha256 }, content })
}

const fn kind_number(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Decided => 1,
        EntryKind::Attempted => 2,
        EntryKind::Ended => 3,
        EntryKind::Abandoned => 4,
        EntryKind::Checkpoint => 5,
    }
}

fn put(text: Option<&[u8]>, into: &mut Vec<u8>) {
    into.extend_from_slice(&text.map_or(ABSENT, |text| text.len() as u32).to_le_bytes());
    into.extend_from_slice(text.unwrap_or_default());
}

/// A text, or that there is none.
enum Field<'a> {
    Text(&'a [u8]),
    Absent,
}

impl<'a> Field<'a> {
    fn present(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent => None,
        }
    }
}

fn get<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let length = u32::from_le_bytes(take(rest)?);
    if length == ABSENT {
        return Some(Field::Absent);
    }
    let (text, after) = rest.split_at_checked(length as usize)?;
    *rest = after;
    Some(Field::Text(text))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}
