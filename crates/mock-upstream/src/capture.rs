//! The requests the mock remembers.

use std::collections::VecDeque;

use bytes::Bytes;
use http::request::Parts;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// How much the mock remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureLimits {
    /// The number of requests; older ones are forgotten. Zero remembers none, which is right for benchmarks.
    pub requests: usize,
    /// The bytes of all bodies together.
    pub bytes: usize,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self { requests: 256, bytes: 64 * 1024 * 1024 }
    }
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedRequest {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl CapturedRequest {
    pub(crate) fn new(head: &Parts, body: Bytes) -> Self {
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        Self { method: head.method.to_string(), path: head.uri.to_string(), headers, body }
    }

    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Serialize for CapturedRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut request = serializer.serialize_struct("CapturedRequest", 5)?;
        request.serialize_field("method", &self.method)?;
        request.serialize_field("path", &self.path)?;
        request.serialize_field("headers", &self.headers)?;
        // A body that is no text has to be shown in a way that loses nothing either.
        if let Ok(text) = std::str::from_utf8(&self.body) {
            request.serialize_field("body", text)?;
        } else {
            request.serialize_field("body_hex", &hex::encode(&self.body))?;
        }
        request.end()
    }
}

/// The last requests.
#[derive(Debug)]
pub(crate) struct Captures {
    limits: CaptureLimits,
    requests: VecDeque<CapturedRequest>,
    bytes: usize,
}

impl Captures {
    pub(crate) fn new(limits: CaptureLimits) -> Self {
        Self { limits, requests: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn wanted(&self) -> bool {
        self.limits.requests > 0
    }

    pub(crate) fn push(&mut self, request: CapturedRequest) {
        self.bytes += request.body.len();
        self.requests.push_back(request);
        while self.requests.len() > self.limits.requests || self.bytes > self.limits.bytes {
            let Some(oldest) = self.requests.pop_front() else { break };
            self.bytes -= oldest.body.len();
        }
    }

    pub(crate) fn all(&self) -> Vec<CapturedRequest> {
        self.requests.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.requests.clear();
        self.bytes = 0;
    }
}
