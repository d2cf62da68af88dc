//! Where things are in a request's bytes.

use systemprompt_model::json::{Cursor, Member, Span, SyntaxError};

/// Where the fields are that the relay lane may edit, or that the demo model reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    pub(crate) model: Span,
    /// Each output limit of zero or more. `openai-chat` has two names for it.
    pub(crate) token_limits: Vec<TokenLimit>,
    /// The most tokens of thinking, and where that stands.
    pub(crate) thinking_budget: Option<(u64, Span)>,
    /// The member that identifies the caller's user: `metadata.user_id` or `user`.
    pub(crate) user: Option<MemberPlace>,
    pub(crate) stream_end: Option<usize>,
    /// `None` in formats that have no `stream_options`.
    pub(crate) stream_options: Option<StreamOptions>,
    /// The array of them.
    pub(crate) messages: Span,
    pub(crate) tools: Option<Span>,
    pub(crate) tool_choice: Option<Span>,
}

/// How many tokens an answer may have.
#[derive(Debug, Clone)]
pub(crate) struct TokenLimit {
    pub(crate) tokens: u64,
    pub(crate) at: Span,
    /// Written as `1024.0` or `1e3`, which not every provider can read.
    pub(crate) odd: bool,
}

/// A member of an object and its neighbours, which decide which comma leaves with it.
#[derive(Debug, Clone)]
pub(crate) struct MemberPlace {
    start: usize,
    end: usize,
    previous_end: Option<usize>,
    next_start: Option<usize>,
}

impl MemberPlace {
    /// Reads the value of `member`, whatever it is, and notes where all of it stands.
    pub(crate) fn read(member: &Member<'_>, cursor: &mut Cursor<'_>) -> Result<Self, SyntaxError> {
        let end = cursor.skip()?.end;
        Ok(Self { start: member.start, end, previous_end: member.previous_end, next_start: cursor.next_sibling() })
    }

    /// The bytes to cut so that what is left is an object without this member.
    pub(crate) fn cut(&self) -> Span {
        match (self.next_start, self.previous_end) {
            (Some(next), _) => self.start..next,
            (None, Some(previous)) => previous..self.end,
            (None, None) => self.start..self.end,
        }
    }
}

/// What the caller said in `stream_options`.
#[derive(Debug, Clone)]
pub(crate) enum StreamOptions {
    Absent,
    Null(Span),
    Object {
        /// Just after the opening brace.
        inside: usize,
        empty: bool,
        include_usage: Option<(bool, Span)>,
    },
}
