//! What was decided before: a client that hears nothing sends the same event again.
//!
//! An event that can be told from others has an id that follows from what it says, which is the id of its action. What this
//! server decided lately it remembers; what other servers, or this one before it was started, decided is in the table of
//! decisions. Of several servers that are sent it at once one claims it, and the others wait for what it decides. Claims are
//! made, and decisions looked up, many at once: while one statement is under way, the next ids gather.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use systemprompt_database::DbPool;
use systemprompt_governance::decisions::{Made, decisions_about};
use systemprompt_model::{ActionId, SessionId};
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The table of claims.
pub(crate) const SCHEMA: &str = include_str!("../schema/hook_claims.sql");

/// Events remembered; each takes about 300 bytes.
const REMEMBERED: u64 = 50_000;
/// For how long.
const MEMORY: Duration = Duration::from_mins(15);
/// Ids that one statement asks about.
const AT_ONCE: usize = 512;
/// How long the database may take, and another server.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked what another server decided.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// After how long somebody else may decide instead of a server that claimed it: it is in the table of decisions by then,
/// unless that server died, or the table is behind the log. In the latter case the call is decided and recorded twice, which
/// is better than to keep its person waiting for the table.
const CLAIMED_FOR_SECS: f64 = 10.0;
/// How often claims that are over are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// What was decided about an event.
pub(crate) type Outcome = Made;

/// The decisions about events that can come again.
pub(crate) struct Earlier {
    remembered: Cache<ActionId, Arc<OnceCell<Outcome>>>,
    lookups: mpsc::Sender<Lookup>,
}

struct Lookup {
    id: ActionId,
    answer: oneshot::Sender<Found>,
}

/// What is known of an event.
enum Found {
    /// It was decided.
    Decided(Outcome),
    /// It was not, and this server is to do it.
    Ours,
    /// Another server is about to.
    Elsewhere,
}

/// It cannot be found out whether an event was decided before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unknown;

impl Earlier {
    /// Remembers nothing yet; asks `db`, in a task that the caller runs.
    pub(crate) fn new(db: DbPool, server: Uuid) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (lookups, waiting) = mpsc::channel(4 * AT_ONCE);
        let remembered = Cache::builder().max_capacity(REMEMBERED).time_to_live(MEMORY).build();
        (Self { remembered, lookups }, look_up(db, server, waiting))
    }

    /// What was decided about the event of this id, or is decided now. Of many who ask at once one decides.
    ///
    /// Says whether it was decided now.
    pub(crate) async fn or_decide<E: From<Unknown>>(
        &self,
        id: ActionId,
        decide: impl AsyncFnOnce() -> Result<Outcome, E>,
    ) -> Result<(Outcome, bool), E> {
        let cell = self.remembered.get_with(id, Arc::default);
        let mut is_new = false;
        let outcome = cell
            .get_or_try_init(async || {
                let deadline = Instant::now() + PATIENCE;
                loop {
                    match self.find(id).await? {
                        Found::Decided(made) => return Ok(made),
                        Found::Ours => break,
                        Found::Elsewhere if Instant::now() < deadline => sleep(ASK_EVERY).await,
                        Found::Elsewhere => return Err(Unknown.into()),
                    }
                }
                is_new = true;
                decide().await
            })
            .await?;
        Ok((outcome.clone(), is_new))
    }

    async fn find(&self, id: ActionId) -> Result<Found, Unknown> {
        let (answer, found) = oneshot::channel();
        self.lookups.send(Lookup { id, answer }).await.map_err(|_| Unknown)?;
        found.await.map_err(|_| Unknown)
    }
}

/// Answers lookups until nobody is left to ask.
async fn look_up(db: DbPool, server: Uuid, mut waiting: mpsc::Receiver<Lookup>) {
    let mut lookups = Vec::with_capacity(AT_ONCE);
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let received = tokio::select! {
            received = waiting.recv_many(&mut lookups, AT_ONCE) => received,
            _ = sweep.tick() => {
                if let Err(error) = delete_old(&db).await {
                    tracing::debug!(%error, "old claims could not be deleted; they will be with the next ones");
                }
                continue;
            }
        };
        if received == 0 {
            return;
        }
        let ids: Vec<ActionId> = lookups.iter().map(|lookup| lookup.id).collect();
        match tokio::time::timeout(PATIENCE, claim_or_find(&db, server, &ids)).await {
            Ok(Ok((claimed, mut found))) => {
                for Lookup { id, answer } in lookups.drain(..) {
                    let found = match found.remove(&id) {
                        Some(made) => Found::Decided(made),
                        None if claimed.contains(&id.as_uuid()) => Found::Ours,
                        None => Found::Elsewhere,
                    };
                    // Whoever asked may have gone.
                    let _ = answer.send(found);
                }
            }
            Ok(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "earlier decisions about hooks cannot be read"
                );
                lookups.clear();
            }
            Err(_) => {
                tracing::error!("earlier decisions about hooks were not read in time");
                lookups.clear();
            }
        }
    }
}

/// Claims these events, and looks up what was decided of them: in this order, so that whatever was decided by who had the
/// claim before is found.
async fn claim_or_find(
    db: &DbPool,
    server: Uuid,
    ids: &[ActionId],
) -> Result<(HashSet<Uuid>, HashMap<ActionId, Made>), sqlx::Error> {
    let mut wanted: Vec<Uuid> = ids.iter().map(ActionId::as_uuid).collect();
    // Who claims many takes them in the same order as everybody else, and each once.
    wanted.sort_unstable();
    wanted.dedup();
    let claimed = sqlx::query_scalar!(
        r#"
        INSERT INTO hook_claims AS c (id, server, claimed_at)
        SELECT id, $2, clock_timestamp() FROM UNNEST($1::uuid[]) AS wanted (id)
        ON CONFLICT (id) DO UPDATE SET server = EXCLUDED.server, claimed_at = EXCLUDED.claimed_at
        WHERE c.server = EXCLUDED.server OR c.claimed_at < clock_timestamp() - make_interval(secs => $3)
        RETURNING id
        "#,
        &wanted,
        server,
        CLAIMED_FOR_SECS,
    )
    .fetch_all(db.write())
    .await?;
    // The primary: a read replica may not have yet what another server just decided.
    let found = decisions_about(db.write(), ids).await?;
    Ok((claimed.into_iter().collect(), found))
}

async fn delete_old(db: &DbPool) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM hook_claims WHERE claimed_at < clock_timestamp() - interval '1 minute'")
        .execute(db.write())
        .await?;
    Ok(())
}

/// Runs `work` until the server stops. What is asked after that is refused.
pub(crate) async fn until(shutdown: CancellationToken, work: impl Future<Output = ()>) {
    shutdown.run_until_cancelled(work).await;
}

/// The id of an event of a session that is the same whenever it comes, whoever is asked. Each part counts with its length.
pub(crate) fn id_of(session: SessionId, parts: &[&[u8]]) -> ActionId {
    let mut digest = Sha256::new();
    digest.update(b"systemprompt.hook.1");
    digest.update(session.as_uuid().as_bytes());
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    ActionId::from_uuid(uuid::Builder::from_custom_bytes(std::array::from_fn(|i| digest[i])).into_uuid())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use systemprompt_database::Module;
    use systemprompt_database::testing;
    use systemprompt_extension::SchemaDefinition;

    use super::*;

    const DECISIONS: &str = include_str!("../../governance/schema/decisions.sql");

    fn module() -> Module {
        Module {
            id: "hooks".to_owned(),
            schemas: vec![
                SchemaDefinition::inline("governance_decisions", DECISIONS),
                SchemaDefinition::inline("hook_claims", SCHEMA),
            ],
            ..Module::default()
        }
    }

    fn allowed() -> Outcome {
        Made { allowed: true, policy: "default_allow".to_owned(), reason: None }
    }

    async fn record(db: &DbPool, id: ActionId) {
        sqlx::query(
            "INSERT INTO governance_decisions (id, action_id, effect, trace_id, entity_type, entity_id, tool_name, decision,
                 policy, evaluated_rules, policy_version, actor_kind, actor_id, created_at)
             VALUES ($1, $1, 'hook', $1, 'hook', 'govern', 'Bash', 'allow', 'default_allow', '[]', 'v', 'user', 'u', now())",
        )
        .bind(id.as_uuid())
        .execute(db.write())
        .await
        .expect("a row");
    }

    #[tokio::test]
    async fn of_servers_that_are_sent_the_same_at_once_one_decides() {
        let database = testing::database(&[module()]).await;
        let servers: Vec<Arc<Earlier>> = (1..=3)
            .map(|number| {
                let (earlier, looking) = Earlier::new(Arc::clone(&database.pool), Uuid::from_u128(number));
                #[expect(clippy::disallowed_methods, reason = "a test")]
                tokio::spawn(looking);
                Arc::new(earlier)
            })
            .collect();
        let session = SessionId::from_uuid(Uuid::from_u128(7));
        for round in 0_u32..20 {
            let id = id_of(session, &[&round.to_be_bytes()]);
            let decided = AtomicUsize::new(0);
            let decide = async || {
                decided.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(30)).await;
                record(&database.pool, id).await;
                Ok::<_, Unknown>(allowed())
            };
            let asked = servers.iter().map(|server| server.or_decide(id, decide));
            let answers = futures_util::future::join_all(asked).await;
            assert_eq!(decided.load(Ordering::SeqCst), 1, "round {round}");
            let new = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|(_, is_new)| *is_new)).count();
            assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|(made, _)| made.allowed)));
            assert_eq!(new, 1, "round {round}");
        }
    }

    #[tokio::test]
    async fn a_claim_of_a_server_that_died_is_over_after_a_while_and_one_of_a_failure_at_once() {
        let database = testing::database(&[module()]).await;
        let (earlier, looking) = Earlier::new(Arc::clone(&database.pool), Uuid::from_u128(1));
        #[expect(clippy::disallowed_methods, reason = "a test")]
        tokio::spawn(looking);
        let id = id_of(SessionId::from_uuid(Uuid::from_u128(7)), &[b"call"]);
        sqlx::query("INSERT INTO hook_claims VALUES ($1, $2, clock_timestamp())")
            .bind(id.as_uuid())
            .bind(Uuid::from_u128(2))
            .execute(database.pool.write())
            .await
            .expect("a row");
        let refused = earlier.or_decide(id, async || Ok::<_, Unknown>(allowed())).await;
        assert_eq!(refused.err(), Some(Unknown), "it may be about to decide");
        sqlx::query("UPDATE hook_claims SET claimed_at = claimed_at - interval '11 s'")
            .execute(database.pool.write())
            .await
            .expect("a row");
        let failed = earlier.or_decide(id, async || Err::<Outcome, _>(Unknown)).await;
        assert_eq!(failed.err(), Some(Unknown));
        let (made, is_new) = earlier.or_decide(id, async || Ok::<_, Unknown>(allowed())).await.expect("a decision");
        assert!(made.allowed && is_new);
    }
}
