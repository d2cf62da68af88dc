//! What rules can be about besides users and roles, and what extensions know of it.
//!
//! The values of an account are asked for when the decision may depend on them, and count for a while. What would be
//! decided about values that cannot be got is not decided: whoever asked is refused.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use moka::sync::Cache;
use systemprompt_database::DbPool;
use systemprompt_extension::facet::SubjectAttributes;
use systemprompt_extension::subject_attributes::SubjectAttributesDef;
use systemprompt_extension::{ExtensionRegistry, Metrics};
use systemprompt_model::{Condition, EntityKind, Principal, UserId, with_causes};
use tokio::sync::OnceCell;

use super::attribute_metrics::AttributeMetrics;
use super::decision::{AccessDecision, Basis, DIMENSIONS, DenyReason, ROLE};
use super::entity::{Subject, Told};
use super::rule_set::RuleSet;
use super::untold::{Silence, Untold};

/// Of how many accounts the values of a dimension are kept.
const KEPT: u64 = 100_000;
/// How long an extension may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The dimensions of an installation, the strongest first: departments, groups, then those of extensions in load order.
#[derive(Default)]
pub struct Dimensions {
    brought: Vec<Brought>,
    metrics: Option<AttributeMetrics>,
}

/// A dimension whose values an extension knows.
struct Brought {
    extension: &'static str,
    def: SubjectAttributesDef,
    /// Filled once for all who wait.
    values: Cache<UserId, Arc<OnceCell<Arc<[String]>>>>,
    trouble: Mutex<Condition>,
}

/// Somebody, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What rules can say about the account. It has no values of what is unknown.
    pub subject: Subject,
    /// What could not be got.
    pub unknown: Vec<Untold>,
}

impl Dimensions {
    /// Those there always are, and those that extensions bring.
    pub fn of(registry: &ExtensionRegistry) -> Self {
        let declared = registry.declared::<SubjectAttributes>();
        let each = declared.iter().flat_map(|declared| {
            declared.contributions.iter().map(|def| Brought::new(declared.extension, def.clone()))
        });
        Self { brought: each.collect(), metrics: None }
    }

    /// The same, counted in `metrics`.
    #[must_use]
    pub fn counted(self, metrics: &Metrics) -> Self {
        let names = self.brought.iter().map(|brought| brought.def.dimension);
        let metrics = (!self.brought.is_empty()).then(|| AttributeMetrics::register(metrics, names));
        Self { metrics, ..self }
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        let brought = self.brought.iter().map(|brought| brought.def.dimension);
        DIMENSIONS.into_iter().chain(brought).map(str::to_owned).collect()
    }

    /// Whether `principal` may use the entity by `rules`. Extensions are asked only for what that depends on.
    pub async fn decide(
        &self,
        rules: &RuleSet,
        principal: &Principal,
        entity: (EntityKind, &str),
        db: &DbPool,
    ) -> Result<AccessDecision, Untold> {
        let subject = self.without_values(rules.subject(principal), |_| false);
        self.decide_about(rules, subject, principal.account(), |_| false, entity, db).await
    }

    /// The same for an account that somebody else tells of. Of what they say nothing of, extensions are asked here.
    pub(super) async fn decide_told(
        &self,
        rules: &RuleSet,
        told: &Told<'_>,
        entity: (EntityKind, &str),
        db: &DbPool,
    ) -> Result<AccessDecision, Untold> {
        let is_told = |dimension: &str| told.attributes.contains_key(dimension);
        let subject = self.without_values(rules.told(told), is_told);
        if told.user_id.is_none() {
            // Nobody can be asked about somebody without a name.
            let untold = self.brought.iter().filter(|brought| !is_told(brought.def.dimension)).map(|brought| Untold {
                dimension: brought.def.dimension,
                extension: brought.extension,
                why: Silence::Unnamed,
            });
            return Described { subject, unknown: untold.collect() }.decide(rules, entity.0, entity.1);
        }
        self.decide_about(rules, subject, told.user_id, is_told, entity, db).await
    }

    /// What rules can say about `principal`, with all that extensions know.
    pub async fn describe(&self, rules: &RuleSet, principal: &Principal, db: &DbPool) -> Described {
        let subject = self.without_values(rules.subject(principal), |_| false);
        let mut described = Described { subject, unknown: Vec::new() };
        if let Some(user) = principal.account() {
            self.ask(&mut described, self.brought.iter().collect(), user, db).await;
        }
        described
    }

    /// What an account is said to have elsewhere counts for nothing where an extension knows it.
    fn without_values(&self, mut subject: Subject, except: impl Fn(&str) -> bool) -> Subject {
        for brought in self.brought.iter().filter(|brought| !except(brought.def.dimension)) {
            subject.set(brought.def.dimension, &[]);
        }
        subject
    }

    async fn decide_about(
        &self,
        rules: &RuleSet,
        subject: Subject,
        user: Option<UserId>,
        is_told: impl Fn(&str) -> bool,
        (kind, id): (EntityKind, &str),
        db: &DbPool,
    ) -> Result<AccessDecision, Untold> {
        let mut described = Described { subject, unknown: Vec::new() };
        let mut open: Vec<&Brought> =
            self.brought.iter().filter(|brought| user.is_some() && !is_told(brought.def.dimension)).collect();
        loop {
            let decision = described.decide(rules, kind, id)?;
            // What is got may make the decision depend on what it did not depend on before.
            let (wanted, rest): (Vec<_>, Vec<_>) = open
                .into_iter()
                .partition(|brought| depends(rules, (kind, id), &described.subject, &decision, brought.def.dimension));
            let Some(user) = user.filter(|_| !wanted.is_empty()) else { return Ok(decision) };
            self.ask(&mut described, wanted, user, db).await;
            open = rest;
        }
    }

    /// Has the extensions say what they know of somebody, all at once.
    async fn ask(&self, described: &mut Described, brought: Vec<&Brought>, user: UserId, db: &DbPool) {
        let answers = brought.into_iter().map(async |brought| (brought, self.values_of(brought, user, db).await));
        for (brought, answer) in join_all(answers).await {
            match answer {
                Ok(values) => described.subject.set(brought.def.dimension, &values),
                Err(why) => described.unknown.push(Untold {
                    dimension: brought.def.dimension,
                    extension: brought.extension,
                    why,
                }),
            }
        }
    }

    async fn values_of(&self, brought: &Brought, user: UserId, db: &DbPool) -> Result<Arc<[String]>, Silence> {
        let cell = brought.values.get_with(user, Arc::default);
        if let Some(values) = cell.get() {
            return Ok(Arc::clone(values));
        }
        let started = Instant::now();
        let asked = cell.get_or_try_init(async || {
            let told = brought.ask(user, db).await;
            self.count(brought, told.is_ok(), started);
            told
        });
        // Whoever waits for another's question waits no longer than for their own.
        let Ok(told) = tokio::time::timeout(PATIENCE, asked).await else {
            self.count(brought, false, started);
            let why = Silence::TooLate(PATIENCE);
            brought.has_trouble(&why.to_string());
            return Err(why);
        };
        told.cloned()
    }

    fn count(&self, brought: &Brought, is_known: bool, started: Instant) {
        if let Some(metrics) = &self.metrics {
            metrics.count(brought.def.dimension, is_known, started.elapsed());
        }
    }
}

impl Brought {
    fn new(extension: &'static str, def: SubjectAttributesDef) -> Self {
        let values = Cache::builder().max_capacity(KEPT).time_to_live(def.fresh).build();
        Self { extension, def, values, trouble: Mutex::default() }
    }

    /// The values of an account, sorted. Trouble is said when it begins and when it is over.
    async fn ask(&self, user: UserId, db: &DbPool) -> Result<Arc<[String]>, Silence> {
        match AssertUnwindSafe(self.def.provider.values_for(db.read(), user)).catch_unwind().await {
            Ok(Ok(mut values)) => {
                if let Some(lasted) = self.trouble().ends() {
                    let (extension, dimension) = (self.extension, self.def.dimension);
                    let seconds = lasted.as_secs();
                    tracing::info!(extension, dimension, seconds, "what access rules are about is known again");
                }
                values.sort_unstable();
                values.dedup();
                Ok(values.into())
            }
            Ok(Err(error)) => {
                self.has_trouble(&format!("failed: {}", with_causes(&*error)));
                Err(Silence::Failed)
            }
            Err(_) => {
                self.has_trouble(&Silence::Panicked.to_string());
                Err(Silence::Panicked)
            }
        }
    }

    fn has_trouble(&self, error: &str) {
        if self.trouble().begins() {
            let (extension, dimension) = (self.extension, self.def.dimension);
            tracing::error!(
                extension,
                dimension,
                error,
                "what access rules are about cannot be got; where a decision depends on it, requests are refused"
            );
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Condition> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Described {
    /// Whether the account may use the entity by `rules`, unless that depends on what is not known of it.
    pub fn decide(&self, rules: &RuleSet, kind: EntityKind, id: &str) -> Result<AccessDecision, Untold> {
        let decision = rules.decide_for(&self.subject, kind, id);
        let might_change = |untold: &&Untold| depends(rules, (kind, id), &self.subject, &decision, untold.dimension);
        match self.unknown.iter().find(might_change) {
            Some(untold) => Err(untold.clone()),
            None => Ok(decision),
        }
    }
}

/// Whether the decision may be another one if `subject` had values of this dimension, of which it has none.
pub(super) fn depends(
    rules: &RuleSet,
    (kind, id): (EntityKind, &str),
    subject: &Subject,
    decision: &AccessDecision,
    dimension: &str,
) -> bool {
    let Some(entity) = rules.entity(kind, id) else { return false };
    let by_rule = || entity.rules.iter().any(|rule| rule.rule_type == dimension);
    let by_policy = || rules.authored().speaks_of(dimension);
    let comes_before = |rule_type: &str| subject.band(dimension) < subject.band(rule_type);
    match decision {
        AccessDecision::Denied(DenyReason::UserDeny | DenyReason::UnknownEntity) => false,
        // No policy allows what a rule refuses.
        AccessDecision::Denied(DenyReason::AttributeDeny { dimension: by, .. }) => comes_before(by) && by_rule(),
        AccessDecision::Denied(DenyReason::RoleDeny(_)) => comes_before(ROLE) && by_rule(),
        // No rule allows what a policy refuses, and none comes before one about the user.
        AccessDecision::Denied(DenyReason::Authored(_) | DenyReason::Unjudged(_))
        | AccessDecision::Allowed(Basis::User) => by_policy(),
        AccessDecision::Allowed(Basis::Attribute { dimension: by, .. }) => comes_before(by) && by_rule() || by_policy(),
        AccessDecision::Allowed(Basis::Role(_)) => comes_before(ROLE) && by_rule() || by_policy(),
        AccessDecision::Denied(DenyReason::NotAssigned)
        | AccessDecision::Allowed(Basis::DefaultIncluded | Basis::Authored(_)) => by_rule() || by_policy(),
    }
}

impl std::fmt::Debug for Dimensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dimensions").field(&self.names()).finish()
    }
}
