//! Credentials that no pattern describes: each is read by code, from an anchor on.

mod command;
mod container;
mod header;
mod key;
mod line;
mod reader;
mod token;
mod url;

pub(crate) use self::reader::{Reader, Reads};

/// All readers there are.
pub(crate) fn readers() -> impl Iterator<Item = Reader> {
    [command::READERS, container::READERS, header::READERS, key::READERS, line::READERS, token::READERS, url::READERS]
        .into_iter()
        .flatten()
        .copied()
}
