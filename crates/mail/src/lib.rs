//! Mail of the product: one [`Mailer`], which hands [`Message`]s to the SMTP server that the profile names.
//!
//! ```text
//!  profile `mail` ─► MailConfig ─► Settings ─► Mailer ◄── Message (to one Address, in plain text)
//!                    (checked)                  │
//!                                               └─► relay ══ SMTP ══► the operator's server
//! ```
//!
//! Features take the [`Mailer`] from the [`ServiceMap`](systemprompt_extension::ServiceMap). It is always there; without the
//! section it says [`MailError::NotConfigured`] to every message. A message goes to one recipient, so that one that is refused
//! says nothing of another. Nothing is kept here: whoever must not lose a message writes it down and asks again, with the same
//! [`Message::id`], by which whoever gets it twice knows it.
//!
//! What is deliberately missing: HTML, attachments, a queue, bounces, and a way to read mail.

mod address;
mod clear_until_tls;
mod config;
mod error;
mod extension;
mod mailer;
mod message;
mod relay;
mod settings;

pub use address::{Address, InvalidAddress};
pub use config::{MailConfig, Security, SmtpConfig};
pub use error::MailError;
pub use extension::MailExtension;
pub use mailer::{Accepted, Mailer};
pub use message::Message;
pub use settings::{Roots, Settings, Unusable};
