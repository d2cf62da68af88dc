//! What the events of a stream say in pieces, put together again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use systemprompt_model::json::{self, Cursor, Kind, SyntaxError, lossy};

use crate::sse::SseParser;

/// Puts together the texts that a stream has in pieces, one for each place in its events: every text at the same path, in
/// the same block, choice or tool call, belongs to one.
///
/// No list of fields is kept, because providers add fields, and a policy that looks for a word must see it wherever the
/// caller's program may read it. What says no more than what an event is, see `LABELS`, is left out: it is whole in every
/// event. Of the input of a tool nothing is left out, nor are its names and numbers, and what is no JSON is a text as it
/// stands.
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

/// Where the input of a tool stands when it is no text: what is in it is the model's.
const INPUTS: [&str; 3] = ["args", "arguments", "input"];

/// Deeper values are not put together, but are texts as they stand.
const DEEPEST: usize = 64;

/// What some streams end with.
const DONE: &[u8] = b"[DONE]";

/// A piece of a text.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    /// What it says.
    pub(super) text: &'a str,
    /// The value in the event that says it, as it stands there.
    pub(super) value: &'a [u8],
    /// The member it is the value of, or empty.
    pub(super) key: &'a str,
}

/// Where in an event something stands.
struct Depth<'a> {
    /// How much deeper values are put together.
    left: usize,
    /// In the input of a tool.
    is_input: bool,
    /// The member it is the value of, or empty.
    key: &'a str,
}

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
        self.gather_placed(event, &mut |at, Piece { text, .. }| piece(at, text));
    }

    /// The same, with where in the event each piece stands.
    pub(super) fn gather_placed(&mut self, event: &[u8], piece: &mut impl FnMut(usize, Piece<'_>)) {
        let is_read = self.walk(0, event, &Depth { left: DEEPEST, is_input: false, key: "" }, piece).is_ok();
        if !is_read && event.trim_ascii() != DONE {
            self.say(self.hasher.hash_one("no JSON"), Piece { text: &lossy(event), value: event, key: "" }, piece);
        }
    }

    fn say(&mut self, place: Place, said: Piece<'_>, piece: &mut impl FnMut(usize, Piece<'_>)) {
        if !said.text.is_empty() {
            let next = self.known.len();
            piece(*self.known.entry(place).or_insert(next), said);
        }
    }

    fn walk(
        &mut self,
        place: Place,
        value: &[u8],
        depth: &Depth<'_>,
        piece: &mut impl FnMut(usize, Piece<'_>),
    ) -> Result<(), SyntaxError> {
        let key = depth.key;
        let Some(left) = depth.left.checked_sub(1) else {
            self.say(place, Piece { text: &lossy(value), value, key }, piece);
            return Ok(());
        };
        match Cursor::new(value).kind()? {
            Kind::String => {
                self.say(place, Piece { text: &json::text(value).unwrap_or_default(), value, key }, piece);
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
                    let kind = Cursor::new(inside).kind()?;
                    let key = &*member.key;
                    if depth.is_input {
                        let name = Piece { text: key, value: &[], key: "" };
                        self.say(self.hasher.hash_one((place, "name", key)), name, piece);
                    } else if LABELS.contains(&key) && kind == Kind::String {
                        return Ok(());
                    }
                    let is_input = depth.is_input || INPUTS.contains(&key) && kind == Kind::Object;
                    let place = self.hasher.hash_one((place, "member", key));
                    self.walk(place, inside, &Depth { left, is_input, key }, piece)
                })?;
            }
            Kind::Array => {
                let depth = Depth { left, is_input: depth.is_input, key };
                Cursor::new(value).elements(|_, cursor| self.walk(place, &value[cursor.skip()?], &depth, piece))?;
            }
            Kind::Number if depth.is_input => self.say(place, Piece { text: &lossy(value), value, key }, piece),
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
        let labels = [r#"{"id":"msg_1","type":"ping"}"#, r#"{"id":"msg_1","type":"ping"}"#, "[DONE]", ""];
        assert_eq!(texts_of(&labels), [""; 0]);
    }

    #[test]
    fn nothing_of_a_tools_input_is_left_out_nor_what_cannot_be_read() {
        let call = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"c","name":"pay","args":
            {"id":"536-22-8741","status":{"type":"x"},"card":4111111111111111,"forbidden":true}}}]}}]}"#;
        let texts = texts_of(&[call.replace('\n', "").as_str()]);
        for said in ["pay", "536-22-8741", "x", "4111111111111111", "forbidden"] {
            assert!(texts.iter().any(|text| text == said), "{said} in {texts:?}");
        }
        assert!(!texts.iter().any(|text| text == "c"), "{texts:?}");
        assert_eq!(texts_of(&["{\"broken", "words"]), ["{\"brokenwords"]);
        let deep = format!("{}\"forbidden\"{}", "[".repeat(100), "]".repeat(100));
        assert!(texts_of(&[&deep]).concat().contains("forbidden"));
    }
}
