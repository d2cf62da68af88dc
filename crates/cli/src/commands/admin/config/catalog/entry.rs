//! A model as the profile has it, and what its commands share.

use serde::Serialize;

use crate::error::CliError;

/// A model as it is written, in this order.
#[derive(Debug, Serialize)]
pub(super) struct ModelEntry<'a> {
    pub(super) id: &'a str,
    /// Other ids for it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) aliases: &'a [String],
    /// The name sent to the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pricing: Option<Price>,
}

#[derive(Debug, Serialize)]
pub(super) struct Price {
    input_per_million: f64,
    output_per_million: f64,
}

impl<'a> ModelEntry<'a> {
    /// A model with this price for tokens read and written, if it has one of its own.
    pub(super) fn new(id: &'a str, price: Option<(f64, f64)>) -> Self {
        let pricing =
            price.map(|(input_per_million, output_per_million)| Price { input_per_million, output_per_million });
        Self { id, aliases: &[], upstream_model: None, pricing }
    }
}

/// There is none of this name.
pub(super) fn unknown_provider(name: &str) -> CliError {
    CliError::new("unknown_provider", format!("there is no provider `{name}`"))
        .help("systemprompt admin config catalog provider list   shows them")
}

/// An amount of money that can be a price.
pub(super) fn dollars(text: &str) -> Result<f64, String> {
    let amount = text.parse().ok().filter(|amount| (0.0..=1_000_000.0).contains(amount));
    amount.ok_or_else(|| "it must be a number of US dollars from 0 to 1000000".to_owned())
}
