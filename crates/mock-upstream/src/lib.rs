//! A provider of model answers for tests and benchmarks: no model, but every behaviour a provider can have.
//!
//! It speaks every wire, whatever comes before the path, over HTTP/1.1: Anthropic Messages, OpenAI Chat Completions,
//! Responses and embeddings, Gemini, Bedrock's invoke and Converse with their binary frames, and the same in the paths of
//! Vertex AI; and it is the token service of the three clouds. One description of an answer ([`Behaviour`]) is written by
//! one writer per wire (`wire`). It answers at once or slowly, whole or in chunks, and fails in all the ways providers fail; see [`Behaviour`] and
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
mod asked;
mod behaviour;
mod body;
mod capture;
mod connection;
mod said;
mod script;
mod server;
mod shared;
mod statistics;
mod tokens;
mod wire;

pub use behaviour::{Behaviour, Fault, MockSearch, MockStop, MockToolCall, MockUsage};
pub use capture::{CaptureLimits, CapturedRequest};
pub use server::MockUpstream;
pub use statistics::Statistics;
