//! Errors in a stream: events that are named for them.

use systemprompt_model::json::loose;

use crate::answer::reading::Reading;

/// The errors there are, with the HTTP status of each.
const EXCEPTIONS: [(&str, u16); 9] = [
    ("throttlingException", 429),
    ("validationException", 400),
    ("accessDeniedException", 403),
    ("resourceNotFoundException", 404),
    ("modelTimeoutException", 504),
    ("modelStreamErrorException", 502),
    ("modelNotReadyException", 503),
    ("serviceUnavailableException", 503),
    ("internalServerException", 502),
];

/// Notes the error that an event reports, if it is one.
pub(super) fn exception(answer: &mut Reading, data: &[u8]) -> bool {
    for (name, status) in EXCEPTIONS {
        let [Some(said)] = loose::pick(data, [name]) else { continue };
        answer.error(said);
        if let Some(error) = &mut answer.error {
            error.kind = Some(name.to_owned());
            error.status = Some(status);
            if error.message == "{}" {
                name.clone_into(&mut error.message);
            }
        }
        return true;
    }
    false
}
