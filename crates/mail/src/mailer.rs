//! The one mailer of a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_extension::Metrics;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::relay::{self, Relay};
use crate::{MailError, Message, Settings, Unusable};

/// Messages that are handed over at the same time. Providers refuse whoever comes with many.
const CONNECTIONS: usize = 2;
/// How long a message may wait for others.
const WAITS_AT_MOST: Duration = Duration::from_mins(1);

/// Sends mail by the server that the profile names, or says that it names none.
pub struct Mailer {
    relay: ArcSwapOption<Relay>,
    connections: Semaphore,
    messages: Family<Outcome, Counter>,
}

/// A server took a message. Whether anybody gets it is between servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Host and port of the server.
    pub server: String,
    /// What it said, often with its own name of the message.
    pub said: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Mailer {
    /// How long [`send`](Self::send) takes at most.
    pub const SENDS_WITHIN: Duration = Duration::from_secs(WAITS_AT_MOST.as_secs() + relay::WITHIN.as_secs());

    /// A mailer for these settings; without any it refuses every message. Reads the certificate authorities, so it may block
    /// for a moment.
    pub fn new(settings: Option<Settings>, metrics: &Metrics) -> Result<Self, Unusable> {
        let messages = Family::<Outcome, Counter>::default();
        for outcome in ["sent", "refused", "failed"] {
            drop(messages.get_or_create(&Outcome { outcome }));
        }
        let help =
            "Messages by mail: `sent`, `refused` by the server, or `failed` before it said whether it takes them";
        metrics.register("mail_messages", help, messages.clone());
        let relay = settings.map(Relay::new).transpose()?;
        Ok(Self { relay: ArcSwapOption::new(relay.map(Arc::new)), connections: Semaphore::new(CONNECTIONS), messages })
    }

    /// Whether there is a server to send mail by.
    pub fn is_configured(&self) -> bool {
        self.relay.load().is_some()
    }

    /// Sends a message. It may take [minutes](Self::SENDS_WITHIN); when it ends with [`MailError::MaybeTaken`] the server may
    /// have it all the same.
    pub async fn send(&self, message: &Message) -> Result<Accepted, MailError> {
        let sent = match self.relay.load_full() {
            Some(relay) => self.send_by(&relay, message).await,
            None => Err(MailError::NotConfigured),
        };
        let outcome = match &sent {
            Ok(_) => "sent",
            Err(error) if error.is_refusal() => "refused",
            Err(_) => "failed",
        };
        self.messages.get_or_create(&Outcome { outcome }).inc();
        sent
    }

    async fn send_by(&self, relay: &Relay, message: &Message) -> Result<Accepted, MailError> {
        let message = message.from(&relay.from)?;
        let turn = timeout(WAITS_AT_MOST, self.connections.acquire()).await;
        let _turn = turn.map_err(|_| MailError::Interrupted {
            server: relay.server(),
            why: format!("it waited {} seconds for other messages", WAITS_AT_MOST.as_secs()),
        })?;
        let said = relay.hand_over(&message).await?;
        Ok(Accepted { server: relay.server(), said })
    }

    /// Another server to send mail by, ready to be put in force.
    pub(crate) async fn prepare(settings: Option<Settings>) -> Result<Option<Arc<Relay>>, Unusable> {
        let Some(settings) = settings else { return Ok(None) };
        let relay = spawn_blocking(|| Relay::new(settings)).await;
        let relay = relay.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        Ok(Some(Arc::new(relay)))
    }

    /// Sends by this server from the next message on.
    pub(crate) fn put_in_force(&self, relay: Option<Arc<Relay>>) {
        self.relay.store(relay);
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("relay", &self.relay.load().as_deref()).finish_non_exhaustive()
    }
}
