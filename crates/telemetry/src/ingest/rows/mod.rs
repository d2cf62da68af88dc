//! From messages to rows: flat, without credentials, and within a bound whatever was sent.
//!
//! Rows repeat what the messages say once, so a small request could make large ones. What is beyond a bound is
//! rejected, which the sender is told.

mod cleaning;
mod logs;
mod maker;
mod metrics;
mod spans;

use chrono::{DateTime, Utc};
use systemprompt_governance::secret_scan::SecretScanner;

use super::read::Request;
use super::signal::Signal;
use maker::Maker;

pub(super) use logs::LogRow;
pub(super) use metrics::PointRow;
pub(super) use spans::SpanRow;

/// The rows of a request.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) items: Items,
    /// How many there are no rows of.
    pub(super) rejected: u64,
    /// Why.
    pub(super) why: Option<&'static str>,
}

/// Rows of one kind.
#[derive(Debug)]
pub(super) enum Items {
    Spans(Vec<SpanRow>),
    Logs(Vec<LogRow>),
    Points(Vec<PointRow>),
}

impl Rows {
    pub(super) fn signal(&self) -> Signal {
        match self.items {
            Items::Spans(_) => Signal::Traces,
            Items::Logs(_) => Signal::Logs,
            Items::Points(_) => Signal::Metrics,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.items {
            Items::Spans(rows) => rows.len(),
            Items::Logs(rows) => rows.len(),
            Items::Points(rows) => rows.len(),
        }
    }
}

/// The rows of a request that came at a time.
pub(super) fn rows(request: Request, received_at: DateTime<Utc>, scanner: &SecretScanner) -> Rows {
    let mut maker = Maker::new(scanner, received_at);
    let items = match request {
        Request::Traces(request) => Items::Spans(spans::rows(request, &mut maker)),
        Request::Logs(request) => Items::Logs(logs::rows(request, &mut maker)),
        Request::Metrics(request) => Items::Points(metrics::rows(request, &mut maker)),
    };
    Rows { items, rejected: maker.rejected, why: maker.why }
}
