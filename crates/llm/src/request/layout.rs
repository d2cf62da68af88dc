//! Where things are in a request's bytes.

use systemprompt_model::json::{Cursor, Member, Span, SyntaxError};

/// Where the fields are that the relay lane may edit, or that the demo model reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// `None` where the model is not in the body.
    pub(crate) model: Option<Span>,
    /// Each output limit of zero or more. `openai-chat` has two names for it.
    pub(crate) token_limits: Vec<Count>,
    /// Each limit of the tokens of thinking.
    pub(crate) thinking_budgets: Vec<Count>,
    /// How many answers are asked for.
    pub(crate) answers: Option<Count>,
    /// The members and elements that do not go to the provider, in their order: those that identify the caller's user, which are
    /// `metadata.user_id`, `user` and `safety_identifier`, and a model where the path names it.
    pub(crate) withheld: Vec<MemberPlace>,
    /// What stands in these places in every request that goes to a provider.
    pub(crate) edits: Vec<(Span, &'static str)>,
    pub(crate) stream_end: Option<usize>,
    /// `None` in formats that have no `stream_options`.
    pub(crate) stream_options: Option<StreamOptions>,
    /// The array of them.
    pub(crate) messages: Span,
    pub(crate) tools: Option<Span>,
    pub(crate) tool_choice: Option<Span>,
}

/// A number of tokens or answers.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub(crate) value: u64,
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

    /// An element of an array, which ends where the cursor stands.
    pub(crate) fn element(start: usize, previous_end: Option<usize>, cursor: &Cursor<'_>) -> Self {
        Self { start, end: cursor.offset(), previous_end, next_start: cursor.next_sibling() }
    }

    /// Both members as one, if the other is the next of the same object.
    pub(crate) fn joined(&self, other: &Self) -> Option<Self> {
        (self.next_start == Some(other.start)).then_some(Self { end: other.end, next_start: other.next_start, ..*self })
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
