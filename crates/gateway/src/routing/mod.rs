//! Which provider and model a request goes to: aliases first, then the configured rules in order, then the provider
//! that lists the model, then the default provider.

mod destination;
mod table;

pub(crate) use destination::{Destination, Provider, Route, StreamUsage};
pub(crate) use table::{Listed, NoRoute, RoutingTable};
