//! What makes two requests the same.

use sha2::{Digest as _, Sha256};
use systemprompt_llm::Format;
use systemprompt_model::Principal;

use crate::config::CacheScope;
use crate::target::Target;

/// What an answer is found by: a digest over who asks, which way, and everything that would be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(super) [u8; 32]);

impl Key {
    /// The key of a request of `principal`, who speaks `caller`, along `route` to `target` with this content.
    pub(crate) fn of(
        scope: CacheScope,
        principal: &Principal,
        route: &str,
        caller: Format,
        target: &Target,
        content: &[u8],
    ) -> Self {
        let mut key = Segments::default();
        key.add(b"answer 1");
        match scope {
            CacheScope::User => {
                key.add(b"user");
                key.add(principal.user_id.as_uuid().as_bytes());
                key.add(principal.user_name.as_bytes());
            }
            CacheScope::Entitlements => key.add(b"entitlements"),
        }
        // Whoever gets another role asks anew.
        key.add(principal.user_type.as_str().as_bytes());
        key.list(principal.roles.iter().map(String::as_bytes));
        key.list(principal.attributes.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        key.add(route.as_bytes());
        key.add(caller.as_str().as_bytes());
        key.add(target.provider.name.as_bytes());
        key.add(target.format.as_str().as_bytes());
        key.add(target.uri.as_bytes());
        let mut headers: Vec<_> = target.headers.iter().collect();
        headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        key.list(headers.into_iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]));
        key.add(content);
        Self(key.0.finalize().into())
    }
}

/// Hashes segments. The length of each goes first, so that no two sequences of them have the same bytes.
#[derive(Default)]
struct Segments(Sha256);

impl Segments {
    fn add(&mut self, segment: &[u8]) {
        self.0.update((segment.len() as u64).to_le_bytes());
        self.0.update(segment);
    }

    fn list<'a>(&mut self, segments: impl Iterator<Item = &'a [u8]>) {
        let all: Vec<_> = segments.collect();
        self.0.update((all.len() as u64).to_le_bytes());
        for segment in all {
            self.add(segment);
        }
    }
}
