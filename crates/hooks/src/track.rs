//! `POST /api/public/hooks/track`, `…/statusline` and `…/transcript`: what happened at a client.

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use systemprompt_governance::decisions::Made;
use systemprompt_governance::secret_scan::redact;
use systemprompt_governance::{Outcome, Refusal};
use systemprompt_model::{ActionId, SessionId};

use crate::answer::Receipt;
use crate::earlier::{Unknown, id_of};
use crate::effect::{Done, HookEvent, Told};
use crate::event::{Event, PRE_TOOL_USE, report};
use crate::hooks::{Hooks, Sent, TRACK, no_session, target};

/// The scope of tokens that are for this and nothing else.
const SCOPE: &str = "hook:track";
/// Contents above this size are looked through on a thread where nobody waits for a turn.
const SCAN_APART: usize = 256 * 1024;
/// Reports that have no id of their own and say the same within so many seconds are one.
const SAME_WITHIN_SECS: i64 = 60;

/// What a report is told by, if it has no id of its own.
#[derive(Clone, Copy)]
enum Telling {
    /// All it says.
    ByContent,
    /// Its session: one is enough for a while.
    BySession,
}

/// Records an event.
pub(crate) async fn track(State(hooks): State<Arc<Hooks>>, request: Request) -> Receipt {
    hooks.take(request, None, Telling::ByContent).await
}

/// Records how a session stands. Clients tell it several times a second; one a minute is kept.
pub(crate) async fn statusline(State(hooks): State<Arc<Hooks>>, request: Request) -> Receipt {
    hooks.take(request, Some("Statusline"), Telling::BySession).await
}

/// Records what was said in a session.
pub(crate) async fn transcript(State(hooks): State<Arc<Hooks>>, request: Request) -> Receipt {
    hooks.take(request, Some("Transcript"), Telling::ByContent).await
}

/// Why something was not recorded.
struct Unrecorded(String);

impl From<Unknown> for Unrecorded {
    fn from(_: Unknown) -> Self {
        Self("it cannot be recorded at present".to_owned())
    }
}

impl Hooks {
    async fn take(&self, request: Request, name: Option<&str>, by: Telling) -> Receipt {
        let sent = match self.receive(request, SCOPE).await {
            Ok(sent) => sent,
            Err(why) => return Receipt::unrecorded(format!("[authentication]: {why}")),
        };
        let read = match &sent.body {
            Ok(body) => report(body).map(|event| (event, body)).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let (mut event, body) = match read {
            Ok(read) => read,
            Err(mistake) => return Receipt::unrecorded(mistake),
        };
        if let Some(name) = name {
            name.clone_into(&mut event.name);
        }
        if event.name == PRE_TOOL_USE {
            return Receipt::unrecorded("recorded when it was decided");
        }
        let note = (!event.malformed.is_empty()).then(|| format!("could not be used: {}", event.malformed.join(", ")));
        let event_name = event.name.clone();
        match self.record(&sent, event, body.clone(), by).await {
            Ok(true) => {
                self.metrics.recorded(&event_name);
                Receipt { recorded: true, note }
            }
            Ok(false) => Receipt::unrecorded("recorded before"),
            Err(Unrecorded(why)) => Receipt::unrecorded(why),
        }
    }

    /// Records an event, and says whether it was new.
    async fn record(&self, sent: &Sent, event: Event, body: Bytes, by: Telling) -> Result<bool, Unrecorded> {
        let session = self.session(sent, &event).await.map_err(|error| Unrecorded(no_session(error).to_string()))?;
        let id = self.id_of_report(sent, session, &event, &body, by);
        let (_, is_new) =
            self.earlier.or_decide(id, async || self.admit_report(sent, session, id, body, event).await).await?;
        Ok(is_new)
    }

    fn id_of_report(&self, sent: &Sent, session: SessionId, event: &Event, body: &Bytes, by: Telling) -> ActionId {
        let minute = self.ambient.now().timestamp().div_euclid(SAME_WITHIN_SECS).to_be_bytes();
        let digest = Sha256::digest(body);
        let (call, when): (&[u8], &[u8]) = match (&event.call, by) {
            (Some(call), _) => (call.as_bytes(), &[]),
            (None, Telling::ByContent) => (&digest, &minute),
            (None, Telling::BySession) => (&[], &minute),
        };
        let (user, plugin) = (sent.principal.user_id.as_uuid(), sent.plugin.as_deref().unwrap_or_default());
        id_of(session, &[TRACK.as_bytes(), user.as_bytes(), plugin.as_bytes(), event.name.as_bytes(), call, when])
    }

    async fn admit_report(
        &self,
        sent: &Sent,
        session: SessionId,
        id: ActionId,
        body: Bytes,
        event: Event,
    ) -> Result<Made, Unrecorded> {
        // It has happened, so a secret in it is no reason to know nothing of it: it is cut out.
        let content = self.without_secrets(body).await?;
        let told = Told { event, plugin: sent.plugin.clone(), scope: sent.principal.user_type };
        let action = self.action(sent, Some(session), id, TRACK, content, HookEvent { told });
        match self.gate.admit(action).await {
            Ok(permit) => {
                let (_, running) = permit.begin(&target()).expect("it is the only target there is");
                running.finish(Outcome::completed(Done));
                Ok(Made { allowed: true, policy: String::new(), reason: None })
            }
            Err(Refusal::Denied(denial)) => Err(Unrecorded(denial.told(Some(id)))),
            Err(Refusal::LedgerUnavailable) => Err(Unrecorded("the ledger cannot be written at present".to_owned())),
        }
    }

    async fn without_secrets(&self, body: Bytes) -> Result<Bytes, Unrecorded> {
        let scanner = Arc::clone(&self.scanner);
        let is_small = body.len() <= SCAN_APART;
        let scan = move || redact(&body, &scanner.scan(&body).flagged);
        if is_small {
            return Ok(scan());
        }
        tokio::task::spawn_blocking(scan).await.map_err(|error| {
            tracing::error!(%error, "a report could not be looked through for secrets");
            Unrecorded("it could not be looked through for secrets".to_owned())
        })
    }
}
