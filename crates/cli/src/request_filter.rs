//! Which requests a command is about: one set of options for lists, totals and rankings. They take what is printed.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use systemprompt_gateway::request::filter::RequestFilter;
use systemprompt_governance::page::prefix_range;
use systemprompt_identity::ApiKeys;
use systemprompt_model::{ApiKeyId, Microdollars, TraceId, UserId};

use crate::accounts::{accounts, find};
use crate::error::{CliError, CliResult, Exit};
use crate::moment::{Moment, span};
use crate::project::{Invocation, OpenDatabase};

/// Which requests.
#[derive(Debug, Args)]
pub(crate) struct Requested {
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    since: Option<Moment>,
    /// Only until then.
    #[arg(long)]
    until: Option<Moment>,
    #[command(flatten)]
    whose: Whose,
    /// Only of this conversation.
    #[arg(long)]
    conversation: Option<String>,
    /// Only of this trace.
    #[arg(long)]
    trace: Option<TraceId>,
    /// Only of this model, asked for or answering; `*` and `?` stand for what may be there.
    #[arg(long, value_name = "GLOB")]
    model: Option<String>,
    /// Only of this provider, asked or answering.
    #[arg(long)]
    provider: Option<String>,
    /// Only those that ended so.
    #[arg(long)]
    status: Option<Status>,
    /// Only those that this policy decided.
    #[arg(long)]
    policy: Option<String>,
    /// Only those that were decided so.
    #[arg(long)]
    decision: Option<Decision>,
    /// Only those that cost this much or more, in dollars.
    #[arg(long, value_name = "DOLLARS")]
    min_cost: Option<Dollars>,
    /// Only those that cost this much or less, in dollars.
    #[arg(long, value_name = "DOLLARS")]
    max_cost: Option<Dollars>,
    /// Only those that took so long or longer: `250`, `250ms`, `1.5s`, `2m`.
    #[arg(long, value_name = "TIME")]
    min_latency: Option<Latency>,
    /// Only those that took so long or less.
    #[arg(long, value_name = "TIME")]
    max_latency: Option<Latency>,
}

/// Whose: who asked, with which key, in which session.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// Only of this user: a name, e-mail address or id.
    #[arg(long)]
    user: Option<String>,
    /// Only with keys of this name, this id or this visible beginning.
    #[arg(long)]
    key: Option<String>,
    /// Only of this session, or of those whose ids begin so.
    #[arg(long)]
    session: Option<String>,
}

/// Whose, by ids. Absent fields do not restrict.
pub(crate) struct WhoseIds {
    pub(crate) user: Option<UserId>,
    pub(crate) keys: Option<Vec<ApiKeyId>>,
    /// Those between these two, both included.
    pub(crate) session: Option<(uuid::Uuid, uuid::Uuid)>,
}

impl Whose {
    /// The ids it means, after looking up who and what was named.
    pub(crate) async fn ids(&self, invocation: &Invocation, database: &OpenDatabase) -> CliResult<WhoseIds> {
        let user = match &self.user {
            Some(user) => Some(account(invocation, database, user).await?),
            None => None,
        };
        let keys = match &self.key {
            Some(key) => Some(api_keys(invocation, database, key).await?),
            None => None,
        };
        Ok(WhoseIds { user, keys, session: self.session.as_deref().map(session_range).transpose()? })
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Status {
    /// It runs.
    Pending,
    /// Well.
    Completed,
    /// Badly.
    Failed,
    /// Its server died.
    Abandoned,
    /// It was refused.
    Rejected,
}

/// What the Gate decided.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
    /// It may, and a policy had something to say.
    Warn,
}

impl Status {
    /// The word for it in tables.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Rejected => "rejected",
        }
    }
}

impl Decision {
    /// The word for it in the ledger.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Warn => "warn",
        }
    }
}

/// An amount of money, as it is printed or as people write it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dollars(Microdollars);

impl FromStr for Dollars {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().trim_start_matches('$');
        without_thousands(number)
            .and_then(|number| number.parse().ok())
            .and_then(|dollars| Microdollars::from_dollars(dollars).ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not an amount: write dollars, such as 0.25 or $0.000150"))
    }
}

/// A number without the commas between its thousands; none if they stand elsewhere, as where others have a point.
fn without_thousands(number: &str) -> Option<String> {
    let whole = number.split_once('.').map_or(number, |(whole, _)| whole);
    let Some((first, groups)) = whole.split_once(',') else {
        return (!number.contains(',')).then(|| number.to_owned());
    };
    let is_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let begins = (1..=3).contains(&first.len()) && is_digits(first) && !first.starts_with('0');
    let goes_on = groups.split(',').all(|group| group.len() == 3 && is_digits(group));
    let fraction = &number[whole.len()..];
    (begins && goes_on && !fraction.contains(',')).then(|| whole.replace(',', "") + fraction)
}

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latency(i64);

/// A week: nothing takes longer.
const LONGEST_MS: f64 = 604_800_000.0;

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let scale = match unit.trim() {
            "" | "ms" => 1.0,
            "s" => 1_000.0,
            "m" | "min" => 60_000.0,
            _ => f64::NAN,
        };
        let milliseconds = number.parse().map_or(f64::NAN, |number: f64| number * scale);
        if (0.0..=LONGEST_MS).contains(&milliseconds) {
            Ok(Self(milliseconds.round() as i64))
        } else {
            Err(format!("`{text}` is not a time of at most a week: write 250, 250ms, 1.5s or 2m"))
        }
    }
}

impl Requested {
    /// The filter it means, after looking up who and what was named.
    pub(crate) async fn filter(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult<RequestFilter> {
        let (since, until) = span(self.since, self.until, invocation.ambient.now())?;
        for (least, most, what) in [
            (self.min_cost.map(|cost| cost.0.0), self.max_cost.map(|cost| cost.0.0), "cost"),
            (self.min_latency.map(|time| time.0), self.max_latency.map(|time| time.0), "latency"),
        ] {
            if let (Some(least), Some(most)) = (least, most)
                && least > most
            {
                return Err(CliError::invalid_value(format!("--min-{what} is more than --max-{what}")));
            }
        }
        let WhoseIds { user, keys, session } = self.whose.ids(invocation, database).await?;
        Ok(RequestFilter {
            since,
            until,
            user,
            keys,
            session,
            conversation: self.conversation,
            trace: self.trace,
            model: self.model,
            provider: self.provider,
            status: self.status.map(|status| status.as_str().to_owned()),
            policy: self.policy,
            decision: self.decision.map(|decision| decision.as_str().to_owned()),
            least_cost: self.min_cost.map(|cost| cost.0),
            most_cost: self.max_cost.map(|cost| cost.0),
            least_latency_ms: self.min_latency.map(|time| time.0),
            most_latency_ms: self.max_latency.map(|time| time.0),
        })
    }
}

/// The account with this name, e-mail address or id; by its id one that is gone, too, for its requests are not.
pub(crate) async fn account(invocation: &Invocation, database: &OpenDatabase, text: &str) -> CliResult<UserId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    Ok(find(&accounts(invocation, &database.db), text).await?.id)
}

/// The keys of this name, this id or this visible beginning.
async fn api_keys(invocation: &Invocation, database: &OpenDatabase, text: &str) -> CliResult<Vec<ApiKeyId>> {
    let found = ApiKeys::new(database.db.clone(), invocation.ambient.clone()).meant_by(text).await;
    let found = found.map_err(CliError::database)?;
    if found.is_empty() {
        return Err(CliError::new("unknown_key", "there is no API key of that name, id or beginning")
            .help("systemprompt admin users api-key list USER   shows them"));
    }
    Ok(found)
}

/// The sessions whose ids begin so.
pub(crate) fn session_range(text: &str) -> CliResult<(uuid::Uuid, uuid::Uuid)> {
    prefix_range(text.trim().trim_start_matches("sess_")).ok_or_else(|| {
        CliError::new("invalid_value", format!("`{text}` is not the id of a session or the beginning of one"))
            .help("systemprompt admin users show USER --sessions   shows them")
            .exit(Exit::Usage)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_times_are_read_as_they_are_printed() {
        for (text, expected) in [("$0.000150", 150), ("0.25", 250_000), ("1,000", 1_000_000_000), ("$0", 0)] {
            assert_eq!(text.parse::<Dollars>().expect(text), Dollars(Microdollars(expected)), "{text}");
        }
        assert_eq!(Microdollars(150).to_string().parse(), Ok(Dollars(Microdollars(150))));
        for (text, expected) in [("250", 250), ("250ms", 250), ("250 ms", 250), ("1.5s", 1500), ("2m", 120_000)] {
            assert_eq!(text.parse::<Latency>(), Ok(Latency(expected)), "{text}");
        }
        assert_eq!("$1,234,567.5".parse(), Ok(Dollars(Microdollars(1_234_567_500_000))));
        for text in
            ["0,25", "0,250", "1,0000", "1,00", "12,34,567", ",100", "1234,567", "1.000,5", "1,", "1,+12", "1.5,000"]
        {
            let error = text.parse::<Dollars>().expect_err(text);
            assert!(error.contains("write dollars"), "{error}");
        }
        for text in ["", "-1", "1e400", "soon", "99999999999999999999999"] {
            assert!(text.parse::<Dollars>().is_err() && text.parse::<Latency>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_session_is_known_by_its_beginning() {
        assert!(session_range("sess_eba7c95d").is_ok() && session_range("eba7").is_ok());
        assert_eq!(session_range("sess_nobody").expect_err("no id").exit, Exit::Usage);
    }
}
