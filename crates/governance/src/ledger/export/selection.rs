//! Which actions an export is about, by what their entries say.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use systemprompt_extension::ledger::{Decided, Json, Record};
use systemprompt_model::pattern::Pattern;
use systemprompt_model::{ApiKeyId, UserId};
use uuid::Uuid;

use crate::ledger::read::StoredEntry;

/// Which actions. Absent fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this account.
    pub user: Option<UserId>,
    /// Of the sessions whose ids lie between these two, both included.
    pub session: Option<(Uuid, Uuid)>,
    /// With one of these keys.
    pub keys: Option<Vec<ApiKeyId>>,
    /// About such a model, asked for or answering.
    pub model: Option<Pattern>,
    /// That ended so: `pending`, `completed`, `failed`, `abandoned` or `rejected`.
    pub status: Option<String>,
    /// Decided by this policy.
    pub policy: Option<String>,
}

impl Selection {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.words().is_empty()
    }

    /// What it says, by the names of its fields.
    pub fn words(&self) -> BTreeMap<String, String> {
        let keys = self.keys.as_ref().map(|keys| {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            keys.join(", ")
        });
        let session =
            self.session.map(|(from, to)| if from == to { from.to_string() } else { format!("{from} to {to}") });
        let all = [
            ("user", self.user.map(|user| user.to_string())),
            ("session", session),
            ("key", keys),
            ("model", self.model.as_ref().map(|model| model.as_str().to_owned())),
            ("status", self.status.clone()),
            ("policy", self.policy.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// Whether what a decision says fits, its model aside.
    fn fits(&self, decided: &Decided) -> bool {
        let by = &decided.by;
        self.user.is_none_or(|user| by.user == Some(user))
            && self
                .session
                .is_none_or(|(from, to)| by.session.is_some_and(|session| (from..=to).contains(&session.as_uuid())))
            && self.keys.as_ref().is_none_or(|keys| by.key.is_some_and(|key| keys.contains(&key)))
            && self.policy.as_ref().is_none_or(|policy| decided.decision.policy == *policy)
    }

    fn fits_model(&self, facts: Option<&Json>) -> bool {
        let Some(pattern) = &self.model else { return true };
        let facts: ModelFacts = facts.and_then(|facts| facts.read().ok()).unwrap_or_default();
        [facts.model, facts.requested_model].iter().flatten().any(|model| pattern.fits(model))
    }
}

/// What effects say of a model, whatever their kind.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelFacts {
    model: Option<String>,
    requested_model: Option<String>,
}

/// What is known of the actions that were seen so far.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    actions: HashMap<Uuid, Standing>,
}

/// Whether an action fits, by what was seen of it. There are as many as the log has actions, so it is small.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// Whether its decision was seen.
    decided: bool,
    fits: bool,
    fits_model: bool,
    /// Whether its status fits as long as it has no end.
    fits_open: bool,
    fits_end: Option<bool>,
}

impl Chosen {
    /// Takes what an entry says. It may come twice.
    pub(super) fn see(&mut self, only: &Selection, entry: &StoredEntry) {
        let standing = self.actions.entry(entry.action).or_default();
        let is = |status: &str| only.status.as_deref().is_none_or(|wanted| wanted == status);
        // What cannot be read is left out; its hash is not.
        let Ok(Some(read)) = entry.read() else { return };
        match &read.record {
            Record::Decided(decided) => {
                standing.decided = true;
                standing.fits = only.fits(decided);
                standing.fits_model |= only.fits_model(Some(&decided.effect.facts));
                standing.fits_open = is(if decided.is_refused() { "rejected" } else { "pending" });
            }
            Record::Ended(ended) => {
                standing.fits_model |= only.fits_model(ended.facts.as_deref());
                standing.fits_end = Some(is(&ended.status));
            }
            Record::Abandoned(_) => {
                // The server that was thought dead may only have been slow: its own word counts.
                standing.fits_end.get_or_insert_with(|| is("abandoned"));
            }
            Record::Attempted(_) | Record::Checkpoint(_) => {}
        }
    }

    /// Those whose decision was not seen.
    pub(super) fn undecided(&self) -> Vec<Uuid> {
        self.actions.iter().filter(|(_, standing)| !standing.decided).map(|(action, _)| *action).collect()
    }

    pub(super) fn has(&self, action: Uuid) -> bool {
        self.actions.get(&action).is_some_and(|standing| {
            standing.fits && standing.fits_model && standing.fits_end.unwrap_or(standing.fits_open)
        })
    }
}
