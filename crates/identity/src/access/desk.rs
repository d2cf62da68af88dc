//! What the routes about access work with.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use systemprompt_config::{Configuration, SectionError};
use systemprompt_extension::{ExtensionRegistry, KnownNames, instead_of};
use systemprompt_governance::access::{AccessRules, Group, RuleNames, RuleSet, USER};
use systemprompt_governance::config::AccessControlConfig;
use systemprompt_governance::{Change, Changed, Gate};
use systemprompt_model::{Attribution, EntityKind, UserId};

use super::error::AccessError;
use crate::user::User;
use crate::user::store::Users;

/// What the routes about access work with. One for each server.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(super) rules: Arc<AccessRules>,
    pub(super) users: Arc<Users>,
    gate: Arc<Gate>,
    declarations: Arc<Declarations>,
}

/// What is declared now; a reload puts others here. One for each server.
pub(crate) struct Declarations(ArcSwap<Declared>);

/// What is declared in documents and by extensions.
pub(crate) struct Declared {
    roles: BTreeSet<String>,
    known: KnownNames,
    pub(super) documents: AccessControlConfig,
}

/// Everything a change is checked against, as of one moment.
pub(super) struct Known {
    pub(super) rules: Arc<RuleSet>,
    pub(super) groups: Vec<Group>,
    declared: Arc<Declared>,
}

impl Declared {
    pub(crate) fn read(registry: &ExtensionRegistry, configuration: &Configuration) -> Result<Self, SectionError> {
        let documents = AccessControlConfig::read(configuration)?;
        let known = KnownNames::of(registry, configuration);
        let roles = documents.role_names(&known).into_iter().map(str::to_owned).collect();
        Ok(Self { roles, known, documents })
    }
}

impl Declarations {
    pub(crate) fn new(declared: Declared) -> Self {
        Self(ArcSwap::from_pointee(declared))
    }

    /// Has changes that begin from now on checked against other documents.
    pub(crate) fn put_in_force(&self, declared: Declared) {
        self.0.store(Arc::new(declared));
    }
}

impl Desk {
    pub(crate) fn new(
        rules: Arc<AccessRules>,
        users: Arc<Users>,
        gate: Arc<Gate>,
        declarations: Arc<Declarations>,
    ) -> Self {
        Self { rules, users, gate, declarations }
    }

    pub(super) fn declared(&self) -> Arc<Declared> {
        self.declarations.0.load_full()
    }

    pub(super) async fn known(&self) -> Result<Known, AccessError> {
        let (rules, groups) = (self.rules.rules().await?, self.rules.store().groups().await?);
        Ok(Known { rules, groups, declared: self.declared() })
    }

    /// Makes a change: the Gate decides and records who makes it, `work` does it, whether or not the client waits for it.
    pub(super) async fn change<T, F>(
        &self,
        by: Attribution,
        change: Change,
        work: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<T, AccessError>
    where
        T: Send + 'static,
        F: Future<Output = Result<Changed<T>, AccessError>> + Send + 'static,
    {
        let desk = self.clone();
        Ok(self.gate.change_to_the_end(by, change, move || work(desk)).await?)
    }

    /// The value as rules compare it, if a rule can be about it; the account of a rule about one is looked for.
    pub(super) async fn subject(&self, known: &Known, rule_type: &str, value: &str) -> Result<String, AccessError> {
        let value = known.names().subject(rule_type, value)?;
        if let (USER, Ok(id)) = (rule_type, value.parse()) {
            self.user(id).await.map_err(|error| match error {
                AccessError::NotFound(message) => AccessError::UnknownName(message),
                error => error,
            })?;
        }
        Ok(value)
    }

    /// The account with this id.
    pub(super) async fn user(&self, id: UserId) -> Result<User, AccessError> {
        let found = self.users.get(id).await?;
        found.ok_or_else(|| AccessError::NotFound(format!("there is no account with the id {id}")))
    }
}

impl Known {
    pub(super) fn names(&self) -> RuleNames<'_> {
        let Declared { roles, known, .. } = &*self.declared;
        RuleNames { rules: &self.rules, groups: &self.groups, roles, known }
    }
}

/// The kind of this name.
pub(super) fn kind(name: &str) -> Result<EntityKind, AccessError> {
    let kinds = EntityKind::ALL.map(EntityKind::as_str);
    let message = |_| AccessError::Invalid(format!("`{name}` is not a kind of entity; {}", instead_of(name, kinds)));
    name.parse().map_err(message)
}
