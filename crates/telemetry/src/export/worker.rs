//! The task that sends: what waits in batches, measurements at intervals, and the rest at the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use systemprompt_extension::Metrics;
use systemprompt_model::Ambient;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, PostError};
use super::counters::ExportCounters;
use super::measures::Measures;
use super::page;
use super::time::nanoseconds;
use crate::otlp::{
    ExportMetricsServiceRequest, ExportTraceServiceRequest, InstrumentationScope, Resource, ResourceMetrics,
    ResourceSpans, ScopeMetrics, ScopeSpans, Span,
};

/// Requests whose spans are sent with one POST.
const BATCH: usize = 256;
/// Spans are sent at the latest after this.
const FLUSH: Duration = Duration::from_secs(1);
/// Pauses before sending again, where the collector asks for none.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(10)];

/// Sends what an exporter was told.
pub(crate) struct Worker {
    pub(super) collector: Collector,
    pub(super) queue: mpsc::Receiver<Vec<Span>>,
    /// Spans that were taken from the queue and are not sent yet.
    pub(super) waiting: Vec<Span>,
    pub(super) measures: Option<Arc<Mutex<Measures>>>,
    pub(super) page: Option<Metrics>,
    pub(super) started: u64,
    pub(super) interval: Duration,
    pub(super) resource: Resource,
    pub(super) ambient: Ambient,
    pub(super) counters: ExportCounters,
}

impl Worker {
    /// Sends until cancelled. What then waits is left for [`Self::finish`].
    pub(crate) async fn run(&mut self, cancel: &CancellationToken) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = ticks.tick() => self.send_metrics(Some(cancel)).await,
                () = gather(&mut self.queue, &mut self.waiting) => self.send_spans(Some(cancel)).await,
            }
        }
    }

    /// Sends the rest, for at most `limit`.
    pub(crate) async fn finish(&mut self, limit: Duration) {
        let last = async {
            self.queue.close();
            while let Some(spans) = self.queue.recv().await {
                self.waiting.extend(spans);
            }
            self.send_spans(None).await;
            self.send_metrics(None).await;
        };
        if tokio::time::timeout(limit, last).await.is_err() {
            self.counters.dropped("traces", self.waiting.len() as u64);
            tracing::warn!("the collector did not take the last telemetry in time");
        }
    }

    async fn send_spans(&mut self, cancel: Option<&CancellationToken>) {
        if self.waiting.is_empty() {
            return;
        }
        let count = self.waiting.len() as u64;
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans: std::mem::take(&mut self.waiting) }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        let mut request = ExportTraceServiceRequest { resource_spans };
        if !self.send("traces", count, &request, cancel).await {
            // Cancelled: the last attempt is that of the end.
            let spans = request.resource_spans.pop().and_then(|mut of| of.scope_spans.pop());
            self.waiting = spans.map(|of| of.spans).unwrap_or_default();
        }
    }

    async fn send_metrics(&mut self, cancel: Option<&CancellationToken>) {
        let now = nanoseconds(&self.ambient);
        let mut metrics =
            self.page.as_ref().map(|page| page::metrics(&page.encode(), self.started, now)).unwrap_or_default();
        if let Some(measures) = &self.measures {
            metrics.extend(measures.lock().unwrap_or_else(PoisonError::into_inner).metrics(now));
        }
        if metrics.is_empty() {
            return;
        }
        let count = metrics.len() as u64;
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
        let resource_metrics = vec![ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics }];
        // What is measured counts from the beginning, so the next report says what this one would have.
        self.send("metrics", count, &ExportMetricsServiceRequest { resource_metrics }, cancel).await;
    }

    /// Sends a request until it was taken or given up. False if that was cancelled.
    async fn send(
        &self,
        signal: &'static str,
        count: u64,
        request: &impl prost::Message,
        cancel: Option<&CancellationToken>,
    ) -> bool {
        let mut pauses = PAUSES.into_iter();
        loop {
            let posting = self.collector.post(signal, request);
            let posted = match cancel {
                Some(cancel) => match cancel.run_until_cancelled(posting).await {
                    Some(posted) => posted,
                    None => return false,
                },
                None => posting.await,
            };
            let error = match posted {
                Ok(None) => {
                    self.counters.sent(signal, count);
                    return true;
                }
                Ok(Some((rejected, why))) => {
                    let rejected = rejected.min(count);
                    self.counters.sent(signal, count - rejected);
                    self.counters.dropped(signal, rejected);
                    tracing::warn!(signal, rejected, why, "the collector did not take all telemetry");
                    return true;
                }
                Err(error) => error,
            };
            let pause = match &error {
                PostError::Later { pause, .. } => pauses.next().map(|usual| pause.unwrap_or(usual)),
                PostError::Refused(_) => None,
            };
            let (Some(pause), Some(cancel)) = (pause, cancel) else {
                self.counters.dropped(signal, count);
                tracing::warn!(signal, count, %error, "telemetry was not exported");
                return true;
            };
            if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return false;
            }
        }
    }
}

/// Takes what waits, and what comes within a moment after it.
async fn gather(queue: &mut mpsc::Receiver<Vec<Span>>, waiting: &mut Vec<Span>) {
    let Some(first) = queue.recv().await else {
        // Nobody exports spans.
        return std::future::pending().await;
    };
    waiting.extend(first);
    let mut requests = 1;
    let more = async {
        while requests < BATCH
            && let Some(spans) = queue.recv().await
        {
            waiting.extend(spans);
            requests += 1;
        }
    };
    let _ = tokio::time::timeout(FLUSH, more).await;
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "systemprompt".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
