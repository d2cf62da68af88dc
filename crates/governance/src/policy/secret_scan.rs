//! `secret_scan`: no credentials in what is sent.

use std::sync::Arc;

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Policy, PolicyInput, Verdict, Violation};

use crate::secret_scan::SecretScanner;

/// Contents above this size are scanned on a thread where nobody waits for a turn (about a millisecond of work).
const SCAN_APART: usize = 256 * 1024;

/// The policy.
pub(crate) struct SecretScan(Arc<SecretScanner>);

impl SecretScan {
    pub(crate) fn new(scanner: Arc<SecretScanner>) -> Self {
        Self(scanner)
    }
}

#[async_trait]
impl Policy for SecretScan {
    fn id(&self) -> &'static str {
        "secret_scan"
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let scan = if input.content.len() <= SCAN_APART {
            self.0.scan(input.content)
        } else {
            let (scanner, content) = (Arc::clone(&self.0), input.content.clone());
            match tokio::task::spawn_blocking(move || scanner.scan(&content)).await {
                Ok(scan) => scan,
                Err(error) => {
                    tracing::error!(%error, "the secret scan failed");
                    return Verdict::Fail(Violation::unavailable("the content could not be scanned"));
                }
            }
        };
        if scan.is_clean() {
            return Verdict::Pass;
        }
        let mut places: Vec<String> = scan.findings.iter().map(ToString::to_string).collect();
        if scan.flagged.len() > places.len() {
            places.push(format!("{} more", scan.flagged.len() - places.len()));
        }
        let reason = format!("the content holds a secret: {}", places.join(", "));
        Verdict::Fail(Violation { flagged: scan.flagged, ..Violation::new(DenialKind::Content, "secret_leak", reason) })
    }
}
