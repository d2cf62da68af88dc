//! `POST /api/public/hooks/govern`: may this tool be used, may this prompt be submitted?

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use systemprompt_extension::Rejection;
use systemprompt_extension::policy::DenialKind;
use systemprompt_governance::decisions::Made;
use systemprompt_governance::{Outcome, Refusal};
use systemprompt_model::{ActionId, SessionId};

use crate::answer::{Answer, Permission};
use crate::earlier::{Unknown, id_of};
use crate::effect::{Done, Hook, Told};
use crate::event::{Event, Question, question};
use crate::hooks::{GOVERN, Hooks, Sent, no_session, refusal, target};

/// The scope of tokens that are for this and nothing else.
const SCOPE: &str = "hook:govern";
/// What is said of what cannot be recorded.
const NO_LEDGER: &str = "[ledger]: the decision cannot be recorded at present, so nothing is allowed; try again later";

/// Decides about an event. The answer is 200 whatever happens.
pub(crate) async fn govern(State(hooks): State<Arc<Hooks>>, request: Request) -> Answer {
    let sent = match hooks.receive(request, SCOPE).await {
        Ok(sent) => sent,
        Err(why) => return hooks.answer("", Permission::Deny, &format!("[authentication]: {why}")),
    };
    let (event, asked) = match &sent.body {
        Ok(body) => {
            let (event, asked) = question(body);
            (event, asked.map_err(|error| error.to_string()))
        }
        Err(error) => (Event::default(), Err(error.to_string())),
    };
    if !event.malformed.is_empty() {
        tracing::debug!(fields = ?event.malformed, "a hook has fields that cannot be used");
    }
    let name = event.name.clone();
    let decided = match asked {
        Ok(asked) => hooks.decide(&sent, event, asked).await,
        Err(mistake) => hooks.refuse_unreadable(&sent, event, mistake).await,
    };
    match decided {
        Ok((permission, reason)) => hooks.answer(&name, permission, &reason),
        Err(Unrecorded) => hooks.answer(&name, Permission::Deny, NO_LEDGER),
    }
}

/// How a client is told that it is not let in, which is a decision too.
pub(crate) fn deny(rejection: &Rejection) -> Answer {
    Answer::deny("", &format!("[authentication]: {rejection}"))
}

/// The decision cannot be recorded, so there is none.
struct Unrecorded;

impl From<Unknown> for Unrecorded {
    fn from(_: Unknown) -> Self {
        Self
    }
}

impl Hooks {
    fn answer(&self, event: &str, permission: Permission, reason: &str) -> Answer {
        self.metrics.decided(event, permission);
        Answer::new(event, permission, reason)
    }

    async fn decide(&self, sent: &Sent, event: Event, asked: Question) -> Result<(Permission, String), Unrecorded> {
        let (tool, content) = match asked {
            Question::Tool(tool, input) => (Some(tool), input),
            Question::Prompt(prompt) => (None, prompt),
        };
        let call = event.call.clone();
        let session = self.session(sent, &event).await;
        let hook = Hook { told: told(sent, event), tool };
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                let id = ActionId::generate(&self.ambient);
                let action = self.action(sent, None, id, GOVERN, content, hook);
                return refused(self.gate.refuse(action, no_session(error)).await, id);
            }
        };
        // A call that says which one it is and comes again is answered as before. With another input it is another one.
        let Some(call) = call else {
            let id = ActionId::generate(&self.ambient);
            return Ok(told_of(self.admit(sent, session, id, content, hook).await?, id));
        };
        let id = id_of_call(sent, session, &call, &hook, &content);
        let decide = async || self.admit(sent, session, id, content.clone(), hook.clone()).await;
        let (made, is_new) = self.earlier.or_decide(id, decide).await?;
        if is_new || made.policy != "require_approval" {
            return Ok(told_of(made, id));
        }
        // It waited for somebody, who may have decided by now.
        let id = ActionId::generate(&self.ambient);
        Ok(told_of(self.admit(sent, session, id, content, hook).await?, id))
    }

    /// Has the Gate decide. What is allowed happens at the client, of which nothing more is heard here.
    async fn admit(
        &self,
        sent: &Sent,
        session: SessionId,
        id: ActionId,
        content: Bytes,
        hook: Hook,
    ) -> Result<Made, Unrecorded> {
        let action = self.action(sent, Some(session), id, GOVERN, content, hook);
        match self.gate.admit(action).await {
            Ok(permit) => {
                let (_, running) = permit.begin(&target()).expect("it is the only target there is");
                running.finish(Outcome::completed(Done));
                Ok(Made { allowed: true, policy: String::new(), reason: None })
            }
            Err(Refusal::Denied(denial)) => {
                let reason = match &denial.advice {
                    Some(advice) => format!("{}. {}", denial.reason, advice.trim_end_matches('.')),
                    None => denial.reason.clone(),
                };
                Ok(Made { allowed: false, policy: denial.policy, reason: Some(reason) })
            }
            Err(Refusal::LedgerUnavailable) => Err(Unrecorded),
        }
    }

    async fn refuse_unreadable(
        &self,
        sent: &Sent,
        event: Event,
        mistake: String,
    ) -> Result<(Permission, String), Unrecorded> {
        let session = self.session(sent, &event).await.ok();
        let id = ActionId::generate(&self.ambient);
        // The event, rather than a tool that could not be read.
        let tool = Some(event.tool.clone().unwrap_or_else(|| "hook".to_owned()));
        let hook = Hook { told: told(sent, event), tool };
        let action = self.action(sent, session, id, GOVERN, Bytes::new(), hook);
        let denial = refusal("hook_input", "hook_input", DenialKind::NotExposed, mistake);
        refused(self.gate.refuse(action, denial).await, id)
    }
}

fn id_of_call(sent: &Sent, session: SessionId, call: &str, hook: &Hook, content: &Bytes) -> ActionId {
    let content = Sha256::digest(content);
    let (event, tool) = (&hook.told.event.name, hook.tool.as_deref().unwrap_or_default());
    let (user, plugin) = (sent.principal.user_id.as_uuid(), sent.plugin.as_deref().unwrap_or_default());
    id_of(
        session,
        &[
            GOVERN.as_bytes(),
            user.as_bytes(),
            plugin.as_bytes(),
            event.as_bytes(),
            call.as_bytes(),
            tool.as_bytes(),
            &content,
        ],
    )
}

fn told(sent: &Sent, event: Event) -> Told {
    Told { event, plugin: sent.plugin.clone(), scope: sent.principal.user_type }
}

fn told_of(made: Made, id: ActionId) -> (Permission, String) {
    if made.allowed {
        return (Permission::Allow, format!("allowed. Request id: {id}"));
    }
    let reason = made.reason.unwrap_or_default();
    (Permission::Deny, format!("[{}]: {reason}. Request id: {id}", made.policy))
}

fn refused(refusal: Refusal, id: ActionId) -> Result<(Permission, String), Unrecorded> {
    match refusal {
        Refusal::Denied(denial) => Ok((Permission::Deny, denial.told(Some(id)))),
        Refusal::LedgerUnavailable => Err(Unrecorded),
    }
}
