//! What was decided before: a client that hears nothing sends the same event again.
//!
//! An event that can be told from others has an id that follows from what it says, which is the id of its action. What this
//! server decided lately it remembers; what other servers, or this one before it was started, decided is in the table of
//! decisions. Those are looked up many at once: while one statement is under way, the next ids gather.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use systemprompt_database::DbPool;
use systemprompt_governance::decisions::{Made, decisions_about};
use systemprompt_model::{ActionId, SessionId};
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Events remembered; each takes about 300 bytes.
const REMEMBERED: u64 = 50_000;
/// For how long.
const MEMORY: Duration = Duration::from_mins(15);
/// Ids that one statement asks about.
const AT_ONCE: usize = 512;
/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was decided about an event.
pub(crate) type Outcome = Made;

/// The decisions about events that can come again.
pub(crate) struct Earlier {
    remembered: Cache<ActionId, Arc<OnceCell<Outcome>>>,
    lookups: mpsc::Sender<Lookup>,
}

struct Lookup {
    id: ActionId,
    answer: oneshot::Sender<Option<Outcome>>,
}

/// It cannot be found out whether an event was decided before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unknown;

impl Earlier {
    /// Remembers nothing yet; asks `db`, in a task that the caller runs.
    pub(crate) fn new(db: DbPool) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (lookups, waiting) = mpsc::channel(4 * AT_ONCE);
        let remembered = Cache::builder().max_capacity(REMEMBERED).time_to_live(MEMORY).build();
        (Self { remembered, lookups }, look_up(db, waiting))
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
                if let Some(made) = self.find(id).await? {
                    return Ok(made);
                }
                is_new = true;
                decide().await
            })
            .await?;
        Ok((outcome.clone(), is_new))
    }

    async fn find(&self, id: ActionId) -> Result<Option<Outcome>, Unknown> {
        let (answer, found) = oneshot::channel();
        self.lookups.send(Lookup { id, answer }).await.map_err(|_| Unknown)?;
        found.await.map_err(|_| Unknown)
    }
}

/// Answers lookups until nobody is left to ask.
async fn look_up(db: DbPool, mut waiting: mpsc::Receiver<Lookup>) {
    let mut lookups = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut lookups, AT_ONCE).await > 0 {
        let ids: Vec<ActionId> = lookups.iter().map(|lookup| lookup.id).collect();
        // The primary: a read replica may not have yet what another server just decided.
        match tokio::time::timeout(PATIENCE, decisions_about(db.write(), &ids)).await {
            Ok(Ok(mut found)) => {
                for Lookup { id, answer } in lookups.drain(..) {
                    // Whoever asked may have gone.
                    let _ = answer.send(found.remove(&id));
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
