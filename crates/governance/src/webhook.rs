//! Messages of ours to addresses operators chose, signed as the specification of Standard Webhooks says.

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use systemprompt_model::Secret;
use uuid::Uuid;

/// Brings a message to its address.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Posts `body` to `url` with these headers. Anything but a success is an error, in words for the log.
    async fn post(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Result<(), String>;

    /// Puts an object into a store that speaks S3. Anything but a success is an error, in words for the log.
    async fn put(&self, object: StoredObject<'_>) -> Result<(), String>;
}

/// An object for a store that speaks S3. Who brings it signs for it.
#[derive(Debug, Clone)]
pub struct StoredObject<'a> {
    /// Its whole address.
    pub url: String,
    /// The region of the bucket.
    pub region: &'a str,
    /// The access key, as a secret of the profile has it.
    pub credentials: &'a Secret,
    /// What is said of it.
    pub headers: Vec<(&'static str, String)>,
    /// Itself.
    pub body: String,
    /// When it is put.
    pub at: DateTime<Utc>,
}

/// Asks addresses that operators chose, and none that leads into the machine's own network.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Posts a JSON `body` to `url` with these headers, and gives the whole answer of at most `limit` bytes, whatever its
    /// status. Redirects are not followed. No answer is an error, in words for the log.
    async fn ask(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), String>;
}

/// What a message is called, wherever it goes.
pub(crate) fn name(id: Uuid) -> String {
    format!("msg_{}", id.simple())
}

/// The key of a secret: what follows `whsec_` in Base64, otherwise its text.
pub(crate) fn key(secret: &str) -> hmac::Key {
    let decoded = secret.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    hmac::Key::new(hmac::HMAC_SHA256, decoded.as_deref().unwrap_or(secret.as_bytes()))
}

/// The headers of Standard Webhooks.
pub(crate) fn signed(key: &hmac::Key, id: Uuid, now: DateTime<Utc>, body: &str) -> [(&'static str, String); 3] {
    let id = name(id);
    let time = now.timestamp().to_string();
    let signature = hmac::sign(key, format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(signature));
    [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_signed_as_the_standard_says() {
        // The example of the specification of Standard Webhooks, with an id of ours.
        let key = key(concat!("whsec", "_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let now = DateTime::from_timestamp(1_614_265_330, 0).expect("a time");
        let [id, time, signature] = signed(&key, Uuid::nil(), now, r#"{"test": 2432232314}"#);
        assert_eq!(id.1, "msg_00000000000000000000000000000000");
        assert_eq!(time.1, "1614265330");
        let expected = hmac::sign(&key, format!("{}.{}.{}", id.1, time.1, r#"{"test": 2432232314}"#).as_bytes());
        assert_eq!(signature.1, format!("v1,{}", STANDARD.encode(expected)));
        let decoded = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("Base64");
        let vendor = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &decoded),
            br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#,
        );
        assert_eq!(STANDARD.encode(vendor), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
