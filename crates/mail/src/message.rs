//! What is sent.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};

use crate::{Address, MailError};

/// The longest subject in characters. Longer ones are cut.
const SUBJECT_AT_MOST: usize = 200;

/// A message to one recipient, in plain text.
///
/// Names that others chose may stand in `subject` and `text` as they are: control characters become spaces, so that no header
/// is added, and letters that are not ASCII are encoded (RFC 2047).
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who gets it.
    pub to: Address,
    /// What it is about, in one line.
    pub subject: String,
    /// What it says, in lines that end with `\n`.
    pub text: String,
    /// What makes it this message, of letters, digits, `-`, `_` and `.`: the left part of its `Message-ID`. A message that is
    /// sent again has the same.
    pub id: String,
    /// When it was written: its `Date`.
    pub written_at: DateTime<Utc>,
}

impl Message {
    /// As it travels.
    pub(crate) fn from(&self, sender: &Mailbox) -> Result<lettre::Message, MailError> {
        let unsendable = |why: String| MailError::Unsendable { why };
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.id.is_empty() || !self.id.bytes().all(is_id) {
            return Err(unsendable(format!("`{}` cannot be part of a Message-ID", self.id.escape_debug())));
        }
        let subject: String =
            self.subject.chars().take(SUBJECT_AT_MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
        let text = self.text.replace("\r\n", "\n").replace(is_odd, " ");
        // SMTP ends the last line itself.
        let text = text.trim_end_matches('\n').to_owned();
        lettre::Message::builder()
            .from(sender.clone())
            .to(Mailbox::new(None, self.to.as_inner().clone()))
            .subject(subject)
            .date(SystemTime::from(self.written_at))
            .message_id(Some(format!("<{}@{}>", self.id, sender.email.domain())))
            // Nobody is to answer it with a note that they are on holiday (RFC 3834, 5).
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| unsendable(error.to_string()))
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// Without the text, which may hold what only the recipient is to know.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("to", &self.to).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, text: &str) -> Message {
        Message {
            to: "ops@example.com".parse().expect("an address"),
            subject: subject.to_owned(),
            text: text.to_owned(),
            id: "msg_1".to_owned(),
            written_at: DateTime::from_timestamp(1_764_151_440, 0).expect("a time"),
        }
    }

    fn written(message: &Message) -> String {
        let sender = "systemprompt <alerts@example.com>".parse().expect("a sender");
        String::from_utf8(message.from(&sender).expect("a message").formatted()).expect("ASCII")
    }

    #[test]
    fn a_message_says_who_when_and_that_a_program_wrote_it() {
        let written = written(&message("80 % of a quota", "One line.\nAnother.\n"));
        let (headers, body) = written.split_once("\r\n\r\n").expect("a head");
        for line in [
            "From: systemprompt <alerts@example.com>",
            "To: ops@example.com",
            "Subject: 80 % of a quota",
            "Date: Wed, 26 Nov 2025 10:04:00 +0000",
            "Message-ID: <msg_1@example.com>",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(headers.split("\r\n").any(|header| header == line), "{line}\n{headers}");
        }
        assert_eq!(body, "One line.\r\nAnother.");
    }

    #[test]
    fn nobody_adds_a_header_by_a_name() {
        let hostile = "ada\r\nBcc: all@example.com\r\n\r\nBuy\u{0}";
        let written = written(&message(hostile, &format!("{hostile}\rX\u{1b}[2J")));
        let (headers, _) = written.split_once("\r\n\r\n").expect("a head");
        assert!(headers.contains("Subject: ada  Bcc: all@example.com    Buy "), "{headers}");
        assert!(!headers.split("\r\n").any(|header| header.starts_with("Bcc")), "{headers}");
        assert!(
            !written.contains('\u{1b}') && !written.replace("\r\n", "").contains(['\r', '\n', '\0']),
            "{written:?}"
        );
    }

    #[test]
    fn other_letters_are_encoded() {
        let written =
            written(&message("Jürgen hat 80 % verbraucht", "Jürgen has used 80 % of the budget of this month.\n"));
        assert!(written.is_ascii(), "{written}");
        assert!(written.contains("Subject: =?utf-8?b?"), "{written}");
        assert!(written.contains("J=C3=BCrgen"), "{written}");
    }

    #[test]
    fn what_is_no_id_is_refused_and_nothing_is_shown_of_the_text() {
        let odd = Message { id: "a@b>\r\n".to_owned(), ..message("s", "the link") };
        let sender = "a@example.com".parse().expect("a sender");
        assert!(matches!(odd.from(&sender), Err(MailError::Unsendable { .. })));
        assert!(!format!("{odd:?}").contains("the link"));
    }
}
