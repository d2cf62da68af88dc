//! YAML text to a [`Document`]: one document of maps with string keys, lists and core-schema scalars.
//!
//! Bounded while reading, before anything is copied: [`MAX_BYTES`], [`MAX_DEPTH`] and [`MAX_NODES`] after the expansion of aliases.
//!
//! Scanning, parsing and the meaning of scalars are the library's. Building the value is ours, as no library that does it bounds
//! what aliases expand to, refuses duplicate keys and says where each value stands.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use crate::document::{Document, Location, child, dotted};
use crate::report::Problem;

/// The largest file that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 20;
/// The deepest nesting.
pub(crate) const MAX_DEPTH: usize = 64;
/// The most values in one document.
pub(crate) const MAX_NODES: usize = 100_000;

/// Reads a file. The problems belong to `domain`.
pub(crate) fn read(path: &Path, domain: &str) -> Result<Document, Vec<Problem>> {
    let text = read_text(path, domain).map_err(|problem| vec![*problem])?;
    parse(&text, path, domain)
}

/// Reads a text file of bounded size.
pub(crate) fn read_text(path: &Path, domain: &str) -> Result<String, Box<Problem>> {
    let problem = |message: String, code| Box::new(Problem::error(domain, "", message).in_file(path).code(code));
    let size = std::fs::metadata(path).map_err(|error| problem(format!("cannot be read: {error}"), "io"))?.len();
    if size > MAX_BYTES {
        return Err(problem(format!("is {size} bytes long; the limit is {MAX_BYTES}"), "too_large"));
    }
    let bytes = std::fs::read(path).map_err(|error| problem(format!("cannot be read: {error}"), "io"))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.split(|byte| *byte == b'\n').skip(1).count();
        let mut found = problem("is not UTF-8".to_owned(), "yaml_syntax");
        found.line = Some(line);
        found
    })
}

/// Parses a text that was read from `file`.
pub(crate) fn parse(text: &str, file: &Path, domain: &str) -> Result<Document, Vec<Problem>> {
    let mut reader = Reader {
        file: file.into(),
        domain,
        document: Document { value: Value::Null, ..Document::empty() },
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: 0,
        problems: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if let Err(problem) = reader.accept(event, span) {
                    reader.problems.push(*problem);
                    break;
                }
            }
            Err(error) => {
                let marker = error.marker();
                let at = Location { file: reader.file.clone(), line: marker.line(), column: marker.col() + 1 };
                let message = format!("is not valid YAML: {}", error.info());
                reader.problems.push(Problem::error(domain, "", message).at(&at).code("yaml_syntax"));
                break;
            }
        }
    }
    if reader.document.value.is_null() {
        reader.document.value = Value::Object(Map::new());
    }
    if reader.problems.is_empty() && !reader.document.value.is_object() {
        let at = Location { file: reader.file.clone(), line: 1, column: 1 };
        let problem = Problem::error(domain, "", "the document must be a map of keys").at(&at).code("yaml_syntax");
        reader.problems.push(problem);
    }
    if reader.problems.is_empty() { Ok(reader.document) } else { Err(reader.problems) }
}

struct Reader<'a> {
    file: Arc<Path>,
    domain: &'a str,
    document: Document,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    documents: usize,
    problems: Vec<Problem>,
}

/// A map or list that is being read.
struct Frame {
    pointer: String,
    anchor: usize,
    nodes_before: usize,
    /// How many levels lie below it so far.
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map { entries: Map<String, Value>, key: Option<String> },
}

/// A node that aliases may repeat.
#[derive(Clone)]
struct Anchored {
    value: Value,
    origins: BTreeMap<String, Location>,
    included_texts: BTreeSet<String>,
    nodes: usize,
    depth: usize,
}

type Step = Result<(), Box<Problem>>;

impl Reader<'_> {
    fn accept(&mut self, event: Event<'_>, span: Span) -> Step {
        let at = Location { file: self.file.clone(), line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.fault(&at, "", "holds more than one YAML document"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), &at),
            Event::SequenceStart(anchor, tag) => self.open(Content::List(Vec::new()), anchor, tag.as_deref(), &at),
            Event::MappingStart(anchor, tag) => {
                self.open(Content::Map { entries: Map::new(), key: None }, anchor, tag.as_deref(), &at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&at),
            Event::Alias(anchor) => self.alias(anchor, &at),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: &Location,
    ) -> Step {
        if let Some(Frame { content: Content::Map { key: key @ None, .. }, .. }) = self.stack.last_mut() {
            if style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null") {
                let field = self.current_field();
                return Err(self.fault(at, &field, "a key is empty"));
            }
            *key = Some(text.into_owned());
            self.note_key(at);
            return Ok(());
        }
        let pointer = self.next_pointer(at);
        self.count(1, at)?;
        let included = tag.is_some_and(|tag| tag.handle == "!" && tag.suffix == "include");
        let value = match tag {
            Some(_) if included => Value::String(text.into_owned()),
            Some(tag) if !tag.is_yaml_core_schema() && !is_non_specific(tag) => {
                return Err(self.fault(at, &dotted(&pointer), &format!("the tag `{tag}` is unknown")));
            }
            _ => match self.plain(text, style, tag) {
                Some(value) => value,
                None => {
                    return Err(self.fault(at, &dotted(&pointer), "is not a value of its tag, or not a finite number"));
                }
            },
        };
        if included {
            self.document.included_texts.insert(pointer.clone());
        }
        if anchor != 0 {
            self.remember(anchor, &pointer, &value, 1, 0);
        }
        self.put(value);
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "reads better beside its caller")]
    fn plain(&self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Option<Value> {
        if style == ScalarStyle::Plain && tag.is_none() {
            // Beyond i64 the scalar would silently become a float.
            if let Ok(number) = text.parse::<u64>() {
                return Some(number.into());
            }
        }
        let tag = tag.map(|tag| Cow::Owned(tag.clone()));
        Some(match Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref())? {
            Scalar::Null => Value::Null,
            Scalar::Boolean(flag) => flag.into(),
            Scalar::Integer(number) => number.into(),
            Scalar::FloatingPoint(number) => serde_json::Number::from_f64(number.0)?.into(),
            Scalar::String(text) => text.into_owned().into(),
        })
    }

    fn open(&mut self, content: Content, anchor: usize, tag: Option<&Tag>, at: &Location) -> Step {
        if let Some(Frame { content: Content::Map { key: None, .. }, .. }) = self.stack.last() {
            let field = self.current_field();
            return Err(self.fault(at, &field, "a key must be a text, not a map or list"));
        }
        let pointer = self.next_pointer(at);
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(self.fault(at, &dotted(&pointer), &format!("the tag `{tag}` is unknown")));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.fault(at, &dotted(&pointer), &format!("is nested more than {MAX_DEPTH} levels deep")));
        }
        let nodes_before = self.nodes;
        self.count(1, at)?;
        self.stack.push(Frame { pointer, anchor, nodes_before, depth: 0, content });
        Ok(())
    }

    fn close(&mut self, at: &Location) -> Step {
        let Some(frame) = self.stack.pop() else { return Err(self.fault(at, "", "is not valid YAML")) };
        let value = match frame.content {
            Content::List(list) => Value::Array(list),
            Content::Map { entries, .. } => Value::Object(entries),
        };
        if frame.anchor != 0 {
            self.remember(frame.anchor, &frame.pointer, &value, self.nodes - frame.nodes_before, frame.depth + 1);
        }
        if let Some(parent) = self.stack.last_mut() {
            parent.depth = parent.depth.max(frame.depth + 1);
        }
        self.put(value);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: &Location) -> Step {
        if let Some(Frame { content: Content::Map { key: None, .. }, .. }) = self.stack.last() {
            let field = self.current_field();
            return Err(self.fault(at, &field, "a key must be a text, not an alias"));
        }
        let pointer = self.next_pointer(at);
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.fault(at, &dotted(&pointer), "the alias refers to a value that contains it"));
        };
        // Checked before the copy is made: nested aliases grow exponentially.
        let (nodes, depth) = (anchored.nodes, anchored.depth);
        self.count(nodes, at)?;
        if self.stack.len() + depth > MAX_DEPTH {
            return Err(self.fault(at, &dotted(&pointer), &format!("is nested more than {MAX_DEPTH} levels deep")));
        }
        let anchored = self.anchors[&anchor].clone();
        for (name, origin) in anchored.origins {
            self.document.origins.entry(format!("{pointer}{name}")).or_insert(origin);
        }
        let texts = anchored.included_texts.into_iter().map(|name| format!("{pointer}{name}"));
        self.document.included_texts.extend(texts);
        if let Some(parent) = self.stack.last_mut() {
            parent.depth = parent.depth.max(depth);
        }
        self.put(anchored.value);
        Ok(())
    }

    fn remember(&mut self, anchor: usize, pointer: &str, value: &Value, nodes: usize, depth: usize) {
        let below = self.document.origins.range(pointer.to_owned()..).take_while(|(name, _)| name.starts_with(pointer));
        let relative = |name: &String| {
            let rest = &name[pointer.len()..];
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
        };
        let origins = below.filter_map(|(name, origin)| Some((relative(name)?, origin.clone()))).collect();
        let texts = self.document.included_texts.iter().filter(|name| name.starts_with(pointer)).filter_map(relative);
        let included_texts = texts.collect();
        self.anchors.insert(anchor, Anchored { value: value.clone(), origins, included_texts, nodes, depth });
    }

    fn put(&mut self, value: Value) {
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.document.value = value,
            Some(Content::List(list)) => list.push(value),
            Some(Content::Map { entries, key }) => {
                let key = key.take().expect("a value in a map follows its key");
                entries.insert(key, value);
            }
        }
    }

    /// Records where the key of the current map stands; a second time is a problem, and reading goes on.
    fn note_key(&mut self, at: &Location) {
        let pointer = self.next_pointer(at);
        let Some(Frame { content: Content::Map { entries, key: Some(key) }, .. }) = self.stack.last() else { return };
        if entries.contains_key(key) {
            let first = self.document.origins.get(&pointer).map_or(0, |origin| origin.line);
            let message = format!("the key `{key}` is given twice, first in line {first}");
            let problem = Problem::error(self.domain, dotted(&pointer), message).at(at).code("duplicate_key");
            self.problems.push(problem);
        }
    }

    /// The pointer of the node that comes next, whose place is recorded if it is new.
    fn next_pointer(&mut self, at: &Location) -> String {
        let pointer = match self.stack.last() {
            None => String::new(),
            Some(Frame { pointer, content: Content::List(list), .. }) => child(pointer, &list.len().to_string()),
            Some(Frame { pointer, content: Content::Map { key, .. }, .. }) => {
                child(pointer, key.as_deref().unwrap_or_default())
            }
        };
        self.document.origins.entry(pointer.clone()).or_insert_with(|| at.clone());
        pointer
    }

    fn current_field(&self) -> String {
        self.stack.last().map(|frame| dotted(&frame.pointer)).unwrap_or_default()
    }

    fn count(&mut self, nodes: usize, at: &Location) -> Step {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self.fault(at, "", &format!("holds more than {MAX_NODES} values once aliases are expanded")));
        }
        Ok(())
    }

    fn fault(&self, at: &Location, field: &str, message: &str) -> Box<Problem> {
        Box::new(Problem::error(self.domain, field, message).at(at).code("yaml_syntax"))
    }
}

/// `!` alone only says that the scalar is a text.
fn is_non_specific(tag: &Tag) -> bool {
    tag.handle.is_empty() && tag.suffix == "!"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Document, Vec<Problem>> {
        super::parse(text, Path::new("f.yaml"), "test")
    }

    #[test]
    fn values_and_where_they_stand() {
        let document = parse("a: 1\nb:\n  - x\n  - {c: ~, 'd': 'true'}\ne: !!str 7\nf: |\n  text\n").unwrap();
        assert_eq!(document.value, json!({"a": 1, "b": ["x", {"c": null, "d": "true"}], "e": "7", "f": "text\n"}));
        for (pointer, line, column) in
            [("/a", 1, 1), ("/b", 2, 1), ("/b/0", 3, 5), ("/b/1/d", 4, 12), ("/f/none", 6, 1)]
        {
            let at = document.locate(pointer).unwrap();
            assert_eq!((at.line, at.column), (line, column), "{pointer}");
        }
    }

    #[test]
    fn scalars_keep_their_type() {
        let document = parse("[18446744073709551615, -3, 0x1f, 1.5, 1e3, no, 'yes', \"1\", 08080, null, True]");
        assert!(document.is_err(), "a list is not a document");
        let document =
            parse("v: [18446744073709551615, -3, 0x1f, 1.5, no, 'yes', \"1\", null, True, !!float 2]").unwrap();
        assert_eq!(
            document.value["v"],
            json!([18_446_744_073_709_551_615_u64, -3, 31, 1.5, "no", "yes", "1", null, true, 2.0])
        );
    }

    #[test]
    fn aliases_repeat_values_and_point_to_the_anchor() {
        let document = parse("base: &b {x: 1, y: [2]}\nagain: *b\n").unwrap();
        assert_eq!(document.value["again"], json!({"x": 1, "y": [2]}));
        assert_eq!(document.locate("/again/y/0").unwrap().line, 1);
        assert_eq!(document.locate("/again").unwrap().line, 2);
    }

    #[test]
    fn what_is_refused_and_where() {
        let laughs = {
            let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
            for level in 1..8 {
                let previous = level - 1;
                let row = vec![format!("*a{previous}"); 10].join(", ");
                text = format!("{text}a{level}: &a{level} [{row}]\n");
            }
            text
        };
        let deep = |levels| format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
        let (deep, abyss) = (deep(70), deep(70_000));
        for (text, line, expected) in [
            ("a: 1\nb: 2\na: 3\n", 3, "a: the key `a` is given twice, first in line 1"),
            ("a:\n  b: 1\n  c: 2\n  b: 3\n", 4, "a.b: the key `b` is given twice, first in line 2"),
            ("a: [1\n", 2, "is not valid YAML: "),
            ("a: 1\n---\nb: 2\n", 2, "holds more than one YAML document"),
            ("? [1, 2]\n: x\n", 1, "a key must be a text"),
            ("~: x\n", 1, "a key is empty"),
            ("a: !thing 3\n", 1, "a: the tag `!thing` is unknown"),
            ("a: .nan\n", 1, "a: is not a value of its tag, or not a finite number"),
            ("a: &x [*x]\n", 1, "a[0]: the alias refers to a value that contains it"),
            ("- 1\n", 1, "the document must be a map of keys"),
            (&laughs, 5, "holds more than 100000 values once aliases are expanded"),
            (&deep, 1, "is nested more than 64 levels deep"),
            (&abyss, 1, "is not valid YAML: recursion limit exceeded"),
        ] {
            let problems = parse(text).expect_err(expected);
            assert!(problems[0].to_string().contains(expected), "{} <> {expected}", problems[0]);
            assert_eq!(problems[0].line, Some(line), "{expected}");
        }
    }

    #[test]
    fn all_duplicates_are_told() {
        assert_eq!(parse("a: 1\na: 2\nb: 1\nb: 2\n").unwrap_err().len(), 2);
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        assert_eq!(parse("").unwrap().value, json!({}));
        assert_eq!(parse("# nothing\n").unwrap().value, json!({}));
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        let sample = "a: &x [1, {b: 'c'}]\n? k\n: *x\nd: |\n  t\n- !include f\n# c\ne: \"\\u00e9\"\n---\n...\n%T\n";
        let characters: Vec<char> = sample.chars().collect();
        let mut state = 1_u64;
        let mut next = |limit: usize| {
            // A linear congruential generator (Knuth, MMIX): the same texts on every run.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        for _ in 0..5_000 {
            let mut text = characters.clone();
            for _ in 0..=next(6) {
                let (from, to) = (next(text.len()), next(text.len()));
                match next(3) {
                    0 => text[to] = characters[next(characters.len())],
                    1 => text.swap(from, to),
                    _ => text.truncate(to.max(1)),
                }
            }
            let text: String = text.into_iter().collect();
            let _ = parse(&text);
        }
    }
}
