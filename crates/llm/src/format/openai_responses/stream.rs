//! The events of a stream, numbered.

use serde::Serialize;
use serde_json::{Value, json};

/// Writes events one after the other and numbers them.
#[derive(Debug, Default)]
pub(super) struct Events {
    next: u64,
    bytes: Vec<u8>,
}

/// A part of an item: where the item stands among the others and what it is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Its place in the output.
    pub(super) index: u64,
    /// Its id.
    pub(super) id: &'a str,
}

#[derive(Serialize)]
struct Numbered<'a, T> {
    r#type: &'a str,
    sequence_number: u64,
    #[serde(flatten)]
    data: &'a T,
}

#[derive(Serialize)]
struct Whole<'a, T> {
    response: &'a T,
}

#[derive(Serialize)]
struct OfOutput<'a, T> {
    output_index: u64,
    item: &'a T,
}

impl Events {
    /// A writer that goes on with this number.
    pub(super) fn from(next: u64) -> Self {
        Self { next, bytes: Vec::new() }
    }

    /// What was written since it was last asked for.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Writes an event.
    pub(super) fn push(&mut self, kind: &str, data: &impl Serialize) {
        let event = Numbered { r#type: kind, sequence_number: self.next, data };
        self.next += 1;
        self.bytes.extend_from_slice(format!("event: {kind}\ndata: ").as_bytes());
        // Texts, numbers and checked JSON serialise.
        let data = serde_json::to_vec(&event).unwrap_or_default();
        // What is repeated of a request may have lines, and a line would end the data. In JSON they stand between values only.
        match memchr::memchr2(b'\n', b'\r', &data) {
            Some(_) => self.bytes.extend(data.iter().filter(|byte| !matches!(byte, b'\n' | b'\r'))),
            None => self.bytes.extend_from_slice(&data),
        }
        self.bytes.extend_from_slice(b"\n\n");
    }

    /// The answer begins.
    pub(super) fn begin(&mut self, response: &impl Serialize) {
        self.push("response.created", &Whole { response });
        self.push("response.in_progress", &Whole { response });
    }

    /// The answer ends with this status.
    pub(super) fn end(&mut self, status: &str, response: &impl Serialize) {
        let kind = match status {
            "incomplete" => "response.incomplete",
            "failed" => "response.failed",
            _ => "response.completed",
        };
        self.push(kind, &Whole { response });
    }

    /// An item begins.
    pub(super) fn item_added(&mut self, index: u64, item: &impl Serialize) {
        self.push("response.output_item.added", &OfOutput { output_index: index, item });
    }

    /// An item is complete.
    pub(super) fn item_done(&mut self, index: u64, item: &impl Serialize) {
        self.push("response.output_item.done", &OfOutput { output_index: index, item });
    }

    /// A part of a message, or of reasoning, begins.
    pub(super) fn part_added(&mut self, item: Item<'_>, index: u64, part: &Value) {
        self.of_part("response.content_part.added", item, index, json!({ "part": part }));
    }

    /// A part is complete.
    pub(super) fn part_done(&mut self, item: Item<'_>, index: u64, part: &Value) {
        self.of_part("response.content_part.done", item, index, json!({ "part": part }));
    }

    /// An event about a part of an item.
    pub(super) fn of_part(&mut self, kind: &str, item: Item<'_>, index: u64, mut data: Value) {
        data["content_index"] = index.into();
        self.of_item(kind, item, data);
    }

    /// An event about a part of the summary of an item of reasoning.
    pub(super) fn of_summary(&mut self, kind: &str, item: Item<'_>, index: u64, mut data: Value) {
        data["summary_index"] = index.into();
        self.of_item(kind, item, data);
    }

    /// An event about an item.
    pub(super) fn of_item(&mut self, kind: &str, item: Item<'_>, mut data: Value) {
        data["item_id"] = item.id.into();
        data["output_index"] = item.index.into();
        self.push(kind, &data);
    }
}
