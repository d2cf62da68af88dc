//! Who is behind an action, from the credential at the edge to the last effect.

use std::sync::Arc;

use crate::{ActorChain, Ambient, ContextId, Principal, SessionId, TaskId, TraceId};

/// Who is behind an action. Travels unchanged from the surface through services and agents to every effect, and into the
/// ledger.
#[derive(Debug, Clone)]
pub struct Attribution {
    /// The account everything is attributed to.
    pub principal: Arc<Principal>,
    /// Who acts for whom.
    pub actors: ActorChain,
    /// The stretch of work it belongs to; absent for what is done outside of any, such as a command.
    pub session: Option<SessionId>,
    /// The conversation, when it is one of ours.
    pub context: Option<ContextId>,
    /// The task it belongs to.
    pub task: Option<TaskId>,
    /// The trace it belongs to.
    pub trace: TraceId,
    /// The program that asked, as far as it said.
    pub client: Option<Client>,
}

/// What a client program says about itself. Its own words: nothing is decided by them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Its name, usually the user agent.
    pub name: Option<String>,
    /// The trace id it sent.
    pub trace: Option<String>,
}

impl Attribution {
    /// A user who does something outside of any session, in this trace.
    pub fn user(principal: Arc<Principal>, trace: TraceId) -> Self {
        let actors = ActorChain::user(principal.user_id);
        Self { principal, actors, session: None, context: None, task: None, trace, client: None }
    }

    /// The person at the command line of the machine, outside of any session, in a trace of its own.
    pub fn operator(name: &str, uid: u32, ambient: &Ambient) -> Self {
        Self::of(Principal::operator(name, uid), ActorChain::operator(name, uid), ambient)
    }

    /// The installation itself: what a server does at its start or on a schedule, not asked by anybody.
    pub fn system(ambient: &Ambient) -> Self {
        Self::of(Principal::system(), ActorChain::system(), ambient)
    }

    fn of(principal: Principal, actors: ActorChain, ambient: &Ambient) -> Self {
        Self {
            principal: Arc::new(principal),
            actors,
            session: None,
            context: None,
            task: None,
            trace: TraceId::generate(ambient),
            client: None,
        }
    }
}
