//! Finds credentials in texts and in JSON.
//!
//! [`Scanner::scan`] reads the exact bytes that will be sent: every string and every object key of a JSON body, or a text
//! as a whole. It resolves JSON's escapes where there are any, so a key written as `\u0073k-…` is seen as what the receiver
//! would read. A [`Match`] says which [`Rule`] it is, and which bytes are the credential.
//!
//! What is documented to be no secret passes: keys that are meant to be public, the example credentials of vendors, and
//! passwords everybody writes where one would be ([`examples`], [`words`], [`urls`], [`jwt`]).

mod anchors;
mod assignment;
mod boundary;
mod checksum;
mod enclosing;
mod encoded;
mod engine;
mod entropy;
mod examples;
pub mod fields;
mod found;
mod joined;
mod jwt;
mod kinds;
mod letters;
mod lists;
mod measure;
pub mod memory;
mod names;
mod options;
pub mod pattern;
mod pem;
mod prose;
mod read;
mod rule;
#[cfg(test)]
mod samples;
mod scanner;
#[cfg(test)]
mod tests;
mod urls;
mod value;
mod views;
mod words;

pub use found::Match;
pub use memory::Memory;
pub use options::{Entropy, ExtraRule, Options, PLACEHOLDER_DIGITS};
pub use pattern::PatternError;
pub use rule::{Category, Confidence, HIGH_ENTROPY_TOKEN, Rule};
pub use scanner::{Scanner, built_in, forms};
