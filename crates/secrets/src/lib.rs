//! Finds credentials in texts and in JSON.
//!
//! [`Scanner::scan`] reads the exact bytes that will be sent: every string and every object key of a JSON body, or a text
//! as a whole. It resolves JSON's escapes where there are any, so a key written as `\u0073k-…` is seen as what the receiver
//! would read. A [`Match`] says which [`Rule`] it is, and which bytes are the credential.
//!
//! What is documented to be no secret passes: keys that are meant to be public, the example credentials of vendors, and
//! passwords everybody writes where one would be ([`examples`], [`words`], [`urls`], [`jwt`]).

mod anchors;
mod entropy;
mod examples;
pub mod fields;
mod found;
mod jwt;
mod measure;
pub mod memory;
mod options;
mod patterns;
mod pem;
mod rule;
#[cfg(test)]
mod samples;
mod scanner;
mod urls;
mod words;

pub use found::Match;
pub use memory::Memory;
pub use options::{Entropy, ExtraRule, Options};
pub use rule::{Confidence, HIGH_ENTROPY_TOKEN, Rule};
pub use scanner::{Scanner, rule_ids};
