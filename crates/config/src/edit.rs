//! Changes of YAML that people wrote: what is changed is changed where it stands, and every comment, every blank line and the
//! order of everything stay.
//!
//! The text is cut where the parser saw the nodes. What comes out is parsed again and compared with what was meant, so that a
//! document in which that goes wrong, such as one with anchors in the way, is refused and not spoiled.

use std::ops::Range;
use std::path::Path;

use saphyr_parser::{Event, Parser, Span};
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::yaml;

/// A step from a node to one below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// The entry of a map.
    Key(&'a str),
    /// The item of a list, counted from 0.
    Item(usize),
}

/// Why a document was left as it was.
#[derive(Debug, Error)]
pub enum EditError {
    /// It is not the YAML we read.
    #[error("it is no YAML of ours: {0}")]
    Unreadable(String),
    /// On the way there is something else than the path says.
    #[error("`{0}` is not what the change expects there")]
    NotThere(String),
    /// What was meant cannot be written in it by a program.
    #[error("`{0}` cannot be changed without changing more than it; do it by hand")]
    ByHand(String),
    /// The value is none of YAML.
    #[error("the value cannot be written as YAML")]
    Value(#[from] serde_json::Error),
}

/// A YAML document as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlText {
    text: String,
    value: Value,
}

impl YamlText {
    /// Reads a document, which is a map or empty.
    pub fn new(text: impl Into<String>) -> Result<Self, EditError> {
        let text = text.into();
        let value = value_of(&text)?;
        Ok(Self { text, value })
    }

    /// The text as it is now.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says now.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What it says at a place, if it says anything there.
    pub fn get(&self, path: &[Step<'_>]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, step| match step {
            Step::Key(key) => value.get(*key),
            Step::Item(index) => value.get(*index),
        })
    }

    /// Puts a value at a place; the maps on the way are made if they are not there.
    pub fn set(&mut self, path: &[Step<'_>], value: &impl Serialize) -> Result<(), EditError> {
        let block = Block::of(value)?;
        let mut expected = self.value.clone();
        *make(&mut expected, path).ok_or_else(|| EditError::NotThere(dotted(path)))? = block.value.clone();
        if expected == self.value {
            return Ok(());
        }
        let text = Writing::new(&self.text)?.set(path, &block);
        self.accept(text, expected, path)
    }

    /// Adds an item at the end of a list, which is made if it is not there.
    pub fn push(&mut self, path: &[Step<'_>], value: &impl Serialize) -> Result<(), EditError> {
        let block = Block::of(value)?;
        let mut expected = self.value.clone();
        let list = make(&mut expected, path).ok_or_else(|| EditError::NotThere(dotted(path)))?;
        if list.is_null() {
            *list = Value::Array(Vec::new());
        }
        let list = list.as_array_mut().ok_or_else(|| EditError::NotThere(dotted(path)))?;
        list.push(block.value.clone());
        let text = Writing::new(&self.text)?.push(path, &block);
        self.accept(text, expected, path)
    }

    /// Takes away what is at a place; whether there was anything.
    pub fn remove(&mut self, path: &[Step<'_>]) -> Result<bool, EditError> {
        if self.get(path).is_none() {
            return Ok(false);
        }
        let mut expected = self.value.clone();
        let Some((last, parents)) = path.split_last() else { return Err(EditError::NotThere(String::new())) };
        let parent = make(&mut expected, parents).ok_or_else(|| EditError::NotThere(dotted(path)))?;
        match (last, parent) {
            (Step::Key(key), Value::Object(map)) => drop(map.remove(*key)),
            (Step::Item(index), Value::Array(list)) => drop(list.remove(*index)),
            _ => return Err(EditError::NotThere(dotted(path))),
        }
        let text = Writing::new(&self.text)?.remove(path);
        self.accept(text, expected, path)?;
        Ok(true)
    }

    fn accept(&mut self, text: Option<String>, expected: Value, path: &[Step<'_>]) -> Result<(), EditError> {
        let text = text.filter(|text| value_of(text).is_ok_and(|value| value == expected));
        self.text = text.ok_or_else(|| EditError::ByHand(dotted(path)))?;
        self.value = expected;
        Ok(())
    }
}

fn value_of(text: &str) -> Result<Value, EditError> {
    yaml::parse(text, Path::new(""), "document").map(|document| document.value).map_err(|problems| {
        EditError::Unreadable(problems.first().map(|problem| problem.message.clone()).unwrap_or_default())
    })
}

/// The value at a place; maps on the way are made.
fn make<'a>(value: &'a mut Value, path: &[Step<'_>]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            Some(value.as_object_mut()?.entry(*key).or_insert(Value::Null))
        }
        Step::Item(index) => value.get_mut(*index),
    })
}

fn dotted(path: &[Step<'_>]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Key(key) => format!(".{key}"),
        Step::Item(index) => format!("[{index}]"),
    });
    steps.collect::<String>().trim_start_matches('.').to_owned()
}

/// A value with the lines it is written in.
struct Block {
    value: Value,
    lines: Vec<String>,
    /// It goes on the line of its key.
    inline: bool,
}

impl Block {
    fn of(value: &impl Serialize) -> Result<Self, EditError> {
        let plain = serde_json::to_value(value)?;
        let inline = match &plain {
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => true,
        };
        let text = match &plain {
            Value::Object(map) if map.is_empty() => "{}".to_owned(),
            Value::Array(list) if list.is_empty() => "[]".to_owned(),
            // One line, whatever is in it: a JSON string is one of YAML.
            Value::String(text) if text.contains(['\n', '\r']) => plain.to_string(),
            _ => {
                let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
                let written = serde_saphyr::to_string_with_options(value, options);
                written.map_err(|error| EditError::Unreadable(error.to_string()))?
            }
        };
        Ok(Self { value: plain, lines: text.trim_end().lines().map(str::to_owned).collect(), inline })
    }

    /// The lines of an entry with this key, without indentation.
    fn entry(&self, key: &str) -> Option<Vec<String>> {
        let key = Self::of(&key).ok()?.lines.concat();
        if self.inline {
            return Some(vec![format!("{key}: {}", self.lines.concat())]);
        }
        let below = self.lines.iter().map(|line| format!("  {line}"));
        Some(std::iter::once(format!("{key}:")).chain(below).collect())
    }

    /// The lines of an item.
    fn item(&self) -> Vec<String> {
        let mark = |index| if index == 0 { "- " } else { "  " };
        self.lines.iter().enumerate().map(|(index, line)| format!("{}{line}", mark(index))).collect()
    }
}

/// Where a node stands.
struct Node {
    content: Content,
    /// Its characters, if it has any.
    bytes: Range<usize>,
    /// Its first and last lines, counted from 0.
    lines: (usize, usize),
}

enum Content {
    Scalar,
    Map { flow: bool, entries: Vec<Entry> },
    List { flow: bool, items: Vec<Node> },
}

struct Entry {
    key: String,
    line: usize,
    column: usize,
    node: Node,
}

impl Entry {
    fn last_line(&self) -> usize {
        self.node.lines.1.max(self.line)
    }
}

/// A document while it is changed. Whatever it gives is looked at again, so it may give up with nothing.
struct Writing<'a> {
    text: &'a str,
    lines: Vec<&'a str>,
    root: Option<Node>,
}

impl<'a> Writing<'a> {
    fn new(text: &'a str) -> Result<Self, EditError> {
        let mut tree = Tree { text, offsets: text.char_indices().map(|(at, _)| at).collect() };
        let root = tree.read().map_err(EditError::Unreadable)?;
        Ok(Self { text, lines: text.split_inclusive('\n').collect(), root })
    }

    fn set(&self, path: &[Step<'_>], block: &Block) -> Option<String> {
        let (last, parents) = path.split_last()?;
        let Some(root) = self.root.as_ref() else { return self.append_to_root(path, block) };
        let (found, left) = Self::walk(root, path);
        if left == 0 {
            return match last {
                Step::Key(key) => self.replace_entry(Self::walk(root, parents).0, key, block),
                Step::Item(index) => self.replace_item(Self::walk(root, parents).0, *index, block),
            };
        }
        // What is missing below `found` becomes one value.
        let reached = path.len() - left;
        let missing = wrap(&path[reached + 1..], block)?;
        match (&found.content, &path[reached]) {
            (Content::Map { flow: false, entries }, Step::Key(key)) if !entries.is_empty() => {
                let column = entries[0].column;
                let last = entries.iter().map(Entry::last_line).max()?;
                Some(self.insert_after(last, &indent(missing.entry(key)?, column)))
            }
            // Something on one line, or nothing yet: it is written anew, with the entry in it.
            (_, Step::Key(key)) => {
                let mut value = value_at(self.text, &path[..reached])?;
                if value.is_null() {
                    value = Value::Object(Map::new());
                }
                value.as_object_mut()?.insert((*key).to_owned(), missing.value);
                self.set(&path[..reached], &Block::of(&value).ok()?)
            }
            (_, Step::Item(_)) => None,
        }
    }

    fn push(&self, path: &[Step<'_>], block: &Block) -> Option<String> {
        if let Some(root) = self.root.as_ref()
            && let (node, 0) = Self::walk(root, path)
            && let Content::List { flow: false, items } = &node.content
            && let Some(first) = items.first()
        {
            let column = self.dash_column(first)?;
            let last = items.iter().map(|item| item.lines.1).max()?;
            return Some(self.insert_after(last, &indent(block.item(), column)));
        }
        let mut value = value_at(self.text, path).unwrap_or(Value::Null);
        if value.as_array().is_none_or(Vec::is_empty) {
            // The only item keeps the order of its keys.
            let lines = block.item();
            return self.set(path, &Block { value: Value::Array(vec![block.value.clone()]), lines, inline: false });
        }
        value.as_array_mut()?.push(block.value.clone());
        self.set(path, &Block::of(&value).ok()?)
    }

    fn remove(&self, path: &[Step<'_>]) -> Option<String> {
        let (last, parents) = path.split_last()?;
        let (parent, 0) = Self::walk(self.root.as_ref()?, parents) else { return None };
        match (&parent.content, last) {
            (Content::Map { flow: false, entries }, Step::Key(key)) if entries.len() > 1 => {
                let entry = entries.iter().find(|entry| entry.key == *key)?;
                // An entry on the line of a dash takes the dash with it.
                let alone = self.lines[entry.line].chars().take(entry.column).all(char::is_whitespace);
                if alone {
                    return Some(self.without(entry.line, entry.last_line()));
                }
            }
            (Content::Map { flow: false, entries }, Step::Key(_)) if parents.is_empty() => {
                let entry = entries.first()?;
                return Some(self.without(entry.line, entry.last_line()));
            }
            (Content::List { flow: false, items }, Step::Item(index)) if items.len() > 1 => {
                let item = items.get(*index)?;
                self.dash_column(item)?;
                return Some(self.without(item.lines.0, item.lines.1));
            }
            _ => {}
        }
        let mut value = value_at(self.text, parents)?;
        match last {
            Step::Key(key) => drop(value.as_object_mut()?.remove(*key)),
            Step::Item(index) => drop(value.as_array_mut()?.remove(*index)),
        }
        self.set(parents, &Block::of(&value).ok()?)
    }

    /// The node at the end of `path`, or the last one on the way, and how many steps are left from there.
    fn walk<'n>(mut node: &'n Node, path: &[Step<'_>]) -> (&'n Node, usize) {
        for (index, step) in path.iter().enumerate() {
            let next = match (&node.content, step) {
                (Content::Map { entries, .. }, Step::Key(key)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.node)
                }
                (Content::List { items, .. }, Step::Item(index)) => items.get(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node, path.len() - index),
            }
        }
        (node, 0)
    }

    fn replace_entry(&self, parent: &Node, key: &str, block: &Block) -> Option<String> {
        let Content::Map { flow, entries } = &parent.content else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        let old = &self.text[entry.node.bytes.clone()];
        let one_line = !old.is_empty() && !old.contains('\n') && !old.starts_with(['|', '>', '&', '*', '!']);
        if block.inline && one_line {
            let Range { start, end } = entry.node.bytes;
            return Some(format!("{}{}{}", &self.text[..start], block.lines.concat(), &self.text[end..]));
        }
        if *flow {
            return None;
        }
        let first = self.lines[entry.line];
        let before: String = first.chars().take(entry.column).collect();
        let mut written = indent(block.entry(key)?, entry.column);
        if let Some(line) = written.first_mut() {
            *line = format!("{before}{}", line.trim_start());
        }
        Some(self.with(entry.line, entry.last_line() + 1, &written))
    }

    fn replace_item(&self, parent: &Node, index: usize, block: &Block) -> Option<String> {
        let Content::List { flow: false, items } = &parent.content else { return None };
        let item = items.get(index)?;
        let column = self.dash_column(item)?;
        Some(self.with(item.lines.0, item.lines.1 + 1, &indent(block.item(), column)))
    }

    fn append_to_root(&self, path: &[Step<'_>], block: &Block) -> Option<String> {
        let (Step::Key(key), below) = path.split_first()? else { return None };
        let lines = wrap(below, block)?.entry(key)?;
        Some(self.with(self.lines.len(), self.lines.len(), &lines))
    }

    /// The column of the dash before an item that has a line of its own.
    fn dash_column(&self, item: &Node) -> Option<usize> {
        let line = self.lines.get(item.lines.0)?;
        let column = line.chars().take_while(|character| *character == ' ').count();
        line[column..].starts_with('-').then_some(column)
    }

    fn insert_after(&self, line: usize, written: &[String]) -> String {
        self.with(line + 1, line + 1, written)
    }

    fn without(&self, first: usize, last: usize) -> String {
        self.with(first, last + 1, &[])
    }

    /// The text with the lines from `first` to before `end` replaced.
    fn with(&self, first: usize, end: usize, written: &[String]) -> String {
        let mut text: String = self.lines[..first.min(self.lines.len())].concat();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for line in written {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&self.lines[end.min(self.lines.len())..].concat());
        text
    }
}

fn indent(lines: Vec<String>, columns: usize) -> Vec<String> {
    lines.into_iter().map(|line| format!("{}{line}", " ".repeat(columns))).collect()
}

/// A value inside of the maps that `path` leads through.
fn wrap(path: &[Step<'_>], block: &Block) -> Option<Block> {
    let inner = Block { value: block.value.clone(), lines: block.lines.clone(), inline: block.inline };
    path.iter().rev().try_fold(inner, |inner, step| {
        let Step::Key(key) = step else { return None };
        let lines = inner.entry(key)?;
        let value = Value::Object(Map::from_iter([((*key).to_owned(), inner.value)]));
        Some(Block { value, lines, inline: false })
    })
}

fn value_at(text: &str, path: &[Step<'_>]) -> Option<Value> {
    YamlText::new(text).ok()?.get(path).cloned()
}

/// A key whose value is still to come, with its line and column.
type PendingKey = (String, usize, usize);

/// Reads where the nodes stand.
struct Tree<'a> {
    text: &'a str,
    /// Where each character begins.
    offsets: Vec<usize>,
}

impl Tree<'_> {
    fn read(&mut self) -> Result<Option<Node>, String> {
        let mut stack: Vec<(Node, Option<PendingKey>)> = Vec::new();
        let mut root = None;
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| error.to_string())?;
            let finished = match event {
                Event::Scalar(text, ..) => {
                    if let Some((Node { content: Content::Map { .. }, .. }, key @ None)) = stack.last_mut() {
                        *key = Some((text.into_owned(), span.start.line() - 1, span.start.col()));
                        continue;
                    }
                    self.node(span, Content::Scalar)
                }
                Event::Alias(_) => self.node(span, Content::Scalar),
                Event::MappingStart(..) => {
                    let flow = self.text[self.byte(span.start.index())..].starts_with('{');
                    stack.push((self.node(span, Content::Map { flow, entries: Vec::new() }), None));
                    continue;
                }
                Event::SequenceStart(..) => {
                    let flow = self.text[self.byte(span.start.index())..].starts_with('[');
                    stack.push((self.node(span, Content::List { flow, items: Vec::new() }), None));
                    continue;
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    let Some((mut node, _)) = stack.pop() else { continue };
                    self.close(&mut node, span);
                    node
                }
                _ => continue,
            };
            match stack.last_mut() {
                None => root = Some(finished),
                Some((parent, key)) => match (&mut parent.content, key.take()) {
                    (Content::Map { entries, .. }, Some((key, line, column))) => {
                        let mut node = finished;
                        if node.bytes.is_empty() && matches!(node.content, Content::Scalar) {
                            node.lines = (line, line);
                        }
                        entries.push(Entry { key, line, column, node });
                    }
                    (Content::List { items, .. }, _) => items.push(finished),
                    _ => return Err("a key that is no text".to_owned()),
                },
            }
        }
        // A document of nothing, or of comments.
        Ok(root.filter(|root| !matches!(root.content, Content::Scalar)))
    }

    fn byte(&self, character: usize) -> usize {
        self.offsets.get(character).copied().unwrap_or(self.text.len())
    }

    fn node(&self, span: Span, content: Content) -> Node {
        let start = self.byte(span.start.index());
        let end = self.byte(span.end.index()).max(start);
        let length = self.text[start..end].trim_end().len();
        let bytes = start..start + length;
        let line = span.start.line() - 1;
        let last = line + self.text[bytes.clone()].matches('\n').count();
        Node { content, bytes, lines: (line, last) }
    }

    /// A collection ends with what is in it; one on one line with its bracket.
    fn close(&self, node: &mut Node, end: Span) {
        let (flow, last) = match &node.content {
            Content::Map { flow, entries } => (*flow, entries.iter().map(Entry::last_line).max()),
            Content::List { flow, items } => (*flow, items.iter().map(|item| item.lines.1).max()),
            Content::Scalar => (false, None),
        };
        if flow {
            node.bytes.end = self.byte(end.end.index());
            node.lines.1 = end.start.line() - 1;
        } else {
            node.lines.1 = last.unwrap_or(node.lines.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Step::{Item, Key};
    use super::*;

    const PROFILE: &str = "\
# How this instance runs.
name: local   # the profile
gateway:
  enabled: true   # answers

providers:
# The demo.
- name: demo
  wire: demo
  surface: anthropic
- name: other
  models:
  - id: m   # the model
    pricing: { input_per_million: 1, output_per_million: 2 }
  # nothing below
empty: []
text: |
  first
  second

site: {name: x}
";

    fn changed(change: impl FnOnce(&mut YamlText) -> Result<(), EditError>) -> String {
        let mut document = YamlText::new(PROFILE).expect("a document");
        change(&mut document).expect("a change");
        let (before, after): (Vec<_>, Vec<_>) = (PROFILE.lines().collect(), document.text().lines().collect());
        let same = |(old, new): &(&&str, &&str)| old == new;
        let head = before.iter().zip(&after).take_while(same).count();
        let rest = before.len().min(after.len()) - head;
        let tail = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(same).count();
        let gone = before[head..before.len() - tail].iter().map(|line| format!("-{line}"));
        let new = after[head..after.len() - tail].iter().map(|line| format!("+{line}"));
        gone.chain(new).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_change_touches_the_lines_it_is_about() {
        for (path, value, expected) in [
            (
                &[Key("gateway"), Key("enabled")][..],
                json!(false),
                "-  enabled: true   # answers\n+  enabled: false   # answers",
            ),
            (&[Key("gateway"), Key("default_provider")], json!("demo"), "+  default_provider: demo"),
            (&[Key("name")], json!("a: b"), "-name: local   # the profile\n+name: \"a: b\"   # the profile"),
            (&[Key("providers"), Item(1), Key("wire")], json!("demo"), "+  wire: demo"),
            (&[Key("providers"), Item(0), Key("name")], json!("d"), "-- name: demo\n+- name: d"),
            (
                &[Key("providers"), Item(1), Key("models"), Item(0), Key("pricing"), Key("input_per_million")],
                json!(3),
                "-    pricing: { input_per_million: 1, output_per_million: 2 }\n+    pricing: { input_per_million: 3, output_per_million: 2 }",
            ),
            (&[Key("site"), Key("url")], json!("u"), "-site: {name: x}\n+site:\n+  name: x\n+  url: u"),
            (&[Key("text")], json!("one"), "-text: |\n-  first\n-  second\n+text: one"),
            (&[Key("new"), Key("below")], json!([1]), "+new:\n+  below:\n+    - 1"),
        ] {
            let difference = changed(|document| document.set(path, &value));
            assert_eq!(difference, expected, "{path:?}");
        }
    }

    #[derive(Serialize)]
    struct Provider {
        name: &'static str,
        endpoint: &'static str,
        models: Vec<&'static str>,
    }

    #[test]
    fn items_are_added_and_taken_away() {
        let provider = Provider { name: "new", endpoint: "https://a.example/v1", models: vec!["x"] };
        assert_eq!(
            changed(|document| document.push(&[Key("providers")], &provider)),
            "+- name: new\n+  endpoint: https://a.example/v1\n+  models:\n+  - x"
        );
        assert_eq!(
            changed(|document| document.push(&[Key("empty")], &provider)),
            "-empty: []\n+empty:\n+  - name: new\n+    endpoint: https://a.example/v1\n+    models:\n+    - x"
        );
        assert_eq!(
            changed(|document| document.push(&[Key("gateway"), Key("routes")], &json!({"provider": "demo"}))),
            "+  routes:\n+    - provider: demo"
        );
        assert_eq!(
            changed(|document| document.remove(&[Key("providers"), Item(0)]).map(|there| assert!(there))),
            "-- name: demo\n-  wire: demo\n-  surface: anthropic"
        );
        assert_eq!(
            changed(|document| document.remove(&[Key("providers"), Item(1), Key("models"), Item(0)]).map(drop)),
            "-  models:\n-  - id: m   # the model\n-    pricing: { input_per_million: 1, output_per_million: 2 }\n+  models: []"
        );
        assert_eq!(changed(|document| document.remove(&[Key("nothing")]).map(|there| assert!(!there))), "");
    }

    #[test]
    fn a_document_of_nothing_gets_its_first_entry() {
        for (before, after) in [("", "a:\n  b: 1\n"), ("# only this", "# only this\na:\n  b: 1\n")] {
            let mut document = YamlText::new(before).expect("a document");
            document.set(&[Key("a"), Key("b")], &1).expect("a change");
            assert_eq!(document.text(), after);
            document.remove(&[Key("a"), Key("b")]).expect("a change");
            assert_eq!(document.value(), &json!({"a": {}}));
        }
    }

    #[test]
    fn what_cannot_be_said_for_sure_is_left_alone() {
        let text = "a: &x\n  b: 1\nc: *x\n";
        let mut document = YamlText::new(text).expect("a document");
        document.set(&[Key("a"), Key("b")], &2).expect_err("it would change `c` too");
        assert_eq!(document.text(), text);
        document.set(&[Key("a"), Key("b"), Key("c")], &2).expect_err("a number has no entries");
        YamlText::new("a: [").expect_err("no YAML");
    }
}
