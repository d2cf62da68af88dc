//! Rounds of load: so many connections, each of which sends its next request when it has the last answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::connection::Connection;
use crate::request::{Ending, SERIAL};
use crate::statistics::Times;

/// How long after the end of a round its last answers may come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that are kept from round to round.
pub(crate) struct Clients {
    idle: Vec<Client>,
    ending: Ending,
}

struct Client {
    connection: Connection,
    request: Vec<u8>,
    /// Where the number of the sending stands in it.
    serial: Option<usize>,
    sent: u64,
}

/// What a round found.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    /// From before the request was written to the last byte of the answer.
    pub(crate) whole: Times,
    /// … to the first byte of the answer's body.
    pub(crate) first_byte: Times,
    /// Answers with another status, or that were not whole, or did not come.
    pub(crate) errors: u64,
    /// What the first error was.
    pub(crate) first_error: Option<String>,
}

/// A round, from the first request to the last answer.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) elapsed: Duration,
    pub(crate) timings: Timings,
}

/// When a round ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) time: Duration,
    pub(crate) requests: u64,
}

impl Clients {
    /// One connection per request, which it repeats, with a number of its own each time if it has a place for one.
    pub(crate) fn new(address: SocketAddr, requests: Vec<Arc<[u8]>>, ending: Ending) -> Self {
        let client = |request: Arc<[u8]>| Client {
            connection: Connection::new(address),
            serial: memchr::memmem::find(&request, SERIAL.as_bytes()),
            request: request.to_vec(),
            sent: 0,
        };
        Self { idle: requests.into_iter().map(client).collect(), ending }
    }

    /// Sends requests until the limit is reached.
    pub(crate) async fn round(&mut self, limit: Limit) -> Result<Round> {
        let left = Arc::new(AtomicU64::new(limit.requests));
        let begun = Instant::now();
        let deadline = begun + limit.time;
        let expected = self.idle.len();
        // One for all: they run on one thread, and a histogram each would be much memory for thousands.
        let timings = Arc::new(Mutex::new(Timings::default()));
        let mut running = JoinSet::new();
        for client in self.idle.drain(..) {
            running.spawn(repeat(client, left.clone(), deadline, self.ending, timings.clone()));
        }
        let finished = timeout(limit.time + PATIENCE, running.join_all()).await;
        let elapsed = begun.elapsed();
        self.idle.extend(finished.context("answers that do not come")?);
        let timings = std::mem::take(&mut *lock(&timings));
        debug_assert_eq!(self.idle.len(), expected);
        Ok(Round { elapsed, timings })
    }

    /// Sends one request per connection, and fails if any is not answered as it should be.
    pub(crate) async fn check(&mut self) -> Result<()> {
        let round = self.round(Limit { time: PATIENCE, requests: self.idle.len() as u64 }).await?;
        match round.timings.first_error {
            None => Ok(()),
            Some(error) => bail!("{error}"),
        }
    }
}

async fn repeat(
    mut client: Client,
    left: Arc<AtomicU64>,
    deadline: Instant,
    ending: Ending,
    timings: Arc<Mutex<Timings>>,
) -> Client {
    let take_one = |left: u64| left.checked_sub(1);
    let mut errors = 0;
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
        let Client { connection, request, serial, sent } = &mut client;
        *sent += 1;
        if let Some(at) = *serial {
            let number = format!("{sent:0width$}", width = SERIAL.len());
            request[at..at + SERIAL.len()].copy_from_slice(number.as_bytes());
        }
        let outcome = connection.exchange(request).await;
        let mut timings = lock(&timings);
        match outcome {
            Ok(answer) if answer.status == 200 && ending.fits(connection.body()) => {
                timings.whole.add(answer.whole);
                timings.first_byte.add(answer.first_byte);
            }
            Ok(answer) => {
                let body = String::from_utf8_lossy(connection.body());
                let excerpt: String = body.chars().take(500).collect();
                timings.fail(|| format!("status {}: {excerpt}", answer.status));
                errors += 1;
            }
            Err(error) => {
                timings.fail(|| format!("{error:#}"));
                errors += 1;
            }
        }
        // A server that is gone refuses at once; without an end this would be a busy loop until the deadline.
        if Instant::now() >= deadline || errors >= 1000 {
            break;
        }
    }
    client
}

fn lock(timings: &Mutex<Timings>) -> MutexGuard<'_, Timings> {
    timings.lock().expect("nothing panics while it holds the timings")
}

impl Timings {
    fn fail(&mut self, describe: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(describe);
    }
}

#[cfg(test)]
mod tests {
    use systemprompt_mock_upstream::{Behaviour, Fault, MockUpstream};

    use super::*;
    use crate::request::{self, Answers, Destination, Dialect, Prompt};

    const ALL: Limit = Limit { time: Duration::from_mins(1), requests: 100 };

    fn clients(upstream: &MockUpstream, dialect: Dialect, answers: Answers, concurrency: u64) -> Clients {
        let destination = Destination::new(upstream.address(), "key");
        let prompt = Prompt { dialect, answers, bytes: 1024 };
        let requests = (0..concurrency).map(|n| request::write(&destination, prompt, n)).collect();
        Clients::new(destination.address, requests, answers.ending())
    }

    #[tokio::test]
    async fn every_request_of_a_round_is_sent_and_timed_once() {
        let upstream = MockUpstream::start().await.unwrap();
        for dialect in [Dialect::Anthropic, Dialect::Openai] {
            for answers in [Answers::Buffered, Answers::Streamed] {
                let before = upstream.statistics();
                let mut clients = clients(&upstream, dialect, answers, 7);
                for _ in 0..2 {
                    let round = clients.round(ALL).await.unwrap();
                    assert_eq!((round.timings.whole.count(), round.timings.first_byte.count()), (100, 100));
                    assert_eq!((round.timings.errors, round.timings.first_error), (0, None));
                }
                let after = upstream.statistics();
                assert_eq!(after.requests - before.requests, 200);
                assert_eq!(after.connections - before.connections, 7, "they are kept from round to round");
                assert_eq!(after.abandoned_answers, 0);
            }
        }
        upstream.stop().await;
    }

    #[tokio::test]
    async fn answers_that_are_not_whole_are_errors() {
        let upstream = MockUpstream::start().await.unwrap();
        let status = Fault::Status { status: 503, body: Some("away".to_owned()), retry_after: None };
        let check = async |answers: Answers, fault: Fault, expected: &str| {
            upstream.behave(Behaviour { fault: Some(fault), fault_times: Some(1), ..Behaviour::default() });
            let round = clients(&upstream, Dialect::Anthropic, answers, 1).round(ALL).await.unwrap();
            assert_eq!((round.timings.errors, round.timings.whole.count()), (1, 99), "the rest is well again");
            let error = round.timings.first_error.unwrap();
            assert!(error.contains(expected), "{error}");
        };
        check(Answers::Buffered, status, "status 503: away").await;
        check(Answers::Buffered, Fault::CloseBeforeHeaders, "closed without an answer").await;
        check(Answers::Buffered, Fault::GarbageJson, "status 200: {\"id\": \"garbage\"").await;
        check(Answers::Streamed, Fault::CloseMidStream { after_chunks: 2 }, "closed after").await;
        check(Answers::Streamed, Fault::NoTerminalEvent, "status 200: event: message_start").await;
        upstream.stop().await;
    }
}
