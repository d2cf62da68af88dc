//! Credentials that a model wrote into an answer, and what the caller gets in their place.

use bytes::Bytes;
use systemprompt_governance::{AnswerSafety, Denial, Looked, SecretInText};
use systemprompt_llm::{Replacement, StreamWindow};

/// What is to be replaced in the texts of a stream.
pub(crate) fn replacements(found: Vec<SecretInText>) -> Vec<Replacement> {
    found
        .into_iter()
        .map(|SecretInText { text, at, placeholder }| Replacement { text, at, with: placeholder })
        .collect()
}

/// A whole answer as the caller gets it, which may be a stream that was held back or collected.
pub(crate) async fn whole(answer: &Bytes, safety: &AnswerSafety, is_stream: bool) -> Result<Bytes, Denial> {
    if !is_stream {
        return Ok(safety.replaced(answer).await?.unwrap_or_else(|| answer.clone()));
    }
    if !safety.holds_words() {
        return Ok(answer.clone());
    }
    let mut window = StreamWindow::new(usize::MAX, 1, usize::MAX).of_words();
    window.feed(answer).expect("there is room for all");
    window.end();
    match safety.look_in_window(&window.fresh()).await {
        Looked::Clear => Ok(answer.clone()),
        Looked::Objects(denial) => Err(denial),
        Looked::Replace(found, denial) => {
            window.replace(replacements(found)).map_err(|_| denial)?;
            window.cleared();
            Ok(window.release(true))
        }
    }
}
