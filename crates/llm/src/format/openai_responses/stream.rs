//! The events of a stream, numbered.

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
    pub(super) fn push(&mut self, kind: &str, mut data: Value) {
        data["type"] = kind.into();
        data["sequence_number"] = self.next.into();
        self.next += 1;
        self.bytes.extend_from_slice(format!("event: {kind}\ndata: {data}\n\n").as_bytes());
    }

    /// The answer begins.
    pub(super) fn begin(&mut self, response: &Value) {
        self.push("response.created", json!({ "response": response }));
        self.push("response.in_progress", json!({ "response": response }));
    }

    /// The answer ends as its status says.
    pub(super) fn end(&mut self, response: &Value) {
        let kind = match response["status"].as_str() {
            Some("incomplete") => "response.incomplete",
            Some("failed") => "response.failed",
            _ => "response.completed",
        };
        self.push(kind, json!({ "response": response }));
    }

    /// An item begins.
    pub(super) fn item_added(&mut self, index: u64, item: &Value) {
        self.push("response.output_item.added", json!({ "output_index": index, "item": item }));
    }

    /// An item is complete.
    pub(super) fn item_done(&mut self, index: u64, item: &Value) {
        self.push("response.output_item.done", json!({ "output_index": index, "item": item }));
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
        self.push(kind, data);
    }
}
