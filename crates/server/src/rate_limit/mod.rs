//! How many requests each caller may send (configuration specification §12).
//!
//! A bucket belongs to a caller of a kind (its *tier*) in a group of endpoints. It holds `burst_multiplier` seconds' worth of
//! its rate, which is the group's rate times the tier's multiplier, and fills at that rate. `rates` knows the numbers,
//! `limiter` whose bucket a request takes from.
//!
//! Before it is known whose a request is, only its address is counted, against the highest rate that any caller of any group
//! has. That is far more than people behind one address need, and keeps a flood away from the database.
//!
//! The address is counted in `middleware`, once for every request whatever answers it; the rest in `authorization`, when it is
//! known who asks.
//! When limits are switched off there is no limiter, no meter and no cost.

mod limiter;
mod rates;

use std::sync::Arc;

use systemprompt_extension::{ExtensionContext, RateLimiter};

use self::limiter::Limiter;
use crate::metrics::RefusalMetrics;

/// The limiter the profile asks for, if it asks for one.
pub(crate) fn limiter(ctx: &dyn ExtensionContext) -> Option<Arc<dyn RateLimiter>> {
    // On the page whether or not there are limits, so that an alert is the same everywhere.
    let metrics = RefusalMetrics::new(ctx.metrics());
    let limits = &ctx.configuration().profile.rate_limits;
    if limits.disabled {
        return None;
    }
    Some(Arc::new(Limiter::new(limits, ctx.leases().clone(), ctx.ambient().clone(), metrics)))
}
