//! What all hook endpoints share: who asks about which plugin, in which session, and what is recorded of that.

use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use systemprompt_extension::policy::DenialKind;
use systemprompt_governance::secret_scan::SecretScanner;
use systemprompt_governance::{Action, Denial, Effect, Gate, Target};
use systemprompt_identity::{Authenticator, Caller, SessionError, SessionHint, Sessions};
use systemprompt_model::{
    ActionId, ActorChain, Ambient, Attribution, Client, EntityKind, Principal, Resource, SessionId, TraceId,
};

use crate::body;
use crate::caller::{self, NoCaller};
use crate::earlier::Earlier;
use crate::event::Event;
use crate::metrics::HookMetrics;

/// The longest `plugin_id`, in bytes.
const LONGEST_PLUGIN: usize = 256;

/// What access rules speak of.
pub(crate) const GOVERN: &str = "govern";
pub(crate) const TRACK: &str = "track";

/// The hook endpoints of a server.
pub(crate) struct Hooks {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) scanner: Arc<SecretScanner>,
    pub(crate) earlier: Earlier,
    pub(crate) metrics: HookMetrics,
    pub(crate) ambient: Ambient,
}

/// A request whose sender is known.
pub(crate) struct Sent {
    pub(crate) principal: Arc<Principal>,
    pub(crate) plugin: Option<String>,
    pub(crate) trace: TraceId,
    client: Option<String>,
    pub(crate) body: Result<Bytes, body::BodyError>,
}

impl Hooks {
    /// Who sends a request, and what.
    pub(crate) async fn receive(&self, request: Request, scope: &'static str) -> Result<Sent, NoCaller> {
        let (head, body) = request.into_parts();
        let plugin = plugin_of(&head);
        let identified = caller::identify(&self.authenticator, &head, scope, plugin.as_deref()).await;
        let Caller { principal, .. } = identified.inspect_err(|why| {
            self.metrics.refused(why);
            tracing::info!(reason = why.label(), path = head.uri.path(), "a hook was refused for its credential");
        })?;
        let trace = head.extensions.get().copied().unwrap_or_else(|| TraceId::generate(&self.ambient));
        let client = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
        Ok(Sent { principal, plugin, trace, client, body: body::read(body).await })
    }

    /// The session an event belongs to: that of the client's own id, so that model requests of the same session are in it
    /// too.
    pub(crate) async fn session(&self, sent: &Sent, event: &Event) -> Result<SessionId, SessionError> {
        let hint = SessionHint {
            client_session: event.session.as_deref(),
            client: sent.client.as_deref(),
            ..SessionHint::default()
        };
        self.sessions.bind(&sent.principal, hint).await
    }

    /// What is to be governed.
    pub(crate) fn action<E: Effect>(
        &self,
        sent: &Sent,
        session: Option<SessionId>,
        id: ActionId,
        resource: &str,
        content: Bytes,
        effect: E,
    ) -> Action<E> {
        let by = Attribution {
            principal: Arc::clone(&sent.principal),
            actors: ActorChain::user(sent.principal.user_id),
            session,
            context: None,
            task: None,
            trace: sent.trace,
            client: Some(Client { name: sent.client.clone(), trace: None }),
        };
        Action {
            id,
            by,
            resource: Resource::entity(EntityKind::Hook, resource),
            targets: vec![target()],
            content,
            effect,
            received_at: self.ambient.now(),
        }
    }
}

/// Where all of it happens.
pub(crate) fn target() -> Target {
    Target::new("client")
}

/// The refusal of an event that cannot be taken as it is.
pub(crate) fn refusal(policy: &str, code: &'static str, kind: DenialKind, reason: String) -> Denial {
    Denial { policy: policy.to_owned(), kind, reason, advice: None, retry_after: None, allowances: Vec::new(), code }
}

/// The refusal of an event without a session.
pub(crate) fn no_session(error: SessionError) -> Denial {
    let kind = if error == SessionError::Unavailable { DenialKind::Unavailable } else { DenialKind::NotEntitled };
    refusal("session", "no_session", kind, error.to_string())
}

fn plugin_of(head: &Parts) -> Option<String> {
    let query = head.uri.query()?.as_bytes();
    let plugin = url::form_urlencoded::parse(query).find(|(name, _)| name == "plugin_id")?.1;
    Some(plugin.trim().to_owned()).filter(|plugin| !plugin.is_empty() && plugin.len() <= LONGEST_PLUGIN)
}
