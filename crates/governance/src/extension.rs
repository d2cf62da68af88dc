//! Governance as a feature of the server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::schema_for;
use systemprompt_config::files::{create_private_dir, write_secret_file};
use systemprompt_config::profile::EnvironmentKind;
use systemprompt_config::{Configuration, Place, Problem, SectionSpec};
use systemprompt_extension::facet::{Authorizers as BroughtAuthorizers, GatewayGuards, Projections};
use systemprompt_extension::gateway::GatewayRequestGuard;
use systemprompt_extension::ledger::Projection;
use systemprompt_extension::policy::Policy;
use systemprompt_extension::prelude::*;
use systemprompt_extension::{CarriesOn, KnownNames, LogRetention};
use systemprompt_mail::{MailConfig, Mailer};
use systemprompt_model::{Ambient, Clock as _, InstanceId, SystemClock, with_causes};

use crate::access::{AccessRules, Authored, Dimensions};
use crate::approvals::routes::{Desk, PREFIXES, table};
use crate::approvals::store::Approvals;
use crate::authorizers::{Authorizers, routes as inquiries};
use crate::changes::Changes;
use crate::config::{
    AccessControlConfig, AccessRuleConfig, Flaw, GatewayPolicyConfig, GovernanceConfig, GroupConfig, PolicyConfig,
    QuotaAlertConfig, RequestGuardsConfig, RoleConfig, authz, quota,
};
use crate::decisions::Decisions;
use crate::gate::Gate;
use crate::ledger::checkpoint::Checkpoints;
use crate::ledger::journal::Journal;
use crate::ledger::{
    self, AuditProfile, GovernanceProfile, Ledger, LedgerOptions, OnStoreFailure, Retention, RetentionProfile,
};
use crate::policy::{GatewayPolicies, Guard, PolicyChain, RequireApproval};
use crate::quota::{self as quotas, Quotas};
use crate::safety::Scanners;
use crate::secret_scan::{self, PlaceholderKey};
use crate::shipping::Shipping;
use crate::startup;

/// How the ledger is written, for this server.
const PROFILE: Place = GovernanceProfile::PLACE;
/// What happens while the ledger cannot be written.
const AUDIT: Place = Place::Profile { key: "audit" };
/// What is kept of content, for this server.
const RETENTION: Place = Place::Profile { key: "retention" };
/// Which policies apply, for every server.
const POLICIES: Place = GovernanceConfig::PLACE;
/// How much may be used, for every server.
const QUOTAS: Place = GatewayPolicyConfig::PLACE;
/// Who is told when it comes to an end.
const ALERTS: Place = QuotaAlertConfig::PLACE;
/// Who may use what, for every server.
const ACCESS: [Place; 3] = [AccessControlConfig::RULES, AccessControlConfig::DEPARTMENTS, AccessControlConfig::ROLES];

/// How long credentials and access rules that were read before an outage count in it, where decisions are kept in the home.
const LAST_KNOWN: Duration = Duration::from_mins(15);

/// How long a stopping server waits for changes that were begun.
const CHANGES_WITHIN: Duration = Duration::from_secs(3);
/// How long it then waits until quotas have counted what the last requests used.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// How long it waits until they and everything else are in the ledger. The hook has ten seconds.
const DRAIN_WITHIN: Duration = Duration::from_secs(8);
/// How long answers that are over may still be looked at.
const LOOKED_WITHIN: Duration = Duration::from_secs(2);
/// How long it then takes to bring the projections up.
const CATCH_UP_WITHIN: Duration = Duration::from_millis(1500);

/// Access rules, policies and the audit ledger. Provides [`Gate`], [`AccessRules`] and [`Ledger`].
#[derive(Debug, Default, Clone, Copy)]
pub struct GovernanceExtension;

#[async_trait]
impl Extension for GovernanceExtension {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "governance", name: "Governance", version: env!("CARGO_PKG_VERSION") }
    }

    fn priority(&self) -> u32 {
        10
    }

    fn is_required(&self) -> bool {
        true
    }

    fn dependencies(&self) -> Vec<&'static str> {
        vec!["mail"]
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![
            ledger::schema(),
            SchemaDefinition::inline("ledger_shipments", include_str!("../schema/shipping.sql")),
            SchemaDefinition::inline("governance_decisions", include_str!("../schema/decisions.sql")),
            SchemaDefinition::inline("governance_changes", include_str!("../schema/changes.sql")),
            SchemaDefinition::inline("governance_approvals", crate::approvals::SCHEMA),
            SchemaDefinition::inline("ai_quota_buckets", quotas::SCHEMA),
            SchemaDefinition::inline("access_control_entities", include_str!("../schema/access.sql")),
        ]
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![
            Migration::new(
                1,
                "refuse_unreleased_ledger",
                include_str!("../migrations/001_refuse_unreleased_ledger.sql"),
            ),
            Migration::new(2, "alert_deliveries", quotas::ALERT_DELIVERIES),
            Migration::new(3, "departments_are_groups", include_str!("../migrations/003_departments_are_groups.sql")),
            Migration::new(4, "decisions_of_plugins", include_str!("../migrations/004_decisions_of_plugins.sql")),
            Migration::new(5, "proposed_calls", include_str!("../migrations/005_proposed_calls.sql")),
            Migration::new(6, "keys_and_sessions", include_str!("../migrations/006_keys_and_sessions.sql")),
            Migration::new(7, "erasures_of_changes", include_str!("../migrations/007_erasures_of_changes.sql")),
            Migration::new(8, "approvers", include_str!("../migrations/008_approvers.sql")),
        ]
    }

    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        vec![Arc::new(Decisions), Arc::new(Changes)]
    }

    fn config_sections(&self) -> Vec<SectionSpec> {
        let section =
            |place, schema: schemars::Schema| SectionSpec { place, schema: schema.into(), extension: "governance" };
        vec![
            section(PROFILE, schema_for!(GovernanceProfile)),
            section(AUDIT, schema_for!(AuditProfile)),
            section(RETENTION, schema_for!(RetentionProfile)),
            section(POLICIES, schema_for!(GovernanceConfig)),
            section(QUOTAS, schema_for!(Vec<GatewayPolicyConfig>)),
            section(ALERTS, schema_for!(Vec<QuotaAlertConfig>)),
            section(AccessControlConfig::RULES, schema_for!(Vec<AccessRuleConfig>)),
            section(AccessControlConfig::DEPARTMENTS, schema_for!(Vec<GroupConfig>)),
            section(AccessControlConfig::GROUPS, schema_for!(Vec<GroupConfig>)),
            section(AccessControlConfig::ROLES, schema_for!(Vec<RoleConfig>)),
        ]
    }

    fn section_files(&self, config: &Configuration) -> Vec<(&'static str, PathBuf)> {
        let files = Authored::files(&config.services.root).into_iter();
        files.map(|file| ("access-control", file)).collect()
    }

    fn validate_sections(&self, config: &Configuration) -> Vec<Problem> {
        let Ok(sections) = Sections::read(config) else {
            // The schemas are generated from these types; what does not fit was reported with its place.
            return Vec::new();
        };
        let policies = sections.policies.flaws().into_iter().map(|flaw| (POLICIES.key(), flaw.pointer, flaw.message));
        let access = sections.access.flaws().into_iter().filter_map(of_access);
        let scanned = sections.policies.policies.iter().enumerate().flat_map(|(index, policy)| match policy {
            PolicyConfig::SecretScan(scan) => secret_scan::flaws(scan)
                .into_iter()
                .map(|flaw| (POLICIES.key(), format!("/policies/{index}{}", flaw.pointer), flaw.message))
                .collect(),
            _ => Vec::new(),
        });
        let quotas = quota::flaws(&sections.quotas).into_iter();
        let quotas = quotas.map(|flaw| (QUOTAS.key(), flaw.pointer, flaw.message));
        let has_secret = |name: &str| config.secrets.get(name).is_some();
        let has_mail = MailConfig::read(config).is_ok_and(|mail| mail.is_some());
        let alerts = quota::alert_flaws(&sections.alerts, &sections.quotas, has_secret, has_mail).into_iter();
        let alerts = alerts.map(|flaw| (ALERTS.key(), flaw.pointer, flaw.message));
        let shipping = crate::config::shipping::flaws(&sections.profile.shipping, has_secret).into_iter();
        let shipping = shipping.map(|flaw| (PROFILE.key(), format!("/shipping{}", flaw.pointer), flaw.message));
        let authz = sections.profile.authz.hook.iter().flat_map(|hook| authz::flaws(hook, has_secret));
        let authz = authz.map(|flaw| (PROFILE.key(), format!("/authz/hook{}", flaw.pointer), flaw.message));
        let doubtful = sections.profile.authz.hook.as_ref().and_then(authz::doubtful);
        let doubtful = doubtful.map(|flaw| config.warning(PROFILE.key(), "/authz/hook", flaw.message));
        policies
            .chain(scanned)
            .chain(quotas)
            .chain(alerts)
            .chain(shipping)
            .chain(access)
            .chain(authz)
            .map(|(key, pointer, message)| config.error(key, &pointer, message))
            .chain(doubtful)
            .collect()
    }

    fn validate_names(&self, config: &Configuration, known: &KnownNames) -> Vec<Problem> {
        let Ok(sections) = Sections::read(config) else { return Vec::new() };
        let mut problems = Vec::new();
        let unknown = sections.access.unknown_names(known).into_iter().filter_map(of_access);
        problems.extend(unknown.map(|(key, pointer, message)| config.error(key, &pointer, message)));
        for (index, policy) in sections.policies.policies.iter().enumerate() {
            let PolicyConfig::SecretScan(scan) = policy else { continue };
            let expired = secret_scan::expired(scan, SystemClock.now()).into_iter();
            problems.extend(expired.map(|flaw| {
                config.warning(POLICIES.key(), &format!("/policies/{index}{}", flaw.pointer), flaw.message)
            }));
        }
        let later = sections.access.without_effect(known).into_iter().filter_map(of_access);
        problems.extend(later.map(|(key, pointer, message)| config.warning(key, &pointer, message)));
        match Authored::read(&config.services.root) {
            Ok(authored) => problems.extend(authored.unknown_names(&sections.access, known)),
            Err(wrong) => problems.extend(wrong),
        }
        let (nobody, unasked) = authz::unfit(sections.profile.authz.hook.as_ref(), known);
        problems
            .extend(nobody.map(|flaw| config.error(PROFILE.key(), &format!("/authz{}", flaw.pointer), flaw.message)));
        problems.extend(
            unasked.map(|flaw| config.warning(PROFILE.key(), &format!("/authz{}", flaw.pointer), flaw.message)),
        );
        let policies = sections.policies.unknown_policies(&known.policies).into_iter();
        problems.extend(policies.map(|flaw| config.error(POLICIES.key(), &flaw.pointer, flaw.message)));
        let places = sections.policies.unknown_places(known).into_iter();
        problems.extend(places.map(|flaw| config.error(POLICIES.key(), &flaw.pointer, flaw.message)));
        let own_roles = sections.access.roles.iter().map(|role| role.name.as_str());
        let roles = sections.policies.unknown_roles(known, own_roles).into_iter();
        problems.extend(roles.map(|flaw| config.error(POLICIES.key(), &flaw.pointer, flaw.message)));
        let scanners = quota::unknown_scanners(&sections.quotas, &known.safety_scanners).into_iter();
        problems.extend(scanners.map(|flaw| config.error(QUOTAS.key(), &flaw.pointer, flaw.message)));
        problems
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let configuration = ctx.configuration();
        let sections = Sections::read(configuration).map_err(|error| failed(&error))?;
        let directory = checkpoints_dir(configuration);
        let checkpoints = Checkpoints::open(&directory).map_err(|error| failed(&with_causes(&error)))?;
        let journal = Journal::open(&directory.join("journal"));
        let options = LedgerOptions {
            instance_id: ctx.instance_id(),
            name: installation_id(configuration, ctx.ambient()).map_err(|error| failed(&error))?,
            exclusive: true,
            settings: sections.profile.ledger.clone(),
            audit: sections.audit.clone(),
            retention: sections.retention(configuration),
            journal: Some(journal.map_err(|error| failed(&format!("the ledger's journal in the home: {error}")))?),
            checkpoints: Some(checkpoints),
        };
        services.insert(Arc::new(LogRetention { days: options.retention.days }));
        let registry = services.require::<ExtensionRegistry>()?;
        let projections = registry.declared::<Projections>();
        let projections = projections.iter().flat_map(|declared| declared.contributions).cloned().collect();
        let ledger = Ledger::start(ctx.db(), options, projections, ctx.ambient(), ctx.tracker(), ctx.metrics())
            .await
            .map_err(|error| failed(&with_causes(&error)))?;
        let rules = AccessRules::start(
            Arc::clone(ctx.db()),
            ctx.ambient().clone(),
            ctx.notifications(),
            Dimensions::of(&registry).counted(ctx.metrics()),
            ctx.tracker(),
            ctx.shutdown().clone(),
        );
        let (quotas, desk, recorder) = Quotas::new(
            &sections.alerts,
            |name| configuration.secrets.get(name).cloned(),
            services.require::<Mailer>()?,
            Arc::clone(ctx.db()),
            ctx.ambient().clone(),
            ctx.metrics(),
        );
        let shipping = Shipping::new(
            &sections.profile.shipping,
            |name| configuration.secrets.get(name).cloned(),
            Arc::clone(ctx.db()),
            ctx.ambient().clone(),
            ctx.metrics(),
        );
        services.insert(Arc::new(shipping));
        ctx.tracker().spawn(desk.run(ctx.shutdown().clone()));
        ctx.tracker().spawn(recorder.run(ctx.shutdown().clone()));
        if sections.audit.on_store_failure == OnStoreFailure::Spool {
            ctx.notifications().tolerate(LAST_KNOWN);
            ctx.leases().carry_on();
            let records = Arc::clone(&ledger);
            services.insert(Arc::new(CarriesOn::new(move || !records.is_available() && records.takes_decisions())));
        }
        let registered = registry.make_policies(ctx)?;
        let guards = registry.make_all::<GatewayGuards, _>(ctx)?;
        let scanners = Arc::new(Scanners::new(registry.make_safety_scanners(ctx)?, ctx.metrics()));
        let placeholders = configuration.secrets.at_rest_pepper().map(PlaceholderKey::derive);
        let gateway = GatewayPolicies {
            policies: &sections.quotas,
            quotas: &quotas,
            scanners: &scanners,
            placeholders: placeholders.as_ref(),
        };
        let approvals = Arc::new(Approvals::new(Arc::clone(ctx.db()), ctx.ambient().clone(), ctx.metrics()));
        services.insert(Arc::clone(&approvals));
        let registered = Registered { policies: registered, guards, approvals };
        let policies =
            PolicyChain::new(&sections.policies, registered.policies(&sections.policies), ctx.leases(), Some(gateway))
                .and_then(|policies| {
                    policies.with_guards(registered.guards(ctx.db(), &sections.policies.request_guards))
                })
                .map_err(|error| failed(&with_causes(&error)))?;
        services.insert(Arc::new(registered));
        services.insert(scanners);
        let authorizers = Arc::new(Authorizers::new(
            sections.profile.authz.hook.as_ref(),
            registry.make_all::<BroughtAuthorizers, _>(ctx)?,
            |name| configuration.secrets.get(name).cloned(),
            ctx.ambient(),
            ctx.metrics(),
        ));
        let gate = Gate::new(Some(Arc::clone(&rules)), policies, Arc::clone(&ledger), ctx.metrics());
        services.insert(Arc::new(gate.asking(Arc::clone(&authorizers))));
        services.insert(authorizers);
        services.insert(rules);
        services.insert(quotas);
        services.insert(ledger);
        Ok(())
    }

    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        vec![ExtensionRouterConfig::core(PREFIXES), ExtensionRouterConfig::core(inquiries::PREFIXES)]
    }

    fn permissions(&self) -> Vec<PermissionDef> {
        vec![inquiries::permission()]
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        [table().endpoints(), inquiries::table().endpoints()].concat()
    }

    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        let desk = Desk { approvals: ctx.service::<Approvals>()?, gate: ctx.service::<Gate>()? };
        Ok(vec![
            ExtensionRouter::core(table(), desk, PREFIXES).with_rate_limit(RateGroup::Admin),
            ExtensionRouter::core(inquiries::table(), ctx.service::<AccessRules>()?, inquiries::PREFIXES),
        ])
    }

    async fn on_start(&self, ctx: &dyn ExtensionContext) -> Result<(), LoaderError> {
        let ledger = ctx.service::<Ledger>()?;
        let sections = Sections::read(ctx.configuration()).map_err(|error| failed(&error))?;
        let closed = ledger.recover().await.map_err(|error| failed(&with_causes(&error)))?;
        if closed > 0 {
            tracing::warn!(actions = closed, "actions that an earlier run left open are recorded as abandoned");
        }
        let (gate, rules) = (ctx.service::<Gate>()?, ctx.service::<AccessRules>()?);
        startup::load(&gate, &ledger, &rules, ctx.db(), ctx.configuration(), &sections.access, ctx.ambient())
            .await
            .map_err(|error| failed(&with_causes(&error)))?;
        let quotas = ctx.service::<Quotas>()?;
        quotas.keep_policies(&sections.quotas).await.map_err(|error| failed(&with_causes(&error)))?;
        ctx.tracker().spawn(quotas.maintain(ctx.shutdown().clone()));
        ctx.tracker().spawn(ctx.service::<Approvals>()?.watch(ctx.shutdown().clone()));
        ctx.tracker().spawn(Arc::clone(&ledger).maintain(ctx.shutdown().clone()));
        ctx.tracker().spawn(ledger.project(ctx.shutdown().clone()));
        Ok(())
    }

    async fn reload(
        &self,
        ctx: &dyn ExtensionContext,
        configuration: &Arc<Configuration>,
    ) -> Result<Option<Reload>, LoaderError> {
        let sections = Sections::read(configuration).map_err(|error| failed(&error))?;
        let registered = ctx.service::<Registered>()?;
        let quotas = ctx.service::<Quotas>()?;
        let scanners = ctx.service::<Scanners>()?;
        let placeholders = configuration.secrets.at_rest_pepper().map(PlaceholderKey::derive);
        let gateway = GatewayPolicies {
            policies: &sections.quotas,
            quotas: &quotas,
            scanners: &scanners,
            placeholders: placeholders.as_ref(),
        };
        let policies =
            PolicyChain::new(&sections.policies, registered.policies(&sections.policies), ctx.leases(), Some(gateway))
                .and_then(|policies| {
                    policies.with_guards(registered.guards(ctx.db(), &sections.policies.request_guards))
                })
                .map_err(|error| failed(&with_causes(&error)))?;
        let (gate, ledger, rules) = (ctx.service::<Gate>()?, ctx.service::<Ledger>()?, ctx.service::<AccessRules>()?);
        let (db, ambient, configuration) = (ctx.db().clone(), ctx.ambient().clone(), Arc::clone(configuration));
        let differences = ctx.configuration().differences(&configuration);
        let at_start = [PROFILE, AUDIT, RETENTION, ALERTS].map(|place| place.named());
        let restart: Vec<_> =
            differences.sections.into_iter().map(|(key, _)| key).filter(|key| at_start.contains(key)).collect();
        let apply = async move {
            // The change is in the ledger before it counts.
            startup::load(&gate, &ledger, &rules, &db, &configuration, &sections.access, &ambient)
                .await
                .map_err(|error| failed(&with_causes(&error)))?;
            quotas.keep_policies(&sections.quotas).await.map_err(|error| failed(&with_causes(&error)))?;
            gate.put_in_force(policies);
            Ok(())
        };
        Ok(Some(Reload::new(apply).with_restart(restart)))
    }

    async fn on_shutdown(&self, ctx: &dyn ExtensionContext) {
        let begun = Instant::now();
        if let Some(gate) = ctx.services().get::<Gate>() {
            gate.finish_changes(CHANGES_WITHIN).await;
        }
        if let Some(scanners) = ctx.services().get::<Scanners>() {
            scanners.finish(LOOKED_WITHIN).await;
        }
        if let Some(quotas) = ctx.services().get::<Quotas>() {
            quotas.flush(FLUSH_WITHIN).await;
        }
        if let Some(ledger) = ctx.services().get::<Ledger>() {
            ledger.drain(DRAIN_WITHIN.saturating_sub(begun.elapsed())).await;
            // The ends of the last actions were written after the projections stopped being kept up. Whoever misses
            // this reads after catching up.
            let _ = tokio::time::timeout(CATCH_UP_WITHIN, ledger.catch_up()).await;
        }
    }

    async fn health(&self, ctx: &dyn ExtensionContext) -> ExtensionHealth {
        let shipping = match ctx.services().get::<Shipping>() {
            Some(shipping) if shipping.has_destinations() => shipping.failing().await,
            _ => Vec::new(),
        };
        match ctx.services().get::<Ledger>() {
            Some(ledger) if ledger.is_available() => match ledger.projector().failures().as_slice() {
                [] => match shipping.as_slice() {
                    [] => ExtensionHealth::Healthy,
                    [(name, why), ..] => {
                        ExtensionHealth::Degraded(format!("the ledger is not shipped to `{name}`: {why}"))
                    }
                },
                [(name, why), ..] => ExtensionHealth::Degraded(format!("the projection `{name}` stands still: {why}")),
            },
            Some(ledger) if ledger.takes_decisions() => ExtensionHealth::Degraded(format!(
                "the audit ledger cannot be written; decisions are kept in the home until it can: {}",
                ledger.outage().unwrap_or_default()
            )),
            Some(ledger) => ExtensionHealth::Unhealthy(match ledger.outage() {
                Some(why) => format!("the audit ledger cannot be written; requests are refused: {why}"),
                None => "the audit ledger takes no entries any more; requests are refused".to_owned(),
            }),
            None => ExtensionHealth::Unhealthy("the audit ledger was not started".to_owned()),
        }
    }
}

systemprompt_extension::register_built_in!(GovernanceExtension);

/// The policies and guards of extensions, which are made once, and what built-in ones share.
struct Registered {
    policies: Vec<Arc<dyn Policy>>,
    guards: Vec<(&'static str, Arc<dyn GatewayRequestGuard>)>,
    approvals: Arc<Approvals>,
}

impl Registered {
    /// The policies that are not made of settings alone, under these settings.
    fn policies(&self, config: &GovernanceConfig) -> Vec<Arc<dyn Policy>> {
        let mut policies = self.policies.clone();
        for policy in &config.policies {
            if let PolicyConfig::RequireApproval(config) = policy {
                policies.push(Arc::new(RequireApproval::new(config, Arc::clone(&self.approvals))));
            }
        }
        policies
    }

    /// The guards as policies, under these settings.
    fn guards(&self, db: &DbPool, config: &RequestGuardsConfig) -> Vec<Arc<dyn Policy>> {
        let guard = |(name, guard): &(&'static str, Arc<dyn GatewayRequestGuard>)| {
            Arc::new(Guard::new(name, Arc::clone(guard), Arc::clone(db), config)) as Arc<dyn Policy>
        };
        self.guards.iter().map(guard).collect()
    }
}

/// A flaw of the access rules, which is told from above all their keys: the key, the pointer from there, what is wrong.
fn of_access(flaw: Flaw) -> Option<(&'static str, String, String)> {
    let below = flaw.pointer.strip_prefix('/')?;
    let (key, pointer) = ACCESS.iter().find_map(|place| Some((place.key(), below.strip_prefix(place.key())?)))?;
    Some((key, pointer.to_owned(), flaw.message))
}

/// What operators wrote about governance.
pub(crate) struct Sections {
    pub(crate) profile: GovernanceProfile,
    audit: AuditProfile,
    retention: RetentionProfile,
    pub(crate) policies: GovernanceConfig,
    access: AccessControlConfig,
    quotas: Vec<GatewayPolicyConfig>,
    alerts: Vec<QuotaAlertConfig>,
}

impl Sections {
    /// What is kept of content.
    pub(crate) fn retention(&self, config: &Configuration) -> Retention {
        self.retention.resolve(config.profile.runtime.environment == EnvironmentKind::Production)
    }

    pub(crate) fn read(config: &Configuration) -> Result<Self, String> {
        let read = || {
            Ok::<_, systemprompt_config::SectionError>(Self {
                profile: config.section_at(&PROFILE)?,
                audit: config.section_at(&AUDIT)?,
                retention: config.section_at(&RETENTION)?,
                policies: config.section_at(&POLICIES)?,
                quotas: config.section_at(&QUOTAS)?,
                alerts: config.section_at(&ALERTS)?,
                access: AccessControlConfig::read(config)?,
            })
        };
        read().map_err(|error| with_causes(&error))
    }
}

/// The id of this installation, made at the first start and kept beside the instance lock. It tells the runs of one
/// installation from those of its replicas, which share nothing but the database.
pub(crate) fn installation_id(configuration: &Configuration, ambient: &Ambient) -> Result<String, String> {
    let directory = configuration.home.run_dir();
    let path = installation_id_file(configuration);
    let read_or_make = || match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            let id = InstanceId::generate(ambient).to_string();
            create_private_dir(&directory)?;
            write_secret_file(&path, id.as_bytes())?;
            Ok(id)
        }
    };
    read_or_make()
        .map_err(|error| format!("the installation's id in {} cannot be read or written: {error}", directory.display()))
}

/// The same, if it was made already and can be read.
pub(crate) fn known_installation_id(configuration: &Configuration) -> Option<String> {
    let id = std::fs::read_to_string(installation_id_file(configuration)).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

fn installation_id_file(configuration: &Configuration) -> PathBuf {
    configuration.home.run_dir().join("installation-id")
}

/// Where the checkpoints of the ledger are.
pub(crate) fn checkpoints_dir(configuration: &Configuration) -> PathBuf {
    configuration.home.directory().join("ledger")
}

fn failed(error: &dyn std::fmt::Display) -> LoaderError {
    LoaderError::InitializationFailed { extension: "governance".to_owned(), message: error.to_string() }
}
