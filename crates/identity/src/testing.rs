//! Replicas for tests: each has its own pools, listening connection and memory, on one database and one clock.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use systemprompt_database::lease::Leases;
use systemprompt_database::notify::NotificationHub;
use systemprompt_database::testing::TestDatabase;
use systemprompt_database::{Database, DbPool, Module};
use systemprompt_extension::{CredentialsRefused, Extension, ExtensionRegistry, Metrics};
use systemprompt_governance::changes::{ChangeFilter, ChangeRow, list_changes};
use systemprompt_governance::config::GovernanceConfig;
use systemprompt_governance::ledger::{AuditProfile, Durability, LedgerOptions, LedgerSettings, RetentionProfile};
use systemprompt_governance::policy::PolicyChain;
use systemprompt_governance::secret_scan::SecretScanner;
use systemprompt_governance::{Gate, GovernanceExtension, Ledger};
use systemprompt_model::{Ambient, InstanceId, ManualClock, Principal, Secret, SessionId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api_key::IssuedKey;
use crate::identity::{Identity, IdentityOptions};
use crate::schema;
use crate::session::{NewSession, SessionSource};
use crate::signing_key::SigningKeys;
use crate::signing_key::set::KeySet;
use crate::token::ScopeSet;
use crate::token::issuer::{MintedToken, TokenRequest};
use crate::user::User;
use crate::user::change::NewUser;
use systemprompt_extension::AuthError;

pub(crate) const ISSUER: &str = "https://ai.example.com";

/// Making an RSA key takes long; every test uses this one.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::generate(start()).expect("a key"));

/// So does compiling its expressions.
static SCANNER: LazyLock<Arc<SecretScanner>> =
    LazyLock::new(|| Arc::new(SecretScanner::of(&GovernanceConfig::default()).expect("the defaults are valid")));

/// A database with this crate's tables, and the clock its replicas share.
pub(crate) struct World {
    pub database: TestDatabase,
    pub clock: Arc<ManualClock>,
    pub ambient: Ambient,
}

/// One server process.
pub(crate) struct Replica {
    pub identity: Identity,
    pub db: DbPool,
    /// Without access rules, which do not speak of changes.
    pub gate: Arc<Gate>,
    ledger: Arc<Ledger>,
    /// Stops the listening connection.
    pub deafen: CancellationToken,
    shutdown: CancellationToken,
    pub hub: NotificationHub,
    pub tracker: TaskTracker,
}

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

impl World {
    pub(crate) async fn new() -> Self {
        let mut modules = ExtensionRegistry::of([Arc::new(GovernanceExtension) as Arc<dyn Extension>]).modules();
        let identity =
            Module { id: "identity".to_owned(), required: true, schemas: schema::definitions(), ..Module::default() };
        modules.push(identity);
        let clock = Arc::new(ManualClock::new(start()));
        Self {
            database: systemprompt_database::testing::database(&modules).await,
            ambient: Ambient { clock: clock.clone(), ..Ambient::system() },
            clock,
        }
    }

    /// A replica that hears announcements.
    pub(crate) async fn replica(&self) -> Replica {
        let db = Database::connect(&self.database.connect_options()).await.expect("connects");
        let (tracker, shutdown, deafen) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let hub = NotificationHub::start(&db, &tracker, deafen.clone());
        let leases = Leases::new(Arc::clone(&db), self.ambient.clone());
        let instance_id = InstanceId::generate(&self.ambient);
        let options = LedgerOptions {
            instance_id,
            name: instance_id.to_string(),
            exclusive: true,
            settings: LedgerSettings { durability: Durability::Durable, ..LedgerSettings::default() },
            audit: AuditProfile::default(),
            retention: RetentionProfile::default().resolve(false),
            journal: None,
            checkpoints: None,
        };
        let (projections, metrics) = (GovernanceExtension.projections(), Metrics::new());
        let ledger = Ledger::start(&db, options, projections, &self.ambient, &tracker, &metrics).await.expect("starts");
        let policies =
            PolicyChain::new(&GovernanceConfig::default(), Vec::new(), &leases, None).expect("the defaults are valid");
        let gate = Arc::new(Gate::new(None, policies, Arc::clone(&ledger), &metrics));
        let identity = Identity::start(IdentityOptions {
            leases,
            db: Arc::clone(&db),
            ambient: self.ambient.clone(),
            notifications: &hub,
            tracker: &tracker,
            shutdown: &shutdown,
            signing_keys: Arc::new(SigningKeys::from_set(KEYS.clone())),
            issuer: ISSUER,
            audience: "api",
            scanner: Arc::clone(&SCANNER),
            refused: CredentialsRefused::register(&metrics),
        });
        let replica = Replica { identity, db, gate, ledger, deafen, shutdown, hub, tracker };
        replica.until(|replica| replica.identity.changes.is_live()).await;
        replica
    }
}

impl Replica {
    /// Does something that is announced, and waits until this replica has acted on the announcement.
    pub(crate) async fn hears<T>(&self, change: impl Future<Output = T>) -> T {
        let mut heard = self.identity.changes.heard();
        heard.mark_unchanged();
        let result = change.await;
        tokio::time::timeout(Duration::from_secs(10), heard.changed())
            .await
            .expect("the change is announced")
            .expect("somebody listens");
        result
    }

    /// Waits for a condition that changes with announcements or the loss of them.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut heard = self.identity.changes.heard();
        let wait = heard.wait_for(|_| condition(self));
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("becomes true").expect("somebody listens");
    }

    pub(crate) async fn user(&self, name: &str, roles: &[&str]) -> User {
        let new = NewUser {
            name: name.to_owned(),
            email: format!("{name}@example.com"),
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            ..NewUser::default()
        };
        self.identity.users.create(new).await.expect("creates the user")
    }

    pub(crate) async fn key(&self, user: &User) -> IssuedKey {
        self.identity.api_keys.issue(user.id, "test", None).await.expect("issues the key")
    }

    pub(crate) async fn session(&self, user: &User) -> SessionId {
        let new = NewSession::new(user.id, SessionSource::Cli);
        self.identity.sessions.open(new).await.expect("opens the session").id
    }

    pub(crate) async fn token(&self, user: &User, scope: &str) -> MintedToken {
        let request = TokenRequest {
            user,
            session: self.session(user).await,
            audiences: &["api", "web"],
            scope: ScopeSet::parse(scope),
            lifetime: TimeDelta::hours(1),
            authenticated_at: start(),
            client_id: None,
            plugin_id: None,
            act: None,
        };
        self.identity.tokens.mint(request).expect("signs the token")
    }

    pub(crate) async fn authenticate(&self, credential: &Secret) -> Result<Arc<Principal>, AuthError> {
        self.identity.authenticator.authenticate(&bearer(credential.expose())).await
    }

    /// What the ledger knows of changes, the newest first. No more can be made after it.
    pub(crate) async fn changes(&self) -> Vec<ChangeRow> {
        assert!(self.ledger.drain(Duration::from_secs(10)).await, "everything is written");
        self.ledger.catch_up().await.expect("projects");
        let filter = ChangeFilter { limit: 100, ..ChangeFilter::default() };
        list_changes(self.db.read(), &filter).await.expect("lists").items
    }

    /// What the ledger knows of changes once none is under way; more can be made after it.
    pub(crate) async fn finished_changes(&self) -> Vec<ChangeRow> {
        loop {
            self.ledger.catch_up().await.expect("projects");
            let filter = ChangeFilter { limit: 100, ..ChangeFilter::default() };
            let changes = list_changes(self.db.read(), &filter).await.expect("lists").items;
            if !changes.is_empty() && changes.iter().all(|change| change.status != "pending") {
                return changes;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn stop(self) {
        self.deafen.cancel();
        self.shutdown.cancel();
        self.ledger.drain(Duration::from_secs(10)).await;
        self.tracker.close();
        self.tracker.wait().await;
        self.db.close().await;
    }
}

pub(crate) fn bearer(credential: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {credential}").parse().expect("a header value"));
    headers
}
