//! `admin access-control groups`: departments and other groups of people.

mod add;
mod create;
mod delete;
mod department;
mod list;
mod member;
mod remove;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Departments and other groups of people.
#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    List(list::List),
    Create(create::Create),
    Delete(delete::Delete),
    Add(add::Add),
    Remove(remove::Remove),
}

impl Groups {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
            Self::Create(command) => command.run(invocation, database).await,
            Self::Delete(command) => command.run(invocation, database).await,
            Self::Add(command) => command.run(invocation, database).await,
            Self::Remove(command) => command.run(invocation, database).await,
        }
    }
}
