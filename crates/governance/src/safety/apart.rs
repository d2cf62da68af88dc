//! Looking through much at once, on a thread where nobody waits for a turn.

use std::sync::Arc;

use systemprompt_extension::safety::{SafetyFinding, ScanFailed};

/// Texts above this size together are looked at apart (about a millisecond of work).
const APART: usize = 256 * 1024;

/// Has `scanner` look at `texts`.
pub(super) async fn look<S: Send + Sync + 'static>(
    scanner: &Arc<S>,
    texts: &[&str],
    scan: impl FnOnce(&S, &[&str]) -> Vec<SafetyFinding> + Send + 'static,
) -> Result<Vec<SafetyFinding>, ScanFailed> {
    if texts.iter().map(|text| text.len()).sum::<usize>() <= APART {
        return Ok(scan(scanner, texts));
    }
    let scanner = Arc::clone(scanner);
    let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    let scanning = move || {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        scan(&scanner, &texts)
    };
    tokio::task::spawn_blocking(scanning).await.map_err(|error| ScanFailed(error.to_string()))
}
