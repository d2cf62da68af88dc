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
mod messaging;
mod monitoring;
mod payment;

use crate::rule::Category;

/// A row: a form that a kind of credential has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its id. Rows may share one.
    pub(crate) id: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// How it is recognised.
    pub(crate) form: Form,
}

/// How a credential is recognised.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// By how it begins; these are its patterns.
    Begins(&'static [&'static str]),
    /// By a text that stands inside; the pattern is of all of it.
    Holds(&'static str, &'static str),
    /// By a name such as the vendor's in the name it is given to, and the pattern of its value.
    Named(&'static [&'static str], &'static str),
    /// By code.
    Read,
}

pub(crate) const fn begins(id: &'static str, about: &'static str, patterns: &'static [&'static str]) -> Kind {
    Kind { id, about, form: Form::Begins(patterns) }
}

pub(crate) const fn holds(id: &'static str, about: &'static str, inside: &'static str, pattern: &'static str) -> Kind {
    Kind { id, about, form: Form::Holds(inside, pattern) }
}

pub(crate) const fn named(
    id: &'static str,
    about: &'static str,
    names: &'static [&'static str],
    pattern: &'static str,
) -> Kind {
    Kind { id, about, form: Form::Named(names, pattern) }
}

pub(crate) const fn read(id: &'static str, about: &'static str) -> Kind {
    Kind { id, about, form: Form::Read }
}

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
