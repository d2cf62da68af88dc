//! What a stream said, for those who look at it when it is over.

use systemprompt_llm::StreamTexts;

/// Of a longer stream the beginning is looked at.
const HEARD_LIMIT: usize = 16 * 1024 * 1024;

/// The texts of a stream on its way to the caller.
pub(crate) struct Heard {
    texts: StreamTexts,
    read: usize,
}

impl Default for Heard {
    fn default() -> Self {
        Self { texts: StreamTexts::new(HEARD_LIMIT), read: 0 }
    }
}

impl Heard {
    /// Listens to the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let before = self.read;
        self.read = before.saturating_add(bytes.len());
        if self.read <= HEARD_LIMIT {
            self.texts.feed(bytes);
        } else if before <= HEARD_LIMIT {
            tracing::warn!(limit = HEARD_LIMIT, "only the beginning of a long stream is looked at for safety");
        }
    }

    /// The texts at the end.
    pub(crate) fn finish(self) -> Vec<String> {
        self.texts.finish()
    }
}
