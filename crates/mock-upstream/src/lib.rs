//! A provider of model answers for tests and benchmarks: no model, but every behaviour a provider can have.
//!
//! It speaks Anthropic Messages and OpenAI Chat Completions, with and without `/v1` before the path, over HTTP/1.1. It
//! answers at once or slowly, whole or in chunks, and fails in all the ways providers fail; see [`Behaviour`] and
//! [`Fault`]. It counts requests and connections and remembers what it received, byte for byte.
//!
//! A test starts one inside its process:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use systemprompt_mock_upstream::{Behaviour, Fault, MockUpstream};
//!
//! let upstream = MockUpstream::start().await?;
//! upstream.behave(Behaviour { fault: Some(Fault::CloseBeforeHeaders), ..Behaviour::default() });
//! // … point a gateway at `upstream.endpoint()`, send requests …
//! assert_eq!(upstream.statistics().requests, 0);
//! # Ok(())
//! # }
//! ```
//!
//! Tests in other languages start the program of the same name, read the port from its first line of output, and steer
//! it over HTTP:
//!
//! | Request | Effect |
//! |---|---|
//! | `PUT /__mock/behaviour` | sets the [`Behaviour`] (JSON); with `?model=NAME` for requests of that model only |
//! | `GET /__mock/behaviour` | shows it |
//! | `DELETE /__mock/behaviour` | forgets all behaviours |
//! | `GET /__mock/requests` | the last requests: method, path, headers, body |
//! | `DELETE /__mock/requests` | forgets them |
//! | `GET /__mock/statistics` | the counters of [`Statistics`] |

mod admin;
mod behaviour;
mod body;
mod capture;
mod connection;
mod script;
mod server;
mod shared;
mod statistics;

pub use behaviour::{Behaviour, Fault, MockToolCall, MockUsage};
pub use capture::{CaptureLimits, CapturedRequest};
pub use server::MockUpstream;
pub use statistics::Statistics;
