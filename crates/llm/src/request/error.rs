//! Why a body is not a request.

use std::borrow::Cow;

use systemprompt_model::json::{MAX_DEPTH, SyntaxError};

/// Why a body is not a request. The text names the field and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no body.
    #[error("the request body is empty; send a JSON object with `model` and `{conversation}`")]
    Empty {
        /// The field of the conversation.
        conversation: &'static str,
    },
    /// The body is not UTF-8.
    #[error("the request body is not UTF-8 (first bad byte at offset {offset}); encode the JSON as UTF-8")]
    NotUtf8 {
        /// Where the first invalid byte is.
        offset: usize,
    },
    /// The body is not JSON.
    #[error("the request body is not valid JSON: expected {expected} at byte {offset}")]
    Malformed {
        /// What would have been valid there.
        expected: &'static str,
        /// Where reading stopped.
        offset: usize,
    },
    /// The body is JSON, but not an object.
    #[error("the request body must be a JSON object with `model` and `{conversation}`")]
    NotAnObject {
        /// The field of the conversation.
        conversation: &'static str,
    },
    /// Arrays and objects are nested too deeply.
    #[error("the request body nests more than {MAX_DEPTH} levels deep at byte {offset}; flatten it or send it as text")]
    TooDeep {
        /// Where the limit was reached.
        offset: usize,
    },
    /// A field every request needs is not there.
    #[error("`{field}` is missing: {fix}")]
    Missing {
        /// The path of the field.
        field: Cow<'static, str>,
        /// What to send.
        fix: &'static str,
    },
    /// A field has a value it cannot have.
    #[error("`{field}` must be {expected}")]
    Invalid {
        /// The path of the field.
        field: Cow<'static, str>,
        /// What the value must be.
        expected: &'static str,
    },
    /// A field asks for something that does not go through the gateway.
    #[error("`{field}` is not offered here: {fix}")]
    NotOffered {
        /// The path of the field.
        field: Cow<'static, str>,
        /// Why, and what to send instead.
        fix: &'static str,
    },
    /// A field appears twice, so two readers could see two different requests.
    #[error("`{field}` appears more than once; send it once")]
    Duplicate {
        /// The path of the field.
        field: &'static str,
    },
    /// Nothing is asked but by the operator of the conversation, whose words do not go on.
    #[error(
        "`{field}` holds nothing but system messages, and the gateway does not pass these on to this model; \
         send what is asked as a message of the user"
    )]
    OnlyInstructions {
        /// The field of the conversation.
        field: &'static str,
    },
    /// Only providers speak the format.
    #[error("no requests of the {format} format are served; send them in another one")]
    OfProvidersOnly {
        /// The format.
        format: &'static str,
    },
    /// A field differs from one we edit only in case; some providers would read it in place of ours.
    #[error("`{found}` differs from `{field}` only in upper and lower case; send `{field}`")]
    MisspelledCase {
        /// The field as it was sent.
        found: String,
        /// The field it could be taken for.
        field: &'static str,
    },
}

impl RequestError {
    /// The path of the field at fault, if one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Missing { field, .. } | Self::Invalid { field, .. } | Self::NotOffered { field, .. } => Some(field),
            Self::Duplicate { field } | Self::OnlyInstructions { field } => Some(field),
            Self::MisspelledCase { found, .. } => Some(found),
            Self::OfProvidersOnly { .. }
            | Self::Empty { .. }
            | Self::NotUtf8 { .. }
            | Self::Malformed { .. }
            | Self::NotAnObject { .. }
            | Self::TooDeep { .. } => None,
        }
    }

    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, expected: &'static str) -> Self {
        Self::Invalid { field: field.into(), expected }
    }
}

impl From<SyntaxError> for RequestError {
    fn from(error: SyntaxError) -> Self {
        match error {
            SyntaxError::Expected { what, offset } => Self::Malformed { expected: what, offset },
            SyntaxError::TooDeep { offset } => Self::TooDeep { offset },
        }
    }
}
