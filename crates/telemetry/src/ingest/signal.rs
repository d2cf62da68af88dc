//! What can be sent, how, and what is answered.

use bytes::Bytes;
use prost::Message as _;
use serde_json::json;

use crate::otlp::{ExportReply, PartialSuccess, RpcStatus};

/// The kinds of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Stretches of work.
    Traces,
    /// Log lines and events.
    Logs,
    /// Measurements.
    Metrics,
}

impl Signal {
    pub(super) const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// Its name in paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The signal a path ends with.
    pub fn of_path(path: &str) -> Option<Self> {
        let last = path.trim_end_matches('/').rsplit('/').next()?;
        Self::ALL.into_iter().find(|signal| signal.as_str() == last)
    }

    /// What a partial success calls its items.
    const fn rejected(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Logs => "rejectedLogRecords",
            Self::Metrics => "rejectedDataPoints",
        }
    }
}

/// The encodings of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// The encoding a `content-type` names.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its `content-type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The body of a failure, a `google.rpc.Status`.
    pub fn status(self, code: i32, message: String) -> Bytes {
        match self {
            Self::Protobuf => RpcStatus { code, message }.encode_to_vec().into(),
            Self::Json => json!({ "code": code, "message": message }).to_string().into(),
        }
    }
}

/// What was stored, and what was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What it was.
    pub signal: Option<Signal>,
    /// How many spans, records or data points were not stored.
    pub rejected: u64,
    /// Why.
    pub why: Option<&'static str>,
}

impl Taken {
    /// The answer to whoever sent it: `Export…ServiceResponse`.
    pub fn body(&self, encoding: Encoding) -> Bytes {
        let partial_success = self.why.map(|why| PartialSuccess {
            rejected: i64::try_from(self.rejected).unwrap_or(i64::MAX),
            error_message: why.to_owned(),
        });
        match (encoding, partial_success, self.signal) {
            (Encoding::Protobuf, partial_success, _) => ExportReply { partial_success }.encode_to_vec().into(),
            (Encoding::Json, Some(partial), Some(signal)) => {
                // 64-bit integers are texts in the JSON of protobuf.
                let rejected = partial.rejected.to_string();
                json!({ "partialSuccess": { (signal.rejected()): rejected, "errorMessage": partial.error_message } })
                    .to_string()
                    .into()
            }
            (Encoding::Json, ..) => Bytes::from_static(b"{}"),
        }
    }
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not in the protocol. Sending it again is no use.
    #[error("the body is no OTLP request in {}: {why}", encoding.content_type())]
    Unreadable {
        /// What it was read as.
        encoding: Encoding,
        /// What is wrong.
        why: String,
    },
    /// Too much comes at once.
    #[error("too much telemetry comes at once; send it again later")]
    Busy,
    /// The database cannot take it.
    #[error("telemetry cannot be stored at present; send it again later")]
    Unavailable,
}
