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
