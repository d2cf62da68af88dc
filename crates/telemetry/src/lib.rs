//! Telemetry in the OpenTelemetry protocol, both ways: what clients send of their own work is stored under the name of who
//! sent it, and what the gateway does is sent to a collector.
//!
//! [`otlp`] has the messages of the protocol, in protobuf and JSON. [`Ingest`] takes what a client sends: reads it
//! (`ingest/read`), makes rows of it without credentials in them (`ingest/rows`) and stores all of them with one statement
//! (`ingest/store`). [`stored`] is how they are read. The addresses it comes in at are the gateway's, so that a client needs
//! to know one server and one credential.
//!
//! [`Exporter`] is told what was done when it is over, and a task of its own sends that (`export/worker`). Without a
//! collector in the configuration there is none.
//!
//! To add a signal: its messages in `otlp`, a variant of [`Signal`], a table in `schema/` and a file beside
//! `ingest/rows/spans.rs`.

mod config;
mod export;
mod extension;
mod ingest;
pub mod otlp;
pub mod stored;

pub use export::{CollectorError, Exporter, Instrument, span_id};
pub use extension::{Export, TelemetryExtension};
pub use ingest::{Encoding, Ingest, Refused, Signal, Taken};
