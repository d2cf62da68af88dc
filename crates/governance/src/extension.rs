//! Governance as a feature of the server.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use schemars::schema_for;
use systemprompt_config::files::{create_private_dir, write_secret_file};
use systemprompt_config::profile::EnvironmentKind;
use systemprompt_config::{Configuration, Place, Problem, SectionSpec};
use systemprompt_extension::LogRetention;
use systemprompt_extension::prelude::*;
use systemprompt_model::InstanceId;

use crate::access::{AccessRules, BootstrapOptions, DEPARTMENT};
use crate::config::{AccessControlConfig, AccessRuleConfig, DepartmentConfig, GovernanceConfig};
use crate::gate::Gate;
use crate::ledger::{self, GovernanceProfile, Ledger, LedgerOptions, RetentionProfile};
use crate::policy::PolicyChain;

/// How the ledger is written, for this server.
const PROFILE: Place = Place::Profile { key: "governance" };
/// What is kept of content, for this server.
const RETENTION: Place = Place::Profile { key: "retention" };
/// Which policies apply, for every server.
const POLICIES: Place = GovernanceConfig::PLACE;
/// Who may use what, for every server.
const RULES: Place = Place::Service { path: "access-control/*.yaml", key: "rules" };
/// The departments rules speak of.
const DEPARTMENTS: Place = Place::Service { path: "access-control/*.yaml", key: "departments" };

/// How long a stopping server waits for the ledger to be written. The hook has ten seconds.
const DRAIN_WITHIN: Duration = Duration::from_secs(9);

/// Access rules, policies and the audit ledger. Provides [`Gate`], [`AccessRules`] and [`Ledger`].
#[derive(Debug, Default, Clone, Copy)]
pub struct GovernanceExtension;

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

    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![
            ledger::schema(),
            SchemaDefinition::inline("access_control_entities", include_str!("../schema/access.sql")),
        ]
    }

    fn seeds(&self) -> Vec<Seed> {
        vec![ledger::seed()]
    }

    fn config_sections(&self) -> Vec<SectionSpec> {
        let section =
            |place, schema: schemars::Schema| SectionSpec { place, schema: schema.into(), extension: "governance" };
        vec![
            section(PROFILE, schema_for!(GovernanceProfile)),
            section(RETENTION, schema_for!(RetentionProfile)),
            section(POLICIES, schema_for!(GovernanceConfig)),
            section(RULES, schema_for!(Vec<AccessRuleConfig>)),
            section(DEPARTMENTS, schema_for!(Vec<DepartmentConfig>)),
        ]
    }

    fn validate_sections(&self, config: &Configuration) -> Vec<Problem> {
        let Ok(sections) = Sections::read(config) else {
            // The schemas are generated from these types; what does not fit was reported with its place.
            return Vec::new();
        };
        let policies = sections.policies.flaws().into_iter().map(|flaw| (POLICIES.key(), flaw.pointer, flaw.message));
        // The flaws of the access rules are told from above both keys.
        let access = sections.access.flaws().into_iter().filter_map(|flaw| {
            let (key, pointer) = [RULES.key(), DEPARTMENTS.key()]
                .into_iter()
                .find_map(|key| Some((key, flaw.pointer.strip_prefix('/')?.strip_prefix(key)?.to_owned())))?;
            Some((key, pointer, flaw.message))
        });
        policies.chain(access).map(|(key, pointer, message)| config.error(key, &pointer, message)).collect()
    }

    fn provides<'a>(
        &'a self,
        ctx: &'a dyn ExtensionContext,
        services: &'a mut ServiceMap,
    ) -> BoxFuture<'a, Result<(), LoaderError>> {
        Box::pin(async move {
            let configuration = ctx.configuration();
            let sections = Sections::read(configuration).map_err(|error| failed(&error))?;
            let run_dir = configuration.home.run_dir();
            let options = LedgerOptions {
                instance_id: ctx.instance_id(),
                instance_name: installation_id(&run_dir, ctx).map_err(|error| {
                    failed(&format!(
                        "the installation's id in {} cannot be read or written: {error}",
                        run_dir.display()
                    ))
                })?,
                settings: sections.profile.ledger,
                retention: sections
                    .retention
                    .resolve(configuration.profile.runtime.environment == EnvironmentKind::Production),
            };
            services.insert(Arc::new(LogRetention { days: options.retention.days }));
            let ledger = Ledger::start(ctx.db(), options, ctx.ambient(), ctx.tracker(), ctx.metrics())
                .await
                .map_err(|error| failed(&with_cause(&error)))?;
            let rules = AccessRules::start(
                Arc::clone(ctx.db()),
                ctx.ambient().clone(),
                ctx.notifications(),
                vec![DEPARTMENT.to_owned()],
                ctx.tracker(),
                ctx.shutdown().clone(),
            );
            let policies =
                PolicyChain::new(&sections.policies, ctx.leases()).map_err(|error| failed(&with_cause(&error)))?;
            let gate = Gate::new(Arc::clone(&rules), policies, Arc::clone(&ledger), ctx.metrics());
            services.insert(Arc::new(gate));
            services.insert(rules);
            services.insert(ledger);
            Ok(())
        })
    }

    fn on_start<'a>(&'a self, ctx: &'a dyn ExtensionContext) -> BoxFuture<'a, Result<(), LoaderError>> {
        Box::pin(async move {
            let (gate, ledger) = (ctx.service::<Gate>()?, ctx.service::<Ledger>()?);
            let sections = Sections::read(ctx.configuration()).map_err(|error| failed(&error))?;
            gate.access_rules()
                .bootstrap(&sections.access, BootstrapOptions::default())
                .await
                .map_err(|error| failed(&with_cause(&error)))?;
            let closed = ledger.recover().await.map_err(|error| failed(&with_cause(&error)))?;
            if closed > 0 {
                tracing::warn!(requests = closed, "requests that an earlier run left open are recorded as abandoned");
            }
            ctx.tracker().spawn(ledger.maintain(ctx.shutdown().clone()));
            Ok(())
        })
    }

    fn on_shutdown<'a>(&'a self, ctx: &'a dyn ExtensionContext) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(ledger) = ctx.services().get::<Ledger>() {
                ledger.drain(DRAIN_WITHIN).await;
            }
        })
    }

    fn health<'a>(&'a self, ctx: &'a dyn ExtensionContext) -> BoxFuture<'a, ExtensionHealth> {
        Box::pin(async move {
            match ctx.services().get::<Ledger>() {
                Some(ledger) if ledger.is_available() => ExtensionHealth::Healthy,
                Some(_) => {
                    ExtensionHealth::Unhealthy("the audit ledger cannot be written; requests are refused".to_owned())
                }
                None => ExtensionHealth::Unhealthy("the audit ledger was not started".to_owned()),
            }
        })
    }
}

systemprompt_extension::register_built_in!(GovernanceExtension);

/// What operators wrote about governance.
struct Sections {
    profile: GovernanceProfile,
    retention: RetentionProfile,
    policies: GovernanceConfig,
    access: AccessControlConfig,
}

impl Sections {
    fn read(config: &Configuration) -> Result<Self, String> {
        let read = || {
            Ok::<_, systemprompt_config::SectionError>(Self {
                profile: config.section_at(&PROFILE)?,
                retention: config.section_at(&RETENTION)?,
                policies: config.section_at(&POLICIES)?,
                access: AccessControlConfig {
                    rules: config.section_at(&RULES)?,
                    departments: config.section_at(&DEPARTMENTS)?,
                },
            })
        };
        read().map_err(|error| with_cause(&error))
    }
}

/// The id of this installation, made at the first start and kept beside the instance lock. It tells the runs of one
/// installation from those of its replicas, which share nothing but the database.
fn installation_id(run_dir: &Path, ctx: &dyn ExtensionContext) -> io::Result<String> {
    let path = run_dir.join("installation-id");
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Ok(_) => new_installation_id(&path, ctx),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_installation_id(&path, ctx),
        Err(error) => Err(error),
    }
}

fn new_installation_id(path: &Path, ctx: &dyn ExtensionContext) -> io::Result<String> {
    let id = InstanceId::generate(ctx.ambient()).to_string();
    if let Some(directory) = path.parent() {
        create_private_dir(directory)?;
    }
    write_secret_file(path, id.as_bytes())?;
    Ok(id)
}

fn failed(error: &dyn std::fmt::Display) -> LoaderError {
    LoaderError::InitializationFailed { extension: "governance".to_owned(), message: error.to_string() }
}

/// The error and everything behind it, for a message that is printed once.
fn with_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
