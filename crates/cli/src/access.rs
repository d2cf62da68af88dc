//! Access rules as commands read and name them.

use std::str::FromStr;

use clap::Args;
use serde_json::Value;
use systemprompt_config::edit::YamlText;
use systemprompt_database::DbPool;
use systemprompt_extension::{KnownNames, instead_of};
use systemprompt_governance::access::{
    Authored, DEPARTMENT, Described, Dimensions, GROUP, Group, GroupKind, ROLE, RuleError, RuleSet, RuleStore, USER,
    Unavailable, Untold,
};
use systemprompt_governance::config::{AccessControlConfig, AuthzHookConfig, Flaw};
use systemprompt_governance::ledger::GovernanceProfile;
use systemprompt_identity::User;
use systemprompt_model::{EntityKind, UserId, with_causes};

use crate::accounts::{accounts, find};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, Project};
use crate::roles;

/// The rules of a database, as a command sees and changes them.
pub(crate) struct Access {
    pub(crate) project: Project,
    pub(crate) store: RuleStore,
    dimensions: Dimensions,
    db: DbPool,
}

impl Access {
    pub(crate) fn open(invocation: &Invocation, db: &DbPool) -> CliResult<Self> {
        let project = invocation.project()?;
        let dimensions = Dimensions::of(&project.registry);
        let store = RuleStore::new(db.clone(), invocation.ambient.clone(), dimensions.names());
        let authored = Authored::read(&project.configuration.services.root).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            CliError::new("profile_invalid", problems.join("\n")).exit(Exit::Invalid)
        })?;
        store.put_authored(authored);
        Ok(Self { project, store, dimensions, db: db.clone() })
    }

    /// All rules as they are now.
    pub(crate) async fn rules(&self) -> CliResult<RuleSet> {
        self.store.rule_set().await.map_err(unavailable)
    }

    /// What is known of an account by these rules.
    pub(crate) async fn describe(&self, rules: &RuleSet, user: &User) -> Described {
        self.dimensions.describe(rules, &user.to_principal(), &self.db).await
    }

    pub(crate) async fn groups(&self) -> CliResult<Vec<Group>> {
        self.store.groups().await.map_err(unavailable)
    }

    /// What the documents of the project say.
    pub(crate) fn documents(&self) -> CliResult<AccessControlConfig> {
        AccessControlConfig::read(&self.project.configuration)
            .map_err(|error| CliError::new("profile_invalid", with_causes(&error)).exit(Exit::Invalid))
    }

    /// Who decides beside the rules, if the profile says somebody does.
    pub(crate) fn authorizers(&self) -> CliResult<Option<AuthzHookConfig>> {
        GovernanceProfile::read(&self.project.configuration)
            .map(|profile| profile.authz.hook)
            .map_err(|error| CliError::new("profile_invalid", with_causes(&error)).exit(Exit::Invalid))
    }

    /// What rules may name.
    pub(crate) fn known(&self) -> KnownNames {
        KnownNames::of(&self.project.registry, &self.project.configuration)
    }

    /// The group with this name, of this kind.
    pub(crate) async fn group(&self, name: &str, kind: Option<GroupKind>) -> CliResult<Group> {
        let groups = self.groups().await?;
        let fits = |group: &&Group| kind.is_none_or(|kind| group.kind == kind);
        if let Some(group) = groups.iter().filter(fits).find(|group| group.name == name) {
            return Ok(group.clone());
        }
        let what = kind.map_or("group", GroupKind::as_str);
        let instead = instead_of(name, groups.iter().filter(fits).map(|group| group.name.as_str()).collect::<Vec<_>>());
        Err(CliError::new("unknown_group", format!("there is no {what} `{name}`; {instead}"))
            .help("systemprompt admin access-control groups list   shows them")
            .exit(Exit::Usage))
    }

    fn ensure_known_attribute(&self, dimension: &str, value: &str) -> CliResult {
        let known = self.known();
        match known.no_such_dimension(dimension).or_else(|| known.no_such_value(dimension, value)) {
            Some(why) => Err(CliError::new("unknown_attribute", why).exit(Exit::Usage)),
            None => Ok(()),
        }
    }

    /// Reads a document of rules that is complete in itself, and checks it as documents of the project are.
    pub(crate) fn read_document(&self, file: &std::path::Path) -> CliResult<AccessControlConfig> {
        let unreadable = |why: String| {
            CliError::new("import_failed", format!("{} cannot be read: {why}", file.display())).exit(Exit::Usage)
        };
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        let document = YamlText::new(text).map_err(|error| unreadable(error.to_string()))?;
        let value: Value = document.value().clone();
        let config: AccessControlConfig =
            serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
        let mut known = self.known();
        // A document may repeat the declarations of the project, and count on them.
        let declared = self.documents()?;
        let own: Vec<_> = config.roles.iter().map(|role| role.name.clone()).collect();
        known.roles.extend(declared.roles.into_iter().map(|role| role.name).filter(|role| !own.contains(role)));
        let flaws: Vec<Flaw> = config.flaws().into_iter().chain(config.unknown_names(&known)).collect();
        if flaws.is_empty() {
            return Ok(config);
        }
        let lines: Vec<String> =
            flaws.iter().map(|flaw| format!("{}{}: {}", file.display(), flaw.pointer, flaw.message)).collect();
        Err(CliError::new("import_failed", lines.join("\n")).help("nothing was changed").exit(Exit::Invalid))
    }
}

/// An entity on the command line: its kind and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityName {
    pub(crate) kind: EntityKind,
    pub(crate) id: String,
}

impl FromStr for EntityName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, id) = text
            .split_once(':')
            .filter(|(_, id)| !id.is_empty())
            .ok_or_else(|| format!("`{text}` is no entity: write KIND:ID, for example gateway_route:demo"))?;
        let kinds = EntityKind::ALL.map(EntityKind::as_str);
        let kind =
            kind.parse().map_err(|_| format!("`{kind}` is not a kind of entity; {}", instead_of(kind, kinds)))?;
        Ok(Self { kind, id: id.to_owned() })
    }
}

impl EntityName {
    /// Fails if there is no such entity.
    pub(crate) fn ensure_known(&self, rules: &RuleSet) -> CliResult {
        let Self { kind, id } = self;
        if rules.entity(*kind, id).is_some() {
            return Ok(());
        }
        let ids: Vec<&str> = rules.entities().into_keys().filter(|(of, _)| of == kind).map(|(_, id)| id).collect();
        Err(CliError::new("unknown_entity", format!("there is no {kind} `{id}`; {}", instead_of(id, ids)))
            .help("systemprompt admin access-control list   shows what there is")
            .exit(Exit::Usage))
    }
}

impl std::fmt::Display for EntityName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

/// Whom a rule is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// One account: name, e-mail address or id.
    #[arg(long)]
    user: Option<String>,
    /// Everybody with this role.
    #[arg(long)]
    role: Option<String>,
    /// Everybody in this department.
    #[arg(long)]
    department: Option<String>,
    /// Everybody in this group.
    #[arg(long)]
    group: Option<String>,
    /// Everybody of whom an extension knows this: DIMENSION=VALUE.
    #[arg(long, value_name = "DIMENSION=VALUE")]
    attribute: Option<String>,
}

impl Whom {
    /// The type and the value of rules about them. What is not there is refused: a rule about it would do nothing.
    pub(crate) async fn find(
        &self,
        invocation: &Invocation,
        access: &Access,
        db: &DbPool,
    ) -> CliResult<(String, String)> {
        let (rule_type, value) = self.named(invocation, db).await?;
        match rule_type.as_str() {
            USER => drop(find(&accounts(invocation, db), &value).await?),
            ROLE => roles::refuse_unknown(std::slice::from_ref(&value), &[], &roles::catalogue(&access.project)?)?,
            DEPARTMENT => drop(access.group(&value, Some(GroupKind::Department)).await?),
            GROUP => drop(access.group(&value, Some(GroupKind::Group)).await?),
            dimension => access.ensure_known_attribute(dimension, &value)?,
        }
        Ok((rule_type, value))
    }

    /// The same for a rule that there may be: what it is about may be gone by now.
    pub(crate) async fn named(&self, invocation: &Invocation, db: &DbPool) -> CliResult<(String, String)> {
        let Self { user, role, department, group, attribute } = self;
        if let Some(user) = user {
            let id = match user.parse::<UserId>() {
                Ok(id) => id,
                Err(_) => find(&accounts(invocation, db), user).await?.id,
            };
            return Ok((USER.to_owned(), id.to_string()));
        }
        if let Some(attribute) = attribute {
            let parts = attribute.split_once('=').filter(|(_, value)| !value.trim().is_empty());
            let Some((dimension, value)) = parts else {
                let why = format!("`{attribute}` is no attribute: write DIMENSION=VALUE");
                return Err(CliError::new("unknown_attribute", why).exit(Exit::Usage));
            };
            return Ok((dimension.to_owned(), value.to_owned()));
        }
        let named = [(ROLE, role), (DEPARTMENT, department), (GROUP, group)];
        let (of, name) = named.into_iter().find_map(|(of, name)| Some((of, name.as_ref()?))).expect("one is required");
        Ok((of.to_owned(), name.clone()))
    }
}

/// Rules cannot be read or written.
pub(crate) fn unavailable(error: Unavailable) -> CliError {
    match error {
        Unavailable::Database(error) => CliError::database(error),
        Unavailable::Slow => CliError::from_error("db_unreachable", &error).exit(Exit::Unavailable),
        Unavailable::Untold(untold) => unknown(&untold),
    }
}

/// What an extension knows of people cannot be got.
pub(crate) fn unknown(untold: &Untold) -> CliError {
    CliError::from_error("attribute_unknown", untold).exit(Exit::Unavailable)
}

/// A rule or group was not made.
pub(crate) fn refused(error: RuleError) -> CliError {
    let failure = CliError::from_error("rule_refused", &error);
    match error {
        RuleError::Unavailable(error) => unavailable(error),
        RuleError::NameTaken(_) | RuleError::DefaultStays => failure.exit(Exit::Conflict),
        RuleError::UnknownEntity { .. } | RuleError::UnknownType { .. } => failure.exit(Exit::Usage),
    }
}
