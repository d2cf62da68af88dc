//! The effects: a coding client does what it asked about, and something it reports is recorded.

use systemprompt_extension::policy::{Estimate, Subject};
use systemprompt_governance::{Effect, Facts, FactsWriter};
use systemprompt_model::UserType;

use crate::event::Event;

/// A client that asks goes on with what it asked about: it uses a tool, or submits a prompt.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) told: Told,
    /// The tool that is to be used; a prompt is submitted otherwise.
    pub(crate) tool: Option<String>,
}

/// What happened at a client is recorded.
#[derive(Debug, Clone)]
pub(crate) struct HookEvent {
    pub(crate) told: Told,
}

/// What is recorded of an event, besides its content.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) event: Event,
    pub(crate) plugin: Option<String>,
    /// What the caller's credential makes of it. The agent in the event is the client's word and gives nothing.
    pub(crate) scope: UserType,
}

/// Nothing comes back from a client.
#[derive(Debug)]
pub(crate) struct Done;

impl Effect for Hook {
    const KIND: &'static str = "hook";
    type Result = Done;

    fn subject(&self) -> Subject<'_> {
        match &self.tool {
            Some(name) => Subject::ToolCall { name },
            None => Subject::Prompt,
        }
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        self.told.facts(facts);
    }
}

impl Effect for HookEvent {
    const KIND: &'static str = "hook_event";
    type Result = Done;

    fn subject(&self) -> Subject<'_> {
        Subject::Hook { event: &self.told.event.name }
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        self.told.facts(facts);
    }

    /// It has happened; nothing is used up by telling it.
    fn estimate(&self) -> Estimate {
        Estimate::default()
    }
}

impl Told {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        let Self { event, plugin, scope } = self;
        facts.stranger("agent_id", event.agent.as_deref());
        facts.text("agent_scope", scope.as_str());
        facts.stranger("agent_type", event.agent_type.as_deref());
        facts.stranger_id("call", event.call.as_deref());
        facts.stranger_id("client_session", event.session.as_deref());
        facts.stranger("cwd", event.cwd.as_deref());
        facts.stranger("detail", event.detail.as_deref());
        facts.stranger("event", Some(&event.name));
        facts.list("malformed", &event.malformed, |field, facts| facts.text("field", field));
        facts.stranger("mode", event.mode.as_deref());
        facts.stranger("plugin_id", plugin.as_deref());
        facts.stranger("tool", event.tool.as_deref());
    }
}

impl Facts for Done {
    fn facts(&self, _: &mut FactsWriter<'_, '_>) {}
}
