//! What the mock counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What the mock has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Requests for answers; requests to `/__mock` do not count.
    pub requests: u64,
    /// Tokens handed out by the token services; the requests for them do not count as requests.
    pub token_requests: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now, the one of this question included.
    pub open_connections: u64,
    /// Answers that are being waited for or sent.
    pub open_answers: u64,
    /// Answers whose receiver went away before they were complete.
    pub abandoned_answers: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    token_requests: AtomicU64,
    connections: AtomicU64,
    open_connections: AtomicU64,
    open_answers: AtomicU64,
    abandoned_answers: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Statistics {
            requests: read(&self.requests),
            token_requests: read(&self.token_requests),
            connections: read(&self.connections),
            open_connections: read(&self.open_connections),
            open_answers: read(&self.open_answers),
            abandoned_answers: read(&self.abandoned_answers),
        }
    }

    /// Counts a token and gives back its number, from 1.
    pub(crate) fn token(&self) -> u64 {
        self.token_requests.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Counts a request and gives back its number, from 1.
    pub(crate) fn request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// An open connection.
pub(crate) struct OpenConnection(Arc<Counters>);

impl OpenConnection {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        counters.connections.fetch_add(1, Ordering::SeqCst);
        counters.open_connections.fetch_add(1, Ordering::SeqCst);
        Self(counters)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An answer somebody waits for.
pub(crate) struct OpenAnswer {
    counters: Arc<Counters>,
    ended: bool,
}

impl OpenAnswer {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        counters.open_answers.fetch_add(1, Ordering::SeqCst);
        Self { counters, ended: false }
    }

    /// The answer ended by the mock's own doing.
    pub(crate) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.counters.open_answers.fetch_sub(1, Ordering::SeqCst);
        if !self.ended {
            self.counters.abandoned_answers.fetch_add(1, Ordering::SeqCst);
        }
    }
}
