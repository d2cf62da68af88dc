//! Addresses of the command line, and bans as lists show them.

use std::str::FromStr;

use systemprompt_identity::{BannedIp, Bans, network};

use crate::project::{Invocation, OpenDatabase};
use crate::view::{Row, time};

/// An address or a network.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// As it was given.
    pub(super) text: String,
}

impl Address {
    /// The network that is meant.
    pub(super) fn network(&self) -> ipnet::IpNet {
        network(&self.text).expect("it was read from one")
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match network(text) {
            Some(_) => Ok(Self { text: text.trim().to_owned() }),
            None => Err(format!("`{text}` is not an IP address or a network such as 192.0.2.0/24")),
        }
    }
}

/// The bans of a database.
pub(super) fn bans(invocation: &Invocation, database: &OpenDatabase) -> Bans {
    Bans::new(database.db.clone(), invocation.ambient.clone())
}

impl Row for BannedIp {
    const COLUMNS: &'static [&'static str] = &["address", "since", "until", "#times", "?source", "~reason"];
    const NONE: &'static str = "Nobody is shut out.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.ip_address.clone(),
            time(self.banned_at),
            self.expires_at.map_or("for good".to_owned(), time),
            self.ban_count.to_string(),
            self.ban_source.clone(),
            self.reason.clone(),
        ]
    }
}
