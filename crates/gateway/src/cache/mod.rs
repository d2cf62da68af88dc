//! Answers that are given once more: what a route's provider said to the same request, kept in the database so that all
//! servers share it.
//!
//! What is kept are the provider's bytes. An answer from here takes the way of one from there: it is translated, looked at by
//! policies and recorded the same, and costs nothing. Whoever asks has passed the Gate before.

mod caching;
mod entry;
mod key;
pub mod queries;
mod service;

pub(crate) use caching::{Asked, Caching, Gathering, Told};
pub(crate) use service::AnswerCache;
