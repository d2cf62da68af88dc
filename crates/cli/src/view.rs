//! What commands have to say. A [`View`] is one value: serialised it is the JSON or YAML document for programs, and it
//! can lay itself out for people. The shapes most results have, a list and a thing with properties, are here.

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as TextTable};
use serde::Serialize;
use serde::ser::SerializeMap as _;

/// The result of a command, in all its forms.
pub(crate) trait View: Serialize {
    /// The form for people.
    fn text(&self, layout: Layout) -> String;
}

/// A list. Programs find the items under `items`; under `next` what to ask for to go on, `null` when there is no more or
/// the list has no pages; and, where it is known, under `total` how many there are on all pages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
    pub(crate) total: Option<u64>,
}

/// What a list is made of.
pub(crate) trait Row: Serialize + Sized {
    /// What programs find the items under.
    const ITEMS: &'static str = "items";
    /// The columns of the table for people; one whose name begins with `#` holds numbers and is aligned to the right.
    const COLUMNS: &'static [&'static str];
    /// What people are told of an empty list.
    const NONE: &'static str;

    /// One text per column.
    fn cells(&self) -> Vec<String>;

    /// The list for people: a table, unless the items have a better form.
    fn lay_out(items: &[Self], layout: Layout) -> String {
        let mut table = Table::new(Self::COLUMNS);
        for item in items {
            table.row(item.cells());
        }
        layout.table(&table)
    }
}

impl<T> Page<T> {
    /// A list that is all on one page.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None, total: None }
    }
}

impl<T: Row> Serialize for Page<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(T::ITEMS, &self.items)?;
        map.serialize_entry("next", &self.next)?;
        if let Some(total) = self.total {
            map.serialize_entry("total", &total)?;
        }
        map.end()
    }
}

impl<T: Row> View for Page<T> {
    fn text(&self, layout: Layout) -> String {
        if self.items.is_empty() { T::NONE.to_owned() } else { T::lay_out(&self.items, layout) }
    }
}

/// Rows for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    headers: Vec<String>,
    numeric: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns, named as in [`Row::COLUMNS`].
    pub(crate) fn new(headers: &[&str]) -> Self {
        Self {
            headers: headers.iter().map(|header| header.trim_start_matches('#').to_owned()).collect(),
            numeric: headers.iter().map(|header| header.starts_with('#')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with one text per column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// One thing with named properties, for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record(Vec<(String, String)>);

impl Record {
    /// No properties yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a property; absent ones are left out.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Option<String>>) -> Self {
        if let Some(value) = value.into() {
            self.0.push((name.to_owned(), value));
        }
        self
    }
}

/// How text for people is laid out on this process's terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Whether escape codes and box characters may be used.
    pub(crate) decorated: bool,
}

impl Layout {
    /// The characters of validation reports.
    pub(crate) fn symbols(self) -> systemprompt_config::Symbols {
        if self.decorated { systemprompt_config::Symbols::Unicode } else { systemprompt_config::Symbols::Ascii }
    }

    /// Lays out a table.
    pub(crate) fn table(self, table: &Table) -> String {
        let mut text = TextTable::new();
        text.load_style(if self.decorated { UTF8_HORIZONTAL_ONLY } else { NOTHING });
        if self.decorated {
            text.set_content_arrangement(ContentArrangement::Dynamic);
        }
        text.set_header(&table.headers);
        for row in &table.rows {
            text.add_row(row.iter().zip(&table.numeric).map(|(cell, numeric)| {
                Cell::new(cell).set_alignment(if *numeric { CellAlignment::Right } else { CellAlignment::Left })
            }));
        }
        text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// Lays out properties, names in one column.
    pub(crate) fn record(self, record: &Record) -> String {
        let width = record.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let indent = " ".repeat(width + 2);
        record
            .0
            .iter()
            .map(|(name, value)| format!("{name:width$}  {}", value.replace('\n', &format!("\n{indent}"))))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A value as YAML. Long lines stay whole, so that what is searched for is found.
pub(crate) fn yaml(value: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options)
        .map_or_else(|error| format!("error: {error}"), |text| text.trim_end().to_owned())
}

/// `yes` or `no`.
pub(crate) fn yes(answer: bool) -> String {
    if answer { "yes" } else { "no" }.to_owned()
}

/// Sizes for people: `1.5 MB`.
pub(crate) fn bytes(size: i64) -> String {
    let mut value = size as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 || unit == "TB" {
            return if unit == "B" { format!("{size} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    unreachable!("the last unit returns")
}

/// Points in time for people, in UTC to the second.
pub(crate) fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn yaml_is_read_as_what_was_meant() {
        let long = "word ".repeat(60);
        let value = json!({"a": 1, "b": {"c": [1, {"d": "x y", "e": []}], "f": "yes"}, "g": null, "h": "1: 2\n", "i": {},
            "at": "2026-01-31T12:00:00Z", "id": "0123", "long": long.trim_end()});
        assert_eq!(
            yaml(&value),
            format!(
                "a: 1\nat: \"2026-01-31T12:00:00Z\"\nb:\n  c:\n  - 1\n  - d: x y\n    e: []\n  f: \"yes\"\ng: null\n\
                 h: |\n  1: 2\ni: {{}}\nid: \"0123\"\nlong: {}",
                long.trim_end()
            )
        );
    }

    #[test]
    fn a_page_says_what_comes_next() {
        #[derive(Serialize)]
        struct Name(&'static str);
        impl Row for Name {
            const COLUMNS: &'static [&'static str] = &["name"];
            const NONE: &'static str = "Nobody.";
            fn cells(&self) -> Vec<String> {
                vec![self.0.to_owned()]
            }
        }
        let layout = Layout { decorated: false };
        let page = Page { items: vec![Name("eve")], next: Some("1".to_owned()), total: Some(2) };
        assert_eq!(serde_json::to_value(&page).expect("JSON"), json!({"items": ["eve"], "next": "1", "total": 2}));
        assert_eq!(page.text(layout), " name\n eve");
        let none: Page<Name> = Page::whole(vec![]);
        assert_eq!(serde_json::to_value(&none).expect("JSON"), json!({"items": [], "next": Value::Null}));
        assert_eq!(none.text(layout), "Nobody.");
    }
}
