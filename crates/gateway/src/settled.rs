//! What a call came to, told to whoever asked from inside the server: the figures that the ledger gets.

use systemprompt_llm::Usage;
use systemprompt_llm::neutral::Loss;
use systemprompt_model::{ActionId, Microdollars};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a call came to.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// The call.
    pub(crate) request: ActionId,
    /// The provider that had it last.
    pub(crate) provider: String,
    /// The model that answered, as the provider says; as the provider knows it if it says nothing.
    pub(crate) model: String,
    /// What was used.
    pub(crate) usage: Usage,
    /// What all its attempts cost.
    pub(crate) cost: Microdollars,
    /// It is an answer that was given before, which used nothing anew.
    pub(crate) cached: bool,
    /// Policies withheld the answer.
    pub(crate) withheld: bool,
    /// The status that its failure means, where the provider did not say it.
    pub(crate) failure: Option<u16>,
}

/// Tells what a call came to.
#[derive(Debug, Clone)]
pub(crate) struct Teller(UnboundedSender<Settled>);

impl Teller {
    /// Tells it. Who asked may be gone.
    pub(crate) fn tell(&self, settled: Settled) {
        let _ = self.0.send(settled);
    }
}

/// Is told what calls came to.
#[derive(Debug)]
pub(crate) struct Settling(UnboundedReceiver<Settled>);

impl Settling {
    /// What became of a call whose answer is over.
    pub(crate) fn of(&mut self, request: ActionId) -> Option<Settled> {
        let mut found = None;
        while let Ok(settled) = self.0.try_recv() {
            if settled.request == request || found.is_none() {
                found = Some(settled);
            }
        }
        found
    }
}

/// What a question of somebody inside the server brings along.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inside {
    /// What its words do not say of what was meant.
    pub(crate) losses: Vec<Loss>,
    /// The providers it does not go on to if the first one fails.
    pub(crate) not_to: Vec<String>,
    /// Who is told what it came to.
    pub(crate) teller: Option<Teller>,
}

impl Inside {
    /// A question that may have lost something when it was put into words and is not for these providers; and what is told
    /// of what comes of it.
    pub(crate) fn new(losses: Vec<Loss>, not_to: Vec<String>) -> (Self, Settling) {
        let (sender, receiver) = unbounded_channel();
        (Self { losses, not_to, teller: Some(Teller(sender)) }, Settling(receiver))
    }
}
