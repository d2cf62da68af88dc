//! Verifies an export of the ledger: no database, no server, nothing of the installation but public keys.
//!
//! [`format`](mod@format) says what an export consists of; whoever writes one uses the same types. [`verify`](verify::verify)
//! reads it twice and holds one line at a time: first every chain is followed and every signature checked, then every place
//! that a checkpoint has seen is compared with the entry that stands there.
//!
//! What is proved, if the keys are: that these are the entries that were written, in this order, without one missing between
//! the first and the last that a signature covers. What an export leaves out at its ends is said in its header; of what a
//! filter left out its hashes prove that it was there and when, and nothing of what it said.

mod chain;
pub mod format;
pub mod open;
pub mod read;
pub mod sign;
pub mod table;
#[cfg(test)]
mod tests;
pub mod verify;
