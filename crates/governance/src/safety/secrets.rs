//! `secrets`: credentials, as the policy `secret_scan` knows them. What it would only warn of is left out.

use std::sync::Arc;

use async_trait::async_trait;
use systemprompt_extension::safety::{SafetyFinding, SafetyScanner, ScanFailed, ScanInput, Severity};

use super::apart::look;
use crate::config::SafetyConfig;
use crate::secret_scan::SecretScanner;

/// Texts with a credential that are told of one look.
const MOST: usize = 64;

/// The scanner.
pub(super) struct Secrets(pub(super) Arc<SecretScanner>);

#[async_trait]
impl SafetyScanner for Secrets {
    fn name(&self) -> &'static str {
        SafetyConfig::SECRETS
    }

    async fn scan_request(&self, input: &ScanInput<'_>) -> Result<Vec<SafetyFinding>, ScanFailed> {
        look(&self.0, input.texts, scan).await
    }
}

fn scan(scanner: &SecretScanner, texts: &[&str]) -> Vec<SafetyFinding> {
    let holding = texts.iter().enumerate().filter(|(_, text)| scanner.refuses(text)).take(MOST);
    holding
        .map(|(index, text)| {
            // The line that holds it, or all if it goes over several.
            let line = text.split_inclusive('\n').find(|line| scanner.refuses(line)).unwrap_or(text);
            let start = line.as_ptr().addr() - text.as_ptr().addr();
            SafetyFinding::new("secret", Severity::High).at(index, start..start + line.len()).sensitive()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretScanConfig;

    #[test]
    fn the_line_with_a_credential_is_told() {
        let scanner = SecretScanner::new(&SecretScanConfig::default()).expect("the defaults compile");
        let key = concat!("AKIA", "Z7QK4XJ2MN5PTR3W");
        let text = format!("first\nmy key is {key} ok\nlast");
        let findings = scan(&scanner, &["clean", &text]);
        let (index, span) = findings[0].place.clone().expect("a place");
        assert_eq!((findings.len(), index, &text[span]), (1, 1, &*format!("my key is {key} ok\n")));
        assert!(findings[0].sensitive);
        assert_eq!(scan(&scanner, &["nothing"]), []);
    }
}
