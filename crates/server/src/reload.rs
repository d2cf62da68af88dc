//! The configuration anew, without a restart: read, checked as a start checks it, and put in force as a whole or not at all.
//!
//! Requests that have begun keep what they began with. Who asks for it is [`watch`](crate::watch), or a command on any
//! machine: it says so on a channel of the database, on which every server answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::{Deserialize, Serialize};
use systemprompt_config::{Configuration, LoadRequest};
use systemprompt_database::notify::{self, Event, MAX_PAYLOAD, Subscription};
use systemprompt_extension::{ExtensionContext as _, Metrics, Reload, Timeouts};
use systemprompt_model::with_causes;

use crate::assembly::check;
use crate::context::ServerContext;
use crate::named_files::NamedFiles;

/// The channel on which a reload is asked for; the payload is a word to know the answers by.
pub const ASKED: &str = "config_reload";
/// The channel on which each server says how it went, as a [`Report`].
pub const ANSWERED: &str = "config_reloaded";

/// Secrets that are read at the start, whether or not they were there.
const OF_THE_PROCESS: [&str; 6] = [
    "database_url",
    "database_write_url",
    "jwt_secret",
    "manifest_signing_secret_seed",
    "oauth_at_rest_pepper",
    "signing_key_pem",
];

/// Most sentences of a report; the log has all of them.
const SENTENCES: usize = 8;
/// Longest sentence of a report.
const SENTENCE: usize = 600;

/// How a reload went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Reloaded {
    /// The configuration is the one in force.
    Unchanged,
    /// It is in force from now on.
    Applied {
        /// What it says otherwise.
        changed: Vec<String>,
        /// What of it only a restart puts in force.
        needs_restart: Vec<String>,
    },
    /// The one before is still in force.
    Refused {
        /// Why.
        problems: Vec<String>,
    },
}

impl Reloaded {
    const fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Applied { .. } => "applied",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What one server says about a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The word it was asked with.
    pub asked: String,
    /// What people call the server.
    pub instance: String,
    /// How it went.
    #[serde(flatten)]
    pub reloaded: Reloaded,
}

/// Reloads the configuration of one server.
pub struct Reloader {
    /// Weak, because the context owns the service map this is in.
    context: Weak<ServerContext>,
    /// Held while one reload is made.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    reloads: Family<Labels, Counter>,
    rejected: Gauge,
}

struct State {
    /// What is in force, but for what needs a restart.
    configuration: Arc<Configuration>,
    /// The files it names, as they were read.
    files: NamedFiles,
    /// What needs one.
    waiting: Vec<String>,
    last: Option<(DateTime<Utc>, Reloaded)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

impl Reloader {
    pub(crate) fn new(context: &Arc<ServerContext>) -> Self {
        let (reloads, rejected) = (Family::<Labels, Counter>::default(), Gauge::default());
        for outcome in ["unchanged", "applied", "refused"] {
            drop(reloads.get_or_create(&Labels { outcome }));
        }
        let metrics: &Metrics = context.metrics();
        metrics.register("config_reloads", "Reloads of the configuration by how they went", reloads.clone());
        metrics.register(
            "config_rejected",
            "1 while the configuration on disk is not the one in force because it is refused",
            rejected.clone(),
        );
        let configuration = Arc::clone(context.configuration());
        let files = NamedFiles::read(&context.registry, &configuration);
        let state = Mutex::new(State { configuration, files, waiting: Vec::new(), last: None });
        Self { context: Arc::downgrade(context), turn: tokio::sync::Mutex::default(), state, reloads, rejected }
    }

    /// When a reload was last made, and how it went.
    pub fn last(&self) -> Option<(DateTime<Utc>, Reloaded)> {
        self.state().last.clone()
    }

    /// What of the configuration on disk only a restart puts in force.
    pub fn waiting(&self) -> Vec<String> {
        self.state().waiting.clone()
    }

    /// The files that the configuration in force names.
    pub(crate) fn named_files(&self) -> Vec<PathBuf> {
        self.state().files.paths()
    }

    /// Reads the configuration again and puts it in force if it is one.
    pub async fn reload(&self) -> Reloaded {
        let _turn = self.turn.lock().await;
        let Some(context) = self.context.upgrade() else { return Reloaded::Unchanged };
        let (before, files) = {
            let state = self.state();
            (Arc::clone(&state.configuration), state.files.clone())
        };
        let reloaded = match attempt(&context, &before, &files).await {
            Ok((configuration, files, reloaded)) => {
                let mut state = self.state();
                state.configuration = configuration;
                state.files = files;
                if let Reloaded::Applied { needs_restart, .. } = &reloaded {
                    state.waiting.clone_from(needs_restart);
                }
                reloaded
            }
            Err(problems) => Reloaded::Refused { problems },
        };
        match &reloaded {
            Reloaded::Unchanged => tracing::debug!("the configuration is the one in force"),
            Reloaded::Applied { changed, needs_restart } if needs_restart.is_empty() => {
                tracing::info!(changed = changed.join(", "), "the configuration was reloaded");
            }
            Reloaded::Applied { changed, needs_restart } => tracing::warn!(
                changed = changed.join(", "),
                needs_restart = needs_restart.join(", "),
                "the configuration was reloaded; some of it waits for a restart"
            ),
            Reloaded::Refused { problems } => tracing::error!(
                problems = problems.join("; "),
                "the configuration on disk is refused; the one before stays in force"
            ),
        }
        self.reloads.get_or_create(&Labels { outcome: reloaded.word() }).inc();
        self.rejected.set(i64::from(matches!(reloaded, Reloaded::Refused { .. })));
        self.state().last = Some((context.ambient().now(), reloaded.clone()));
        reloaded
    }

    /// Reloads whenever somebody asks for it, until the server stops.
    pub(crate) async fn answer(self: Arc<Self>, mut asked: Subscription) {
        while let Some(event) = asked.next().await {
            // What was asked while nobody listened is found by whoever watches the files.
            let Event::Notification(word) = event else { continue };
            let reloaded = self.reload().await;
            let Some(context) = self.context.upgrade() else { return };
            let report = Report { asked: word, instance: context.instance_name.clone(), reloaded: short(reloaded) };
            let payload = serde_json::to_string(&report).unwrap_or_default();
            if payload.len() > MAX_PAYLOAD {
                continue;
            }
            if let Err(error) = notify::notify(context.db().write(), ANSWERED, &payload).await {
                tracing::warn!(%error, "whoever asked for the reload could not be told how it went");
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn attempt(
    context: &Arc<ServerContext>,
    before: &Arc<Configuration>,
    files_before: &NamedFiles,
) -> Result<(Arc<Configuration>, NamedFiles, Reloaded), Vec<String>> {
    let request = LoadRequest {
        home: before.home.clone(),
        profile: Some(before.profile_file.display().to_string()),
        environment: before.environment.clone(),
    };
    let registry = Arc::clone(&context.registry);
    // Files are read and schemas applied: not on a thread that serves.
    let checked = tokio::task::spawn_blocking(move || {
        let (checked, report) = check(&registry, &request);
        let files = checked.as_ref().map(|(configuration, _)| NamedFiles::read(&registry, configuration));
        (checked, files.unwrap_or_default(), report)
    });
    let (checked, files, report) = checked.await.map_err(|error| vec![error.to_string()])?;
    let Some((configuration, _)) = checked else {
        return Err(report.errors().map(ToString::to_string).collect());
    };
    let differences = before.differences(&configuration);
    let changed_files = files_before.changed(&files);
    if differences.is_empty() && changed_files.is_empty() {
        return Ok((configuration, files, Reloaded::Unchanged));
    }
    let mut ready: Vec<(&'static str, Reload)> = Vec::new();
    for extension in context.registry.iter() {
        let prepared =
            tokio::time::timeout(Timeouts::default().start, extension.reload(context.as_ref(), &configuration));
        match prepared.await {
            Ok(Ok(Some(reload))) => ready.push((extension.id(), reload)),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return Err(vec![with_causes(&error)]),
            Err(_) => return Err(vec![format!("`{}` was not ready in time", extension.id())]),
        }
    }
    // Since the start: what waited for a restart before still does.
    let since_start = context.configuration().differences(&configuration);
    let mut needs_restart: Vec<String> = since_start.keys.clone();
    for (key, owner) in &since_start.sections {
        if !ready.iter().any(|(id, _)| id == owner) {
            needs_restart.push(key.clone());
        }
    }
    let taken: BTreeSet<&String> = ready.iter().flat_map(|(_, reload)| reload.secrets()).collect();
    // One that nobody had at the start is nobody's yet, but for those the process itself looks for.
    let was_set = |name: &str| context.configuration().secrets.get(name).is_some() || OF_THE_PROCESS.contains(&name);
    let kept = since_start.secrets.iter().filter(|secret| !taken.contains(secret) && was_set(secret));
    needs_restart.extend(kept.map(|secret| format!("secrets.{secret}")));
    needs_restart.extend(ready.iter().flat_map(|(_, reload)| reload.restart()).cloned());
    for (_, reload) in ready {
        reload.apply().await.map_err(|error| vec![with_causes(&error)])?;
    }
    let mut changed = differences.names();
    for key in changed_files {
        if !changed.iter().any(|named| named == key) {
            changed.push(key.to_owned());
        }
    }
    Ok((configuration, files, Reloaded::Applied { changed, needs_restart }))
}

/// What fits into a notification.
fn short(reloaded: Reloaded) -> Reloaded {
    let few = |sentences: Vec<String>| {
        sentences.into_iter().take(SENTENCES).map(|text| text.chars().take(SENTENCE).collect()).collect()
    };
    match reloaded {
        Reloaded::Unchanged => Reloaded::Unchanged,
        Reloaded::Applied { changed, needs_restart } => {
            Reloaded::Applied { changed: few(changed), needs_restart: few(needs_restart) }
        }
        Reloaded::Refused { problems } => Reloaded::Refused { problems: few(problems) },
    }
}
