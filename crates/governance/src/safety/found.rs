//! Something that was found in a text.

use std::ops::Range;

use systemprompt_extension::safety::Severity;

/// Its category, how bad it is, and where it is.
pub(super) type Found = (&'static str, Severity, Range<usize>);
