//! Where mail goes to.

use std::fmt;
use std::str::FromStr;

/// An address of mail, `name@host`.
///
/// In ASCII: other letters need SMTPUTF8 (RFC 6531), which many servers do not have, and a message that waits for days to
/// find that out is worse than an address that is refused when it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(lettre::Address);

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no address of the form `name@host`, in ASCII (a host with other letters is written with `xn--`)")]
pub struct InvalidAddress;

impl Address {
    /// As the library has it.
    pub(crate) fn as_inner(&self) -> &lettre::Address {
        &self.0
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        // A quoted name may hold anything, spaces included. Nobody has one, and without them nothing in an address needs care.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b','));
        if !is_plain {
            return Err(InvalidAddress);
        }
        text.parse().map(Self).map_err(|_| InvalidAddress)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, is_one) in [
            ("ops@example.com", true),
            ("first.last+budget@mail.example.com", true),
            ("root@localhost", true),
            ("ops@xn--exmple-cua.com", true),
            ("ops", false),
            ("@example.com", false),
            ("ops@", false),
            ("Ops <ops@example.com>", false),
            ("ops@example.com, dev@example.com", false),
            ("ops@exämple.com", false),
            ("öps@example.com", false),
            ("\"o p s\"@example.com", false),
            ("ops@example.com\r\nBcc: x@example.com", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Address>().is_ok(), is_one, "{text}");
        }
    }
}
