//! Time as the protocol has it.

use systemprompt_model::Ambient;

/// Now, in nanoseconds since 1970.
pub(super) fn nanoseconds(ambient: &Ambient) -> u64 {
    ambient.now().timestamp_nanos_opt().and_then(|at| u64::try_from(at).ok()).unwrap_or(0)
}
