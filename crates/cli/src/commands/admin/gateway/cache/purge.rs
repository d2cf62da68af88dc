//! `admin gateway cache purge`.

use clap::Args;
use serde::Serialize;
use systemprompt_gateway::cache::queries::purge;

use crate::accounts::{accounts, find};
use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Forget answers that are kept: all of them, or some.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Only those of this route.
    #[arg(long)]
    route: Option<String>,
    /// Only those that this user asked for first: name, e-mail address or id.
    #[arg(long)]
    user: Option<String>,
}

/// What is asked for, as it is recorded.
#[derive(Serialize)]
struct Asked<'a> {
    route: Option<&'a str>,
    user: Option<String>,
}

impl Purge {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let user = match &self.user {
            Some(user) => Some(find(&accounts(invocation, &database.db), user).await?.id),
            None => None,
        };
        let route = self.route.as_deref();
        let asked = Asked { route, user: user.map(|user| user.to_string()) };
        let about = About::new("answer_cache", route.unwrap_or("all"));
        let change = Change::new("answer_cache.purge", about, &asked);
        let forget = async || {
            let forgotten = purge(database.db.write(), route, user).await.map_err(CliError::database)?;
            Ok(Changed::unseen(forgotten))
        };
        let forgotten = invocation.change(database, change, forget).await?;
        invocation.printer.show(&Forgotten { answers: forgotten });
        Ok(())
    }
}

#[derive(Serialize)]
struct Forgotten {
    answers: u64,
}

impl View for Forgotten {
    fn text(&self, _: Layout) -> Text {
        Text::line(match self.answers {
            1 => "Forgot 1 answer.".to_owned(),
            answers => format!("Forgot {answers} answers."),
        })
    }
}
