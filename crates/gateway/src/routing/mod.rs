//! Which providers and models a request goes to: aliases first, then the configured rules in order, then the provider
//! that lists the model, then the default provider.

mod destination;
mod families;
mod prompts;
mod split;
mod table;

pub(crate) use destination::{Destination, Provider, Route, StreamUsage, Way};
pub(crate) use prompts::{PromptOverride, PromptOverrides};
pub(crate) use table::{Listed, NoRoute, RoutingTable};
