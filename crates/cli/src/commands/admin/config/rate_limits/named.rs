//! Groups of endpoints and kinds of callers by their names, which a wrong one is answered with.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use systemprompt_config::profile::RateGroup;
use systemprompt_model::UserType;

/// Reads the name of a group of endpoints.
pub(super) fn endpoint() -> impl TypedValueParser<Value = RateGroup> {
    PossibleValuesParser::new(RateGroup::ALL.map(RateGroup::as_str)).map(|name| {
        RateGroup::ALL.into_iter().find(|group| group.as_str() == name).expect("it is one of the possible values")
    })
}

/// Reads the name of a kind of caller.
pub(super) fn tier() -> impl TypedValueParser<Value = UserType> {
    PossibleValuesParser::new(UserType::ALL.map(UserType::as_str)).map(|name| {
        UserType::ALL.into_iter().find(|tier| tier.as_str() == name).expect("it is one of the possible values")
    })
}

/// Reads a multiplier: 0 blocks.
pub(super) fn multiplier(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|number: &f64| (0.0..=1_000_000.0).contains(number));
    number.ok_or_else(|| "it must be a number from 0, which blocks, to 1000000".to_owned())
}
