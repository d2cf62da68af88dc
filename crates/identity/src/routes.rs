//! The HTTP routes of this crate, put together.

use systemprompt_extension::RouteTable;

use crate::change::Site;
use crate::{api_key, session};

/// What the routes lie under.
pub(crate) const PREFIXES: &[&str] = &["/api/public/admin/tokens", "/api/public/gateway/sessions"];

/// All routes.
pub(crate) fn table() -> RouteTable<Site> {
    session::routes::add_to(api_key::routes::add_to(RouteTable::new()))
}
