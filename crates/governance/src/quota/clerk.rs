//! Who counts: one task for each server, which asks PostgreSQL for all requests that wait at once.
//!
//! While one statement is on its way the next requests gather, so many at once share it; a lone one has its own. What ended
//! travels with what begins. A request is counted in all of its buckets or in none, over all servers together: PostgreSQL
//! locks the rows, decides and counts in that one statement ([`turn`](queries::turn)).
//!
//! Nothing is leased and counted from memory, as the [lease engine](systemprompt_database::lease) does for single limits:
//! several windows that must be granted together or not at all would need a lease of each, and what one server holds of a
//! window that another one exhausts would be refused to somebody.

use std::sync::Arc;
use std::time::Duration;

use systemprompt_database::DbPool;
use systemprompt_extension::policy::Usage;
use systemprompt_model::{ActionId, Ambient, Condition, with_causes};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::bucket::{Bucket, Ended, Wanted};
use super::queries::{self, Turned};

/// How long PostgreSQL may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests that begin, and requests that end, in one statement.
const BATCH: usize = 256;
/// How long ends wait for something that begins.
const LINGER: Duration = Duration::from_millis(10);
/// When ends are told again that could not be told.
const AGAIN: Duration = Duration::from_secs(1);

/// PostgreSQL could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("quotas cannot be counted at present")]
pub(super) struct Unavailable;

/// What a request found.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is counted.
    Granted(Held),
    /// It is counted nowhere.
    Refused {
        /// What it found in each of its buckets.
        found: Vec<Usage>,
    },
}

/// A bucket as it is now, for whoever watches.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) id: i64,
    pub(super) bucket: Bucket,
    pub(super) used: Usage,
}

/// Is told what buckets hold.
pub(super) type Watch = Arc<dyn Fn(&[Reading]) + Send + Sync>;

/// Asks the task. Clones ask the same one.
#[derive(Debug, Clone)]
pub(super) struct Clerk(mpsc::UnboundedSender<Job>);

#[derive(Debug)]
enum Job {
    Begin(Wanted, oneshot::Sender<Result<Answer, Unavailable>>),
    End(Ended),
    Flush(oneshot::Sender<()>),
}

/// A request that is counted. Dropped without being [settled](Self::settle) it was never made.
#[derive(Debug)]
pub(super) struct Held {
    clerk: Clerk,
    action: ActionId,
    buckets: Vec<(i64, Bucket)>,
    /// What was found in each of its buckets.
    pub(super) found: Vec<Usage>,
    used: Usage,
}

impl Held {
    /// The request has ended and used this.
    pub(super) fn settle(mut self, used: &Usage) {
        self.used = *used;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let ended = Ended { action: self.action, used: self.used, buckets: std::mem::take(&mut self.buckets) };
        // When the task is gone the server has stopped; recovery finds the hold.
        let _ = self.clerk.0.send(Job::End(ended));
    }
}

/// The other end of a [`Clerk`].
pub(crate) struct Desk {
    clerk: Clerk,
    jobs: mpsc::UnboundedReceiver<Job>,
    db: DbPool,
    ambient: Ambient,
    watch: Watch,
    /// PostgreSQL does not count.
    failing: Condition,
}

impl Clerk {
    /// A clerk, and the task to be [run](Desk::run). `watch` is told what buckets hold when that has changed.
    pub(super) fn new(db: DbPool, ambient: Ambient, watch: Watch) -> (Self, Desk) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let clerk = Self(sender);
        (clerk.clone(), Desk { clerk, jobs, db, ambient, watch, failing: Condition::default() })
    }

    /// Counts a request in all of its buckets or in none.
    pub(super) async fn begin(&self, wanted: Wanted) -> Result<Answer, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Job::Begin(wanted, answer)).map_err(|_| Unavailable)?;
        answered.await.unwrap_or(Err(Unavailable))
    }

    /// A request that another server left behind has ended.
    pub(super) fn end(&self, ended: Ended) {
        let _ = self.0.send(Job::End(ended));
    }

    /// Waits until everything that was said before is told.
    pub(super) async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.0.send(Job::Flush(done)).is_ok() {
            let _ = told.await;
        }
    }
}

#[derive(Default)]
struct Pile {
    ended: Vec<Ended>,
    wanted: Vec<Wanted>,
    asking: Vec<oneshot::Sender<Result<Answer, Unavailable>>>,
    flushed: Vec<oneshot::Sender<()>>,
}

impl Pile {
    fn add(&mut self, job: Job) {
        match job {
            // Whoever has stopped waiting is counted nowhere.
            Job::Begin(_, answer) if answer.is_closed() => {}
            Job::Begin(wanted, answer) => {
                self.wanted.push(wanted);
                self.asking.push(answer);
            }
            Job::End(ended) => self.ended.push(ended),
            Job::Flush(done) => self.flushed.push(done),
        }
    }

    fn is_full(&self) -> bool {
        self.wanted.len() >= BATCH || self.ended.len() >= BATCH
    }

    fn can_wait(&self) -> bool {
        self.wanted.is_empty() && self.flushed.is_empty() && !self.is_full()
    }
}

impl Desk {
    /// Works until cancelled, and then until nothing is left that was asked before.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut pile = Pile::default();
        loop {
            let first = if pile.ended.is_empty() {
                tokio::select! {
                    biased;
                    job = self.jobs.recv() => job,
                    () = cancel.cancelled() => None,
                }
            } else {
                timeout(AGAIN, self.jobs.recv()).await.unwrap_or_default()
            };
            let stopped = first.is_none() && cancel.is_cancelled();
            pile.extend(first);
            while !pile.is_full()
                && let Ok(job) = self.jobs.try_recv()
            {
                pile.add(job);
            }
            let deadline = Instant::now() + LINGER;
            while !stopped
                && pile.can_wait()
                && let Ok(Some(job)) = timeout_at(deadline, self.jobs.recv()).await
            {
                pile.add(job);
            }
            let told = self.turn(&mut pile).await;
            if told && pile.ended.is_empty() {
                for done in pile.flushed.drain(..) {
                    let _ = done.send(());
                }
            }
            if stopped && self.jobs.is_empty() {
                return;
            }
        }
    }

    /// Tells PostgreSQL what is piled up. Says whether it could.
    async fn turn(&mut self, pile: &mut Pile) -> bool {
        let (wanted, asking) = (std::mem::take(&mut pile.wanted), std::mem::take(&mut pile.asking));
        let ended = pile.ended.len().min(BATCH);
        if wanted.is_empty() && ended == 0 {
            return true;
        }
        let statement = queries::turn(self.db.write(), self.ambient.now(), &pile.ended[..ended], &wanted);
        let turned = match timeout(PATIENCE, statement).await {
            Ok(Ok(turned)) => turned,
            failed => {
                if self.failing.begins() {
                    let reason = match failed {
                        Ok(Err(error)) => with_causes(&error),
                        _ => "PostgreSQL does not answer in time".to_owned(),
                    };
                    tracing::error!(reason, "quotas cannot be counted; requests are refused");
                }
                // It may have been counted, and was not made.
                pile.ended.extend(wanted.into_iter().map(|wanted| Ended {
                    action: wanted.action,
                    used: Usage::NOTHING,
                    buckets: Vec::new(),
                }));
                for answer in asking {
                    drop(answer.send(Err(Unavailable)));
                }
                return false;
            }
        };
        if let Some(lasted) = self.failing.ends() {
            tracing::info!(lasted_ms = lasted.as_millis() as u64, "quotas are counted again");
        }
        let mut readings = Vec::new();
        let ends: Vec<Ended> = pile.ended.drain(..ended).collect();
        for (id, used) in &turned.changed {
            let bucket = ends.iter().flat_map(|ended| &ended.buckets).find(|(known, _)| known == id);
            readings.extend(bucket.map(|(id, bucket)| Reading { id: *id, bucket: bucket.clone(), used: *used }));
        }
        self.answer(wanted, asking, turned, &mut readings);
        if !readings.is_empty() {
            (self.watch)(&readings);
        }
        true
    }

    fn answer(
        &self,
        wanted: Vec<Wanted>,
        asking: Vec<oneshot::Sender<Result<Answer, Unavailable>>>,
        turned: Turned,
        readings: &mut Vec<Reading>,
    ) {
        let mut found = turned.found.into_iter();
        for ((wanted, asking), granted) in wanted.into_iter().zip(asking).zip(turned.granted) {
            let mine: Vec<(i64, Usage)> = found.by_ref().take(wanted.claims.len()).collect();
            let buckets =
                mine.iter().zip(wanted.claims).map(|((id, _), claim)| (*id, claim.bucket)).collect::<Vec<_>>();
            for ((id, used), (_, bucket)) in mine.iter().zip(&buckets) {
                let used = if granted { plus(used, &wanted.set_aside) } else { *used };
                readings.push(Reading { id: *id, bucket: bucket.clone(), used });
            }
            let found = mine.into_iter().map(|(_, used)| used).collect();
            let answer = if granted {
                let (clerk, action) = (self.clerk.clone(), wanted.action);
                Answer::Granted(Held { clerk, action, buckets, found, used: Usage::NOTHING })
            } else {
                Answer::Refused { found }
            };
            // Whoever stopped waiting drops what it was granted, and so gives it back.
            let _ = asking.send(Ok(answer));
        }
    }
}

impl Extend<Job> for Pile {
    fn extend<T: IntoIterator<Item = Job>>(&mut self, jobs: T) {
        jobs.into_iter().for_each(|job| self.add(job));
    }
}

/// Both together.
pub(super) fn plus(one: &Usage, other: &Usage) -> Usage {
    Usage {
        calls: one.calls.saturating_add(other.calls),
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        cost: one.cost + other.cost,
    }
}
