//! A row of the tables: a form that a kind of credential has, and how rows are written.

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
