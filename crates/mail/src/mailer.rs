//! The one mailer of a server.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_extension::Metrics;

use crate::relay::Relay;
use crate::{MailError, Message, Settings, Unusable};

/// Sends mail by the server that the profile names, or says that it names none.
pub struct Mailer {
    relay: ArcSwapOption<Relay>,
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

/// Another server to send mail by, ready to be put in force.
pub(crate) struct Prepared(Option<Arc<Relay>>);

impl Mailer {
    /// A mailer for these settings; without any it refuses every message. Reads the certificate authorities, so it may block
    /// for a moment.
    pub fn new(settings: Option<Settings>, metrics: &Metrics) -> Result<Self, Unusable> {
        let messages = Family::<Outcome, Counter>::default();
        for outcome in ["sent", "refused", "failed"] {
            drop(messages.get_or_create(&Outcome { outcome }));
        }
        let help =
            "Messages by mail: `sent`, `refused` by the server, or `failed` because it was not reached or not trusted";
        metrics.register("mail_messages", help, messages.clone());
        let Prepared(relay) = Self::prepare(settings)?;
        Ok(Self { relay: ArcSwapOption::new(relay), messages })
    }

    /// Whether there is a server to send mail by.
    pub fn is_configured(&self) -> bool {
        self.relay.load().is_some()
    }

    /// Sends a message. It takes 47 seconds at most, and when it fails the server may have it all the same.
    pub async fn send(&self, message: &Message) -> Result<Accepted, MailError> {
        let sent = match self.relay.load_full() {
            Some(relay) => send(&relay, message).await,
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

    /// Makes other settings ready.
    pub(crate) fn prepare(settings: Option<Settings>) -> Result<Prepared, Unusable> {
        Ok(Prepared(settings.map(Relay::new).transpose()?.map(Arc::new)))
    }

    /// Sends by these from the next message on.
    pub(crate) fn put_in_force(&self, prepared: Prepared) {
        self.relay.store(prepared.0);
    }
}

async fn send(relay: &Relay, message: &Message) -> Result<Accepted, MailError> {
    let message = message.from(&relay.from)?;
    let said = relay.hand_over(&message).await?;
    Ok(Accepted { server: relay.server(), said })
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("relay", &self.relay.load().as_deref()).finish_non_exhaustive()
    }
}
