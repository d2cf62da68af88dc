//! What the gateway shows to providers: keys, signatures and tokens.
//!
//! A provider has one [`CredentialSet`]. [`CredentialSet::show`] puts a credential on a request that is about to be sent: a
//! header with a key, a signature over exactly the bytes that leave, or a token that is asked for when it is needed
//! ([`cached`]). One credential of the set is used until the provider refuses it or has enough of it; then it rests, and
//! the next one is used.
//!
//! Where tokens come from: `aws`, `gcp`, `entra`, one file per cloud. How they are fetched is given ([`Transport`]).

mod aws;
mod build;
mod cached;
mod entra;
mod error;
mod gcp;
mod rotation;
mod set;
mod sigv4;
mod token;
mod transport;

pub(crate) use build::{Credentials, Unusable};
pub(crate) use error::NotFetched;
pub(crate) use set::{AskAgain, CredentialSet};
pub(crate) use sigv4::{NO_KEY, is_key, sign_object};
pub(crate) use transport::{Reach, Transport};

#[cfg(test)]
mod tests;
