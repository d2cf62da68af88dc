//! Access rules and departments over HTTP, for administrators. What is changed is checked as commands check it, done by the
//! same functions, and recorded with who did it.

mod departments;
mod desk;
mod entities;
mod error;
mod rules;

use systemprompt_extension::RouteTable;

pub(crate) use self::desk::{Declarations, Declared, Desk};

/// What the routes lie under.
pub(crate) const PREFIXES: &[&str] = &["/api/public/admin/access-control", "/api/public/admin/management"];

/// All routes.
pub(crate) fn table() -> RouteTable<Desk> {
    departments::add_to(rules::add_to(entities::add_to(RouteTable::new())))
}
