//! What the events of a stream say in pieces, put together again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use systemprompt_model::json::{self, Cursor, Kind, SyntaxError};

use crate::sse::SseParser;

/// Puts together the texts that a stream has in pieces, one for each place in its events: every text at the same path, in
/// the same block, choice or tool call, belongs to one.
///
/// No list of fields is kept, because providers add fields, and a policy that looks for a word must see it wherever the
/// caller's program may read it. What says no more than what an event is, see `LABELS`, is left out: it is whole in every
/// event.
#[derive(Debug)]
pub struct StreamTexts {
    events: SseParser,
    places: Places,
    said: Vec<String>,
}

/// The places in events where texts are said in pieces.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Which of the texts belongs to a place, in the order in which they began.
    known: HashMap<Place, usize>,
    /// What places are hashed with: a provider cannot choose two that are taken for one.
    hasher: RandomState,
}

/// The hash of a path. The paths themselves, or a tree of them, would let a stream of small or deep objects take up many
/// times its own size.
type Place = u64;

/// Fields that name an event or what it belongs to.
const LABELS: [&str; 20] = [
    "call_id",
    "event_id",
    "finish_reason",
    "finishReason",
    "fingerprint",
    "id",
    "item_id",
    "model",
    "modelVersion",
    "obfuscation",
    "object",
    "responseId",
    "role",
    "service_tier",
    "signature",
    "status",
    "stop_reason",
    "system_fingerprint",
    "thoughtSignature",
    "type",
];

/// Deeper values are not put together.
const DEEPEST: usize = 64;

impl StreamTexts {
    /// For a stream none of whose events is longer than `event_limit` bytes.
    pub fn new(event_limit: usize) -> Self {
        Self { events: SseParser::new(event_limit), places: Places::default(), said: Vec::new() }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        let Self { events, places, said } = self;
        events.feed(chunk, |data| places.gather(data, &mut |at, piece| say(said, at, piece)));
    }

    /// The texts at the end of the stream.
    pub fn finish(self) -> Vec<String> {
        let Self { mut events, mut places, mut said } = self;
        events.finish(|data| places.gather(data, &mut |at, piece| say(&mut said, at, piece)));
        said
    }
}

/// Adds a piece to the text it belongs to.
fn say(said: &mut Vec<String>, at: usize, piece: &str) {
    if at == said.len() {
        said.push(String::new());
    }
    said[at].push_str(piece);
}

impl Places {
    /// Shows every piece of a text in an event, with the number of the text: those that were seen before, or the next.
    pub(super) fn gather(&mut self, event: &[u8], piece: &mut impl FnMut(usize, &str)) {
        // An event that is no JSON has no pieces; it is looked at as it is.
        let _ = self.walk(0, event, DEEPEST, piece);
    }

    fn walk(
        &mut self,
        place: Place,
        value: &[u8],
        deepest: usize,
        piece: &mut impl FnMut(usize, &str),
    ) -> Result<(), SyntaxError> {
        let Some(deepest) = deepest.checked_sub(1) else { return Ok(()) };
        match Cursor::new(value).kind()? {
            Kind::String => {
                if let Some(text) = json::text(value).filter(|text| !text.is_empty()) {
                    let next = self.known.len();
                    piece(*self.known.entry(place).or_insert(next), &text);
                }
            }
            Kind::Object => {
                // Blocks, choices and tool calls come in turns, and say by their index which of them goes on.
                let place = match json::pick(value, ["index"])? {
                    [Some(index)] if !matches!(Cursor::new(index).kind()?, Kind::Object | Kind::Array) => {
                        self.hasher.hash_one((place, "index", index))
                    }
                    _ => place,
                };
                Cursor::new(value).members(|member, cursor| {
                    let inside = &value[cursor.skip()?];
                    let is_label = LABELS.contains(&&*member.key) && Cursor::new(inside).kind()? == Kind::String;
                    if is_label {
                        return Ok(());
                    }
                    self.walk(self.hasher.hash_one((place, "member", member.key)), inside, deepest, piece)
                })?;
            }
            Kind::Array => {
                Cursor::new(value).elements(|_, cursor| self.walk(place, &value[cursor.skip()?], deepest, piece))?;
            }
            Kind::Number | Kind::Bool | Kind::Null => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts_of(events: &[&str]) -> Vec<String> {
        let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let mut texts = StreamTexts::new(1024 * 1024);
        for piece in stream.as_bytes().chunks(7) {
            texts.feed(piece);
        }
        texts.finish()
    }

    #[test]
    fn pieces_are_put_together_wherever_they_stand() {
        for (first, second) in [
            (
                r#"{"choices":[{"index":0,"delta":{"content":"for"}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"bidden"}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"function_call":{"arguments":"for"}}}]}"#,
                r#"{"choices":[{"delta":{"function_call":{"arguments":"bidden"}}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"custom":{"input":"for"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"custom":{"input":"bidd\u0065n"}}]}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"audio":{"transcript":"for"}}}]}"#,
                r#"{"choices":[{"delta":{"audio":{"transcript":"bidden"}}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":[{"type":"text","text":"for"}]}}]}"#,
                r#"{"choices":[{"delta":{"content":[{"type":"text","text":"bidden"}]}}]}"#,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"for"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"bidden"}}"#,
            ),
            (r#"{"delta":{"something_new":"for"}}"#, r#"{"delta":{"something_new":"bidden"}}"#),
            (r#"{"status":{"text":"for"}}"#, r#"{"status":{"text":"bidden"}}"#),
        ] {
            assert_eq!(texts_of(&[first, second]), ["forbidden"], "{first}");
        }
        let last = 4000;
        let calls: Vec<String> = (0..=last)
            .flat_map(|index| {
                ["for", "bidden"].map(|part| format!(r#"{{"index":{index},"delta":{{"partial_json":"{part}"}}}}"#))
            })
            .collect();
        let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
        assert_eq!(texts_of(&calls), vec!["forbidden"; last + 1], "none of many is left out");
    }

    #[test]
    fn what_is_held_grows_with_the_stream() {
        let many = |member: fn(usize) -> String| (0..5000).map(member).collect::<Vec<_>>().join(",");
        let leaves = many(|number| format!(r#""m{number}":"x""#));
        let deep = (0..10).fold(format!("{{{leaves}}}"), |inside, _| format!(r#"{{"{}":{inside}}}"#, "k".repeat(1000)));
        let small = format!("{{{}}}", many(|number| format!(r#""m{number}":{{"a":"x"}}"#)));
        let silent = format!("{{{}}}", many(|number| format!(r#""m{number}":{{"a":{{"b":1}},"c":""}}"#)));
        let indexes = (0..50).fold(format!("\"{}\"", "k".repeat(1000)), |inside, _| format!(r#"{{"index":{inside}}}"#));
        for (event, expected) in [(deep, 5000), (small, 5000), (silent, 0), (indexes, 1)] {
            let stream = format!("data: {event}\n\n");
            let mut texts = StreamTexts::new(1024 * 1024);
            texts.feed(stream.as_bytes());
            let StreamTexts { places: Places { known: places, .. }, said, .. } = &texts;
            let held = places.capacity() * size_of::<(Place, usize)>()
                + said.capacity() * size_of::<String>()
                + said.iter().map(String::capacity).sum::<usize>();
            assert!(held <= 10 * stream.len(), "{held} of {}", stream.len());
            assert_eq!(texts.finish().len(), expected);
        }
    }

    #[test]
    fn what_does_not_belong_together_is_not() {
        let blocks = [
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"what it is for"}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"bidden or not"}}"#,
        ];
        assert_eq!(texts_of(&blocks), ["what it is for", "bidden or not"]);
        let labels = [r#"{"id":"msg_1","type":"ping"}"#, r#"{"id":"msg_1","type":"ping"}"#, "[DONE]", "{\"broken", ""];
        assert_eq!(texts_of(&labels), [""; 0]);
    }
}
