//! Objects of a store that speaks S3: what they are called, and what is said of them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use systemprompt_model::Secret;
use uuid::Uuid;

use crate::config::{ObjectLockConfig, ObjectStoreShipmentConfig, Shipped};
use crate::webhook::StoredObject;

/// Where objects go.
pub(super) struct Bucket {
    base: String,
    region: String,
    prefix: String,
    lock: Option<ObjectLockConfig>,
}

impl Bucket {
    pub(super) fn of(configured: &ObjectStoreShipmentConfig) -> Self {
        Self {
            base: configured.base(),
            region: configured.region.clone(),
            prefix: configured.prefix.clone(),
            lock: configured.lock,
        }
    }

    /// An object for each chain. Its name says what is in it, so that what is told again takes the place of nothing else:
    /// the same lines have the same name, and more of them another one.
    pub(super) fn objects<'a>(
        &'a self,
        what: Shipped,
        lines: impl Iterator<Item = (Uuid, i64, String)>,
        credentials: &'a Secret,
        at: DateTime<Utc>,
    ) -> Vec<StoredObject<'a>> {
        let mut chains: Vec<(Uuid, i64, i64, String)> = Vec::new();
        for (chain, seq, line) in lines {
            match chains.iter_mut().find(|(known, ..)| *known == chain) {
                Some((_, _, last, body)) => {
                    *last = seq;
                    body.push_str(&line);
                }
                None => chains.push((chain, seq, seq, line)),
            }
        }
        let kind = match what {
            Shipped::Events => "events",
            Shipped::Entries => "entries",
            Shipped::Checkpoints => "checkpoints",
        };
        let object = |(chain, first, last, body): (Uuid, i64, i64, String)| StoredObject {
            url: format!("{}/{}{chain}/{first:020}-{last:020}.{kind}.jsonl", self.base, self.prefix),
            region: &self.region,
            credentials,
            headers: self.headers(&body, at),
            body,
            at,
        };
        chains.into_iter().map(object).collect()
    }

    fn headers(&self, body: &str, at: DateTime<Utc>) -> Vec<(&'static str, String)> {
        // A store takes no lock without a checksum that it can compare.
        let mut headers = vec![
            ("content-type", "application/x-ndjson".to_owned()),
            ("x-amz-checksum-sha256", STANDARD.encode(digest(&SHA256, body.as_bytes()))),
            ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
        ];
        if let Some(lock) = self.lock {
            let until = at + TimeDelta::days(i64::from(lock.days));
            headers.push(("x-amz-object-lock-mode", lock.mode.as_header().to_owned()));
            headers.push(("x-amz-object-lock-retain-until-date", until.to_rfc3339_opts(SecondsFormat::Secs, true)));
        }
        headers
    }
}
