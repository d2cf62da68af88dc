//! A parsed document: values that know where they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// A value of which every node knows where it was written: one file, or several merged ones.
///
/// Nodes are named by JSON Pointers (RFC 6901); the root is the empty pointer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Of an entry of a map the place of its key, of an element of a list the place of the element.
    pub(crate) origins: BTreeMap<String, Location>,
    /// Strings that came out of `${…}`. Only these may become numbers or switches, and their values are never shown.
    pub(crate) interpolated: BTreeSet<String>,
    /// Strings tagged `!include`.
    pub(crate) included_texts: BTreeSet<String>,
}

impl Document {
    /// An empty map that was written nowhere.
    pub(crate) fn empty() -> Self {
        Self {
            value: Value::Object(Map::new()),
            origins: BTreeMap::new(),
            interpolated: BTreeSet::new(),
            included_texts: BTreeSet::new(),
        }
    }

    /// Where the node, or the closest node above it that was written somewhere, stands.
    pub(crate) fn locate(&self, pointer: &str) -> Option<&Location> {
        let mut pointer = pointer;
        loop {
            if let Some(location) = self.origins.get(pointer) {
                return Some(location);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    pub(crate) fn get(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }

    /// Takes an entry out of a map, with everything below it.
    pub(crate) fn remove(&mut self, pointer: &str) -> Option<Self> {
        let (parent, key) = split(pointer)?;
        let value = self.value.pointer_mut(parent)?.as_object_mut()?.shift_remove(&key)?;
        let below = |name: &String| is_below(name, pointer);
        let origins: BTreeMap<_, _> = self.origins.extract_if(range(pointer), |name, _| below(name)).collect();
        let interpolated: BTreeSet<_> = self.interpolated.extract_if(range(pointer), below).collect();
        let included_texts: BTreeSet<_> = self.included_texts.extract_if(range(pointer), below).collect();
        let relative = |name: String| name[pointer.len()..].to_owned();
        Some(Self {
            value,
            origins: origins.into_iter().map(|(name, location)| (relative(name), location)).collect(),
            interpolated: interpolated.into_iter().map(relative).collect(),
            included_texts: included_texts.into_iter().map(relative).collect(),
        })
    }

    /// Puts a document at `pointer`, making the maps above it as needed; whatever was there is replaced.
    pub(crate) fn insert(&mut self, pointer: &str, document: Self) {
        self.remove(pointer);
        let absolute = |name: String| format!("{pointer}{name}");
        self.origins.extend(document.origins.into_iter().map(|(name, location)| (absolute(name), location)));
        self.interpolated.extend(document.interpolated.into_iter().map(absolute));
        self.included_texts.extend(document.included_texts.into_iter().map(absolute));
        let mut node = &mut self.value;
        for segment in segments(pointer) {
            if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            node = node.as_object_mut().expect("made an object above").entry(segment).or_insert(Value::Null);
        }
        *node = document.value;
    }

    /// A copy of the part below `pointer`.
    pub(crate) fn part(&self, pointer: &str) -> Option<Self> {
        let value = self.value.pointer(pointer)?.clone();
        let names = |set: &BTreeSet<String>| {
            set.range(range(pointer)).filter(|n| is_below(n, pointer)).map(|n| n[pointer.len()..].to_owned()).collect()
        };
        let origins = self.origins.range(range(pointer)).filter(|(name, _)| is_below(name, pointer));
        Some(Self {
            value,
            origins: origins.map(|(name, at)| (name[pointer.len()..].to_owned(), at.clone())).collect(),
            interpolated: names(&self.interpolated),
            included_texts: names(&self.included_texts),
        })
    }

    /// Appends the elements of `other`, a list, to this list.
    pub(crate) fn append(&mut self, other: &Self) {
        let (Value::Array(list), Value::Array(more)) = (&mut self.value, &other.value) else { return };
        let offset = list.len();
        let moved = |name: &str| {
            let (index, rest) = name[1..].split_once('/').map_or((&name[1..], None), |(i, rest)| (i, Some(rest)));
            let index = index.parse::<usize>().unwrap_or(0) + offset;
            rest.map_or_else(|| format!("/{index}"), |rest| format!("/{index}/{rest}"))
        };
        list.extend(more.iter().cloned());
        let inner = other.origins.iter().filter(|(name, _)| !name.is_empty());
        self.origins.extend(inner.map(|(name, location)| (moved(name), location.clone())));
        self.interpolated.extend(other.interpolated.iter().map(|name| moved(name)));
        self.included_texts.extend(other.included_texts.iter().map(|name| moved(name)));
    }

    /// Lays `over` on this document: maps are joined, everything else is replaced.
    pub(crate) fn overlay(&mut self, over: &Self) {
        for key in over.keys() {
            let pointer = child("", &key);
            let part = over.part(&pointer).expect("the key was just listed");
            match self.part(&pointer) {
                Some(mut lower) if lower.value.is_object() && part.value.is_object() => {
                    lower.overlay(&part);
                    self.insert(&pointer, lower);
                }
                _ => self.insert(&pointer, part),
            }
        }
    }
}

/// The pointer of an entry below `parent`.
pub(crate) fn child(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The pointer as people write it: `providers[0].endpoint`.
pub(crate) fn dotted(pointer: &str) -> String {
    let mut out = String::new();
    for segment in segments(pointer) {
        if segment.bytes().all(|b| b.is_ascii_digit()) && !segment.is_empty() {
            out.push('[');
            out.push_str(&segment);
            out.push(']');
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&segment);
        }
    }
    out
}

pub(crate) fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

fn split(pointer: &str) -> Option<(&str, String)> {
    let at = pointer.rfind('/')?;
    Some((&pointer[..at], pointer[at + 1..].replace("~1", "/").replace("~0", "~")))
}

/// What holds all pointers below one, and a few others: `0` follows `/`.
fn range(pointer: &str) -> std::ops::Range<String> {
    pointer.to_owned()..format!("{pointer}0")
}

fn is_below(name: &str, pointer: &str) -> bool {
    name.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
