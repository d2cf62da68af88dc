//! `opentelemetry.proto.logs.v1` and its collector service.

use prost::Message;
use serde::Deserialize;

use super::json::{hexadecimal, unsigned};
use super::{AnyValue, InstrumentationScope, KeyValue, Resource};

/// What `POST /v1/logs` takes.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsServiceRequest {
    /// Records by what produced them.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// Records of one resource.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceLogs {
    /// What produced them.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Records by library.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// Records of one library.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeLogs {
    /// The library.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// The records.
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// A log line, or an event.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRecord {
    /// Nanoseconds since 1970; 0 if only the time of observation is known.
    #[prost(fixed64, tag = "1")]
    #[serde(deserialize_with = "unsigned")]
    pub time_unix_nano: u64,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "11")]
    #[serde(deserialize_with = "unsigned")]
    pub observed_time_unix_nano: u64,
    /// Trace 1–4, debug 5–8, info 9–12, warn 13–16, error 17–20, fatal 21–24.
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    /// The same as its producer calls it.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// What is said.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// What is known of it.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// 16 bytes, or none.
    #[prost(bytes = "vec", tag = "9")]
    #[serde(deserialize_with = "hexadecimal")]
    pub trace_id: Vec<u8>,
    /// 8 bytes, or none.
    #[prost(bytes = "vec", tag = "10")]
    #[serde(deserialize_with = "hexadecimal")]
    pub span_id: Vec<u8>,
    /// The name of an event.
    #[prost(string, tag = "12")]
    pub event_name: String,
}
