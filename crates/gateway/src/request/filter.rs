//! Which requests operators ask for. Lists, totals and rankings share one set of conditions, so that what a list shows is
//! what its totals are of.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use systemprompt_governance::page::id_range;
use systemprompt_model::{ActionId, ApiKeyId, Microdollars, TraceId, UserId};
use uuid::Uuid;

/// Which requests. Absent fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// Received at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Received before this time.
    pub until: Option<DateTime<Utc>>,
    /// Made by this account.
    pub user: Option<UserId>,
    /// Made with one of these keys.
    pub keys: Option<Vec<ApiKeyId>>,
    /// Of the sessions whose ids lie between these two, both included: the beginning of an id is such a range.
    pub session: Option<(Uuid, Uuid)>,
    /// Of this conversation.
    pub conversation: Option<String>,
    /// Of this trace.
    pub trace: Option<TraceId>,
    /// Asked for or answered by such a model: `*` stands for any characters, `?` for one.
    pub model: Option<String>,
    /// Asked of, or answered by, this provider.
    pub provider: Option<String>,
    /// `pending`, `completed`, `failed`, `abandoned` or `rejected`.
    pub status: Option<String>,
    /// Decided by this policy.
    pub policy: Option<String>,
    /// `allow`, `deny` or `warn`.
    pub decision: Option<String>,
    /// Cost at least this much.
    pub least_cost: Option<Microdollars>,
    /// Cost at most this much.
    pub most_cost: Option<Microdollars>,
    /// Took at least so many milliseconds.
    pub least_latency_ms: Option<i64>,
    /// Took at most so many milliseconds.
    pub most_latency_ms: Option<i64>,
}

/// What a query asks for besides the requests themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    /// Nothing.
    Nothing,
    /// Their decisions: `d`.
    Decisions,
}

impl RequestFilter {
    /// Those that run and may fit when they have ended: what is known only then restricts nothing. The model and the provider
    /// are, where another one answers than was asked.
    #[must_use]
    pub fn still_running(&self) -> Self {
        Self {
            status: Some("pending".to_owned()),
            model: None,
            provider: None,
            least_cost: None,
            most_cost: None,
            least_latency_ms: None,
            most_latency_ms: None,
            ..self.clone()
        }
    }

    /// Adds where a query about these requests reads from, and its conditions: a request is `r`. Those before a cursor if
    /// there is one. What is not asked for is not in the statement, so that PostgreSQL plans for what is.
    pub(super) fn restrict(&self, query: &mut QueryBuilder<Postgres>, with: With, before: Option<ActionId>) {
        query.push(" FROM ai_requests AS r");
        if with == With::Decisions || self.policy.is_some() || self.decision.is_some() {
            query.push(" JOIN governance_decisions AS d ON d.id = r.decision_id");
        }
        query.push(" WHERE TRUE");
        // Ids contain their time, so the primary key is the index on time.
        let (from, to) = id_range(self.since, self.until, before.map(|id| id.as_uuid()));
        if from != Uuid::nil() {
            query.push(" AND r.id >= ").push_bind(from);
        }
        if to != Uuid::max() {
            query.push(" AND r.id < ").push_bind(to);
        }
        if let Some(since) = self.since {
            query.push(" AND r.created_at >= ").push_bind(since);
        }
        if let Some(until) = self.until {
            query.push(" AND r.created_at < ").push_bind(until);
        }
        if let Some(user) = self.user {
            query.push(" AND r.user_id = ").push_bind(user.as_uuid());
        }
        if let Some(keys) = &self.keys {
            let keys: Vec<Uuid> = keys.iter().map(ApiKeyId::as_uuid).collect();
            query.push(" AND r.api_key_id = ANY (").push_bind(keys).push(")");
        }
        if let Some((from, to)) = self.session {
            if from == to {
                query.push(" AND r.session_id = ").push_bind(from);
            } else {
                query.push(" AND r.session_id BETWEEN ").push_bind(from).push(" AND ").push_bind(to);
            }
        }
        if let Some(conversation) = &self.conversation {
            query.push(" AND r.gateway_conversation_id = ").push_bind(conversation.clone());
        }
        if let Some(trace) = self.trace {
            query.push(" AND r.trace_id = ").push_bind(trace.as_uuid());
        }
        if let Some(model) = &self.model {
            let pattern = like(model);
            for (before, column) in [(" AND (", "r.requested_model"), (" OR ", "r.model"), (" OR ", "r.upstream_model")]
            {
                query.push(before).push(column).push(" LIKE ").push_bind(pattern.clone());
            }
            query.push(")");
        }
        if let Some(provider) = &self.provider {
            query.push(" AND ").push_bind(provider.clone()).push(" IN (r.provider, r.served_provider)");
        }
        if let Some(status) = &self.status {
            query.push(" AND r.status = ").push_bind(status.clone());
        }
        if let Some(policy) = &self.policy {
            query.push(" AND d.policy = ").push_bind(policy.clone());
        }
        match self.decision.as_deref() {
            None => {}
            // Said as the index says it.
            Some(decision @ ("deny" | "warn")) => {
                query.push(" AND d.decision <> 'allow' AND d.decision = ").push_bind(decision.to_owned());
            }
            Some(decision) => {
                query.push(" AND d.decision = ").push_bind(decision.to_owned());
            }
        }
        for (column, least, most) in [
            ("r.cost_microdollars", self.least_cost.map(|cost| cost.0), self.most_cost.map(|cost| cost.0)),
            ("r.latency_ms", self.least_latency_ms, self.most_latency_ms),
        ] {
            if let Some(least) = least {
                query.push(" AND ").push(column).push(" >= ").push_bind(least);
            }
            if let Some(most) = most {
                query.push(" AND ").push(column).push(" <= ").push_bind(most);
            }
        }
    }
}

/// The pattern of `LIKE` that a glob is.
fn like(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len() + 8);
    for character in glob.chars() {
        match character {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '\\' => pattern.extend(['\\', character]),
            other => pattern.push(other),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use systemprompt_model::Microdollars;

    use super::{RequestFilter, like};

    #[test]
    fn what_runs_is_not_judged_by_what_is_known_at_its_end() {
        let filter = RequestFilter {
            status: Some("completed".to_owned()),
            policy: Some("secret_scan".to_owned()),
            provider: Some("other".to_owned()),
            model: Some("claude-*".to_owned()),
            least_cost: Some(Microdollars(1)),
            most_latency_ms: Some(1),
            ..RequestFilter::default()
        };
        let running = filter.still_running();
        assert_eq!((running.status.as_deref(), running.policy), (Some("pending"), filter.policy));
        assert_eq!((running.provider, running.model, running.least_cost, running.most_latency_ms), Default::default());
    }

    #[test]
    fn a_glob_is_a_pattern_and_nothing_else_in_it_is() {
        for (glob, pattern) in
            [("claude-*", "claude-%"), ("gpt-4?", "gpt-4_"), ("100%_sure\\", "100\\%\\_sure\\\\"), ("demo-1", "demo-1")]
        {
            assert_eq!(like(glob), pattern, "{glob}");
        }
    }
}
