//! How an answer gets from the provider's format into the caller's. Decided together with the bytes that are sent.

use bytes::Bytes;
use systemprompt_llm::{ErrorAnswer, Format, TranslatedStream, Translation, UsageChunkFilter};

/// The way back of a request: what has to be done with its answer.
#[derive(Debug, Clone)]
pub(crate) enum WayBack {
    /// Both speak the same format.
    Relayed {
        /// Which.
        format: Format,
        /// The gateway asks what a stream used, and the caller did not.
        usage_added: bool,
    },
    /// They speak different ones.
    Translated(Box<Translation>),
}

impl WayBack {
    /// The provider's format.
    pub(crate) fn provider(&self) -> Format {
        match self {
            Self::Relayed { format, .. } => *format,
            Self::Translated(translation) => translation.provider(),
        }
    }

    /// The caller's format.
    pub(crate) fn caller(&self) -> Format {
        match self {
            Self::Relayed { format, .. } => *format,
            Self::Translated(translation) => translation.caller(),
        }
    }

    /// The gateway asks what a stream used, and the caller did not.
    pub(crate) fn usage_added(&self) -> bool {
        matches!(self, Self::Relayed { usage_added: true, .. })
    }

    /// The passage of a stream.
    pub(crate) fn passage(&self) -> Passage {
        match self {
            Self::Relayed { usage_added, .. } => Passage::Relayed(usage_added.then(UsageChunkFilter::new)),
            Self::Translated(translation) => Passage::Translated(Box::new(translation.stream())),
        }
    }
}

/// A stream on its way, piece by piece.
pub(crate) enum Passage {
    /// As it comes. The filter takes out the usage chunk the gateway asked for and the caller did not.
    Relayed(Option<UsageChunkFilter>),
    /// In the caller's format.
    Translated(Box<TranslatedStream>),
}

impl Passage {
    /// Takes a piece from the provider and gives what the caller gets of it, which may be nothing.
    pub(crate) fn feed(&mut self, piece: Bytes) -> Bytes {
        match self {
            Self::Relayed(None) => piece,
            Self::Relayed(Some(filter)) => filter.feed(piece),
            Self::Translated(stream) => {
                let mut given = Vec::with_capacity(piece.len());
                stream.feed(&piece, &mut given);
                given.into()
            }
        }
    }

    /// Why no more of the provider's bytes is read, once that is so. The caller has been told.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        match self {
            Self::Relayed(_) => None,
            Self::Translated(stream) => stream.trouble(),
        }
    }

    /// Gives what is left at the end of an answer that is complete, as far as the provider's bytes tell.
    pub(crate) fn finish(&mut self) -> Bytes {
        match self {
            Self::Relayed(filter) => filter.take().map(UsageChunkFilter::finish).unwrap_or_default(),
            Self::Translated(stream) => {
                let mut given = Vec::new();
                stream.finish(&mut given);
                stream.fail(
                    &ErrorAnswer::upstream_interrupted("the provider's answer cannot be read to its end"),
                    &mut given,
                );
                given.into()
            }
        }
    }

    /// The end of a stream that goes wrong. `relayed` ends one that goes on as it comes, and says whether the caller has whole
    /// events of it.
    pub(crate) fn fail(&mut self, error: &ErrorAnswer, relayed: impl FnOnce() -> (Vec<u8>, bool)) -> Bytes {
        match self {
            // Half an event may be out already; a blank line ends it, and parsers drop what is incomplete.
            Self::Relayed(_) => {
                let (end, boundary) = relayed();
                let begin: &[u8] = if boundary { b"" } else { b"\n\n" };
                [begin, &end].concat().into()
            }
            Self::Translated(stream) => {
                let mut given = Vec::new();
                stream.fail(error, &mut given);
                given.into()
            }
        }
    }

    /// Whether an event of ours may be inserted where the caller's stream stands; `provider` says so of the provider's.
    pub(crate) fn at_boundary(&self, provider: bool) -> bool {
        match self {
            Self::Relayed(_) => provider,
            // Events are written whole.
            Self::Translated(_) => true,
        }
    }
}
