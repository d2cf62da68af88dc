//! What the cache is to one request: whether its answer may come from there, and whether it may be kept.

use std::sync::Arc;

use bytes::BytesMut;
use chrono::TimeDelta;
use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use systemprompt_llm::{AnswerSummary, Format, InferenceRequest, StopReason, Usage};
use systemprompt_model::{Principal, UserId};

use super::entry::{Entry, Found};
use super::key::Key;
use super::service::AnswerCache;
use crate::config::RouteCacheConfig;
use crate::metrics::CacheResult;
use crate::target::Target;

/// Says on answers of routes with a cache whether they came from it: `hit`, `miss` or `bypass`.
const CACHE: HeaderName = HeaderName::from_static("x-systemprompt-cache");

/// A request along a route that has a cache.
pub(crate) struct Asked<'a> {
    /// Who asks.
    pub(crate) principal: &'a Principal,
    /// What, as the caller said it.
    pub(crate) request: &'a InferenceRequest,
    /// The caller's headers.
    pub(crate) headers: &'a HeaderMap,
    /// The route.
    pub(crate) route: &'a str,
    /// Where it leads.
    pub(crate) target: &'a Target,
    /// The bytes that are sent there.
    pub(crate) content: &'a [u8],
}

/// What the cache is to a request of a route that has one.
pub(crate) struct Caching {
    cache: Arc<AnswerCache>,
    rules: RouteCacheConfig,
    /// `None` where the request is none to be kept, or its caller does not want it.
    key: Option<Key>,
    /// An answer may come from the cache.
    reads: bool,
    route: String,
    user: Option<UserId>,
    provider: String,
    model: String,
}

impl Caching {
    /// That of this request, by the rules of its route.
    pub(crate) fn of(cache: &Arc<AnswerCache>, rules: RouteCacheConfig, asked: &Asked<'_>) -> Self {
        let Asked { principal, request, headers, route, target, content } = *asked;
        let wish = Wish::of(headers);
        let is_sampled = request.temperature.is_some_and(|temperature| temperature > 0.0);
        let is_kept = wish != Wish::NoStore && (rules.sampled || !is_sampled);
        Self {
            cache: cache.clone(),
            rules,
            key: is_kept.then(|| Key::of(rules.scope, principal, route, request.format, target, content)),
            reads: wish == Wish::Any,
            route: route.to_owned(),
            user: principal.account(),
            provider: target.provider.name.to_string(),
            model: target.asked.model.clone(),
        }
    }

    /// Looks for the answer.
    pub(crate) async fn find(&self) -> (Option<Found>, Told) {
        let Some(key) = self.key.filter(|_| self.reads) else {
            self.cache.metrics.cache(CacheResult::Bypass);
            return (None, Told::Bypass);
        };
        let found = self.cache.find(key, self.ttl()).await;
        let told = found.as_ref().map_or(Told::Miss, |found| Told::Hit { age: found.age });
        self.cache.metrics.cache(if found.is_some() { CacheResult::Hit } else { CacheResult::Miss });
        (found, told)
    }

    /// Gathers an answer that may be kept; `None` if it is none to be.
    pub(crate) fn gather(self) -> Option<Gathering> {
        let key = self.key?;
        Some(Gathering { caching: self, key, content_type: None, answer: BytesMut::new(), is_whole: true })
    }

    fn ttl(&self) -> TimeDelta {
        TimeDelta::seconds(i64::try_from(self.rules.ttl_seconds).unwrap_or(i64::MAX / 1000))
    }
}

/// What a caller wants of caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Any,
    /// The provider is to be asked.
    NoCache,
    /// And nothing is to be kept.
    NoStore,
}

impl Wish {
    fn of(caller: &HeaderMap) -> Self {
        let named = caller.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let mut wish = Self::Any;
        for directive in named.flat_map(|value| value.split(',')) {
            let directive = directive.split('=').next().unwrap_or_default().trim();
            if directive.eq_ignore_ascii_case("no-store") {
                return Self::NoStore;
            }
            if directive.eq_ignore_ascii_case("no-cache") {
                wish = Self::NoCache;
            }
        }
        wish
    }
}

/// What the caller is told of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The answer is from there, and so many seconds old.
    Hit { age: i64 },
    /// It is not there.
    Miss,
    /// It was not looked for.
    Bypass,
}

impl Told {
    /// Writes it.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let word = match self {
            Self::Hit { age } => {
                headers.insert(AGE, HeaderValue::from(age));
                "hit"
            }
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        };
        headers.insert(CACHE, HeaderValue::from_static(word));
    }
}

/// An answer on its way that may be kept.
pub(crate) struct Gathering {
    caching: Caching,
    key: Key,
    content_type: Option<String>,
    answer: BytesMut,
    /// It is not too large so far.
    is_whole: bool,
}

impl Gathering {
    /// The head of an answer came; what came before it was another one's.
    pub(crate) fn begin(&mut self, headers: &HeaderMap) {
        self.content_type = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        self.answer.clear();
        self.is_whole = true;
    }

    /// A piece of the answer came.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.is_whole &= self.answer.len() + bytes.len() <= self.caching.rules.max_entry_bytes;
        if self.is_whole {
            self.answer.extend_from_slice(bytes);
        } else {
            self.answer = BytesMut::new();
        }
    }

    /// Keeps the answer, which is complete and says this, if it is one to be given once more.
    pub(crate) fn keep(self, format: Format, summary: &AnswerSummary) {
        if !self.is_whole || !is_repeatable(format, summary) {
            return;
        }
        let ttl = self.caching.ttl();
        let Caching { cache, route, user, provider, model, .. } = self.caching;
        let stored_at = cache.ambient.now();
        let entry = Entry {
            key: self.key,
            route,
            user,
            provider,
            model,
            content_type: self.content_type,
            answer: self.answer.freeze(),
            stored_at,
            expires_at: stored_at + ttl,
        };
        cache.keep(entry);
    }
}

/// Whether an answer is all there is to the request: it came to its own end, and nothing happened for it or will because of
/// it, as with tools.
fn is_repeatable(format: Format, summary: &AnswerSummary) -> bool {
    let came_to_its_end = match &summary.stop_reason {
        Some(StopReason::EndTurn | StopReason::StopSequence) => true,
        Some(StopReason::MaxTokens | StopReason::ToolUse | StopReason::Other(_)) => false,
        None => format == Format::OpenAiEmbeddings,
    };
    let Usage { web_searches, code_executions, file_searches, images, .. } = summary.usage;
    let at_work = [web_searches, code_executions, file_searches, images];
    came_to_its_end
        && summary.complete
        && summary.error.is_none()
        && !summary.is_partial()
        && summary.tool_calls.is_empty()
        && !summary.provider_acted
        && at_work.iter().all(|count| count.unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_want_the_provider_to_be_asked() {
        for (said, expected) in [
            ("", Wish::Any),
            ("max-age=0", Wish::Any),
            ("No-Cache", Wish::NoCache),
            ("no-cache=\"x\", max-age=0", Wish::NoCache),
            ("no-cache, no-store", Wish::NoStore),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(said))]);
            assert_eq!(Wish::of(&headers), expected, "{said}");
        }
        assert_eq!(Wish::of(&HeaderMap::new()), Wish::Any);
    }

    #[test]
    fn only_answers_that_are_all_there_is_are_given_once_more() {
        let complete = |stop_reason| AnswerSummary { complete: true, stop_reason, ..AnswerSummary::default() };
        let chat = Format::OpenAiChat;
        assert!(is_repeatable(chat, &complete(Some(StopReason::EndTurn))));
        assert!(is_repeatable(chat, &complete(Some(StopReason::StopSequence))));
        assert!(is_repeatable(Format::OpenAiEmbeddings, &complete(None)));
        for cut in [
            None,
            Some(StopReason::MaxTokens),
            Some(StopReason::ToolUse),
            Some(StopReason::Other("refusal".to_owned())),
        ] {
            assert!(!is_repeatable(chat, &complete(cut.clone())), "{cut:?}");
        }
        let searched = Usage { web_searches: Some(1), ..Usage::default() };
        let summary = AnswerSummary { usage: searched, ..complete(Some(StopReason::EndTurn)) };
        assert!(!is_repeatable(chat, &summary));
        let acted = AnswerSummary { provider_acted: true, ..complete(Some(StopReason::EndTurn)) };
        assert!(!is_repeatable(chat, &acted));
        let broken = AnswerSummary { complete: false, ..complete(Some(StopReason::EndTurn)) };
        assert!(!is_repeatable(chat, &broken));
    }
}
