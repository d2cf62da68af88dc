//! The kinds of credentials there are, as data: one row for each form.
//!
//! To add one, add a row to the table it belongs to. Its samples are made from its pattern and have to be found, and
//! everything near it has not to be; see `tests.rs`. What no pattern can say is [`Form::Read`] by code, in `read/`.

mod ai;
mod business;
mod cloud;
mod code;
mod general;
mod identity;
mod kind;
mod messaging;
mod monitoring;
mod payment;

pub(crate) use self::kind::{Form, Kind};
use crate::rule::Category;

/// All rows, by what they are for.
pub(crate) const TABLES: [(Category, &[Kind]); 9] = [
    (Category::Ai, ai::KINDS),
    (Category::Cloud, cloud::KINDS),
    (Category::Code, code::KINDS),
    (Category::Payment, payment::KINDS),
    (Category::Messaging, messaging::KINDS),
    (Category::Monitoring, monitoring::KINDS),
    (Category::Identity, identity::KINDS),
    (Category::Business, business::KINDS),
    (Category::General, general::KINDS),
];

/// All rows.
pub(crate) fn all() -> impl Iterator<Item = (Category, &'static Kind)> {
    TABLES.iter().flat_map(|(category, kinds)| kinds.iter().map(|kind| (*category, kind)))
}

/// The names of vendors by which what is given to them is recognised, as far as they are one word.
pub(crate) fn vendors() -> impl Iterator<Item = &'static str> {
    let names = |kind: &'static Kind| if let Form::Named(names, _) = kind.form { names } else { &[] };
    all()
        .flat_map(move |(_, kind)| names(kind))
        .copied()
        .filter(|name| name.len() >= 3 && name.bytes().all(|byte| byte.is_ascii_lowercase()) && !name.ends_with("key"))
}
