//! Being told to stop.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{CliError, CliResult};

/// Whether this process was told to stop: SIGTERM, SIGINT, or SIGHUP when its terminal is closed.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<u32>);

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> CliResult<Self> {
        let listen = |kind| signal(kind).map_err(|error| CliError::from_error("failed", &error));
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        // `nohup` says that the end of the terminal is none of our business.
        let mut hangup = if hangup_is_ignored() { None } else { Some(listen(SignalKind::hangup())?) };
        let (sender, count) = watch::channel(0_u32);
        #[expect(clippy::disallowed_methods, reason = "it listens until the process ends")]
        tokio::spawn(async move {
            let hung_up = async |hangup: &mut Option<tokio::signal::unix::Signal>| match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            };
            loop {
                // A supervisor that repeats SIGTERM is not impatient; a person at a terminal is.
                tokio::select! {
                    _ = terminate.recv() => sender.send_modify(|count| *count = (*count).max(1)),
                    _ = hung_up(&mut hangup) => sender.send_modify(|count| *count = (*count).max(1)),
                    _ = interrupt.recv() => sender.send_modify(|count| *count += 1),
                }
            }
        });
        Ok(Self(count))
    }

    /// Whether it was told to.
    pub(crate) fn is_told(&self) -> bool {
        *self.0.borrow() >= 1
    }

    /// Waits until it is told to.
    pub(crate) async fn told(&self) {
        self.times(1).await;
    }

    /// Waits until a person has asked twice.
    pub(crate) async fn told_twice(&self) {
        self.times(2).await;
    }

    /// What `work` comes to, or nothing if the word to stop is there first; `work` is given up then.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.told() => None,
            done = work => Some(done),
        }
    }

    async fn times(&self, times: u32) {
        if self.0.clone().wait_for(|count| *count >= times).await.is_err() {
            // The listening task is gone, which it is never before the process.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether the process was started with SIGHUP ignored. Only Linux says so without unsafe code.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}
