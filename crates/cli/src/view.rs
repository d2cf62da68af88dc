//! What commands have to say. A [`View`] is one value: serialised it is the JSON or YAML document for programs, and it
//! can lay itself out for people. The shapes most results have, a list and a thing with properties, are here.
//!
//! What people see is [`Text`], which is made of lines, tables and records. Making it is where
//! [what strangers wrote](crate::visible) loses its power over the terminal.

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as TextTable};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::fitted;
use crate::visible;

/// The result of a command, in all its forms.
pub(crate) trait View: Serialize {
    /// The form for people.
    fn text(&self, layout: Layout) -> Text;
}

/// Text for people. Its lines are those of whoever laid it out: a line break in a value does not make one, and no character
/// in it moves the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// One line.
    pub(crate) fn line(text: impl AsRef<str>) -> Self {
        Self(visible::line(text.as_ref()).into_owned())
    }

    /// Text with line breaks that mean something: a report of ours, a block of YAML.
    pub(crate) fn lines(text: impl AsRef<str>) -> Self {
        Self(visible::lines(text.as_ref()).into_owned())
    }

    /// A line of it in several, no wider than this; all but the first are indented.
    pub(crate) fn wrapped(self, width: usize) -> Self {
        Self(fitted::wrapped(&self.0, width))
    }

    /// Each below the one before.
    pub(crate) fn below(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(parts, "\n")
    }

    /// With an empty line between them.
    pub(crate) fn apart(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(parts, "\n\n")
    }

    fn joined(parts: impl IntoIterator<Item = Self>, separator: &str) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect::<Vec<_>>().join(separator))
    }

    /// What is printed.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
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
    /// The columns of the table for people. Signs before a name say how: `#` holds numbers and is aligned to the right, `~`
    /// may be shortened and `?` left out where lines are short.
    const COLUMNS: &'static [&'static str];
    /// What people are told of an empty list.
    const NONE: &'static str;

    /// One text per column.
    fn cells(&self) -> Vec<String>;

    /// What there is to say of it in a line below its row.
    fn note(&self) -> Option<String> {
        None
    }

    /// The list for people: a table, unless the items have a better form.
    fn lay_out(items: &[Self], layout: Layout) -> Text {
        let mut table = Table::new(Self::COLUMNS);
        for item in items {
            table.row(item.cells());
            if let Some(note) = item.note() {
                table.note(&note);
            }
        }
        layout.table(&table)
    }
}

/// What belongs to somebody else is shown the same.
impl<T: Row> Row for &T {
    const COLUMNS: &'static [&'static str] = T::COLUMNS;
    const NONE: &'static str = T::NONE;

    fn cells(&self) -> Vec<String> {
        (*self).cells()
    }

    fn note(&self) -> Option<String> {
        (*self).note()
    }
}

impl<T> Page<T> {
    /// A list that is all on one page.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None, total: None }
    }
}

impl<T: Row> Serialize for Page<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("items", &self.items)?;
        map.serialize_entry("next", &self.next)?;
        if let Some(total) = self.total {
            map.serialize_entry("total", &total)?;
        }
        map.end()
    }
}

impl<T: Row> View for Page<T> {
    fn text(&self, layout: Layout) -> Text {
        if self.items.is_empty() { Text::line(T::NONE) } else { T::lay_out(&self.items, layout) }
    }
}

/// Rows for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    columns: Vec<fitted::Column>,
    rows: Vec<fitted::Row>,
}

impl Table {
    /// A table with these columns, named as in [`Row::COLUMNS`].
    pub(crate) fn new(headers: &[&str]) -> Self {
        Self { columns: headers.iter().map(|header| fitted::Column::named(header)).collect(), rows: Vec::new() }
    }

    /// Adds a row with one text per column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| visible::line(&cell).into_owned()).collect();
        self.rows.push(fitted::Row { cells, note: None });
    }

    /// Says something in a line below the last row, which is cut where lines end.
    pub(crate) fn note(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.note = Some(visible::line(text).into_owned());
        }
    }
}

/// One thing with named properties, for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record(Vec<(String, Text)>);

impl Record {
    /// No properties yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a property of one line; absent ones are left out.
    #[must_use]
    pub(crate) fn with(self, name: &str, value: impl Into<Option<String>>) -> Self {
        self.put(name, value.into().map(Text::line))
    }

    /// Adds a property that is a list, an item a line; absent and empty ones are left out.
    #[must_use]
    pub(crate) fn with_list(self, name: &str, items: impl IntoIterator<Item = String>) -> Self {
        let lines: Vec<_> = items.into_iter().map(Text::line).collect();
        self.put(name, (!lines.is_empty()).then(|| Text::below(lines)))
    }

    /// Adds a property that is prose with lines of its own, which stay to the right of the names; absent ones are left out.
    #[must_use]
    pub(crate) fn with_prose(self, name: &str, value: impl Into<Option<String>>) -> Self {
        self.put(name, value.into().map(Text::lines))
    }

    fn put(mut self, name: &str, value: Option<Text>) -> Self {
        if let Some(value) = value {
            self.0.push((visible::line(name).into_owned(), value));
        }
        self
    }
}

/// How text for people is laid out on this process's terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Whether escape codes and box characters may be used.
    pub(crate) decorated: bool,
    /// How many characters a line of a table that can be fitted has: those of the terminal, and at least 80.
    pub(crate) width: usize,
}

/// How wide lines are where nobody knows.
pub(crate) const WIDTH: usize = 80;

impl Layout {
    /// The characters of validation reports.
    pub(crate) fn symbols(self) -> systemprompt_config::Symbols {
        if self.decorated { systemprompt_config::Symbols::Unicode } else { systemprompt_config::Symbols::Ascii }
    }

    /// Lays out a table.
    pub(crate) fn table(self, table: &Table) -> Text {
        if table.columns.iter().any(|column| column.may_shrink) {
            return Text(fitted::lay_out(&table.columns, &table.rows, self.width));
        }
        let mut text = TextTable::new();
        text.load_style(if self.decorated { UTF8_HORIZONTAL_ONLY } else { NOTHING });
        if self.decorated {
            text.set_content_arrangement(ContentArrangement::Dynamic);
        }
        text.set_header(table.columns.iter().map(|column| &column.name));
        for row in &table.rows {
            text.add_row(row.cells.iter().zip(&table.columns).map(|(cell, column)| {
                let alignment = if column.is_numeric { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(cell).set_alignment(alignment)
            }));
        }
        Text(text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
    }

    /// Lays out properties, names in one column.
    pub(crate) fn record(self, record: &Record) -> Text {
        let width = record.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let indent = " ".repeat(width + 2);
        let lines = record
            .0
            .iter()
            .map(|(name, value)| format!("{name:width$}  {}", value.0.replace('\n', &format!("\n{indent}"))));
        Text(lines.collect::<Vec<_>>().join("\n"))
    }
}

/// A value as JSON, over several lines.
pub(crate) fn json(value: &impl Serialize) -> String {
    in_json(serde_json::to_string_pretty(value))
}

/// A value as JSON, on one line.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    in_json(serde_json::to_string(value))
}

fn in_json(written: serde_json::Result<String>) -> String {
    match written {
        Ok(text) => visible::json(&text).into_owned(),
        Err(error) => format!("{{\"error\":{:?}}}", error.to_string()),
    }
}

/// A value as YAML. Long lines stay whole, so that what is searched for is found.
pub(crate) fn yaml(value: &impl Serialize) -> String {
    let plain = plain_yaml(value);
    if !plain.contains(visible::is_bare) {
        return plain;
    }
    // Only strings in double quotes have escapes.
    match serde_json::to_value(value) {
        Ok(value) => visible::yaml(&plain_yaml(&Quoted(&value))).into_owned(),
        Err(error) => format!("error: {error}"),
    }
}

fn plain_yaml(value: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options)
        .map_or_else(|error| format!("error: {error}"), |text| text.trim_end().to_owned())
}

/// A value whose strings are in double quotes if something in them is to be escaped.
struct Quoted<'a>(&'a Value);

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => quoted(text, serializer),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Quoted(item)))?;
                list.end()
            }
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(visible::line(key).as_ref(), &Quoted(value))?;
                }
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

fn quoted<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.contains(visible::is_bare) {
        serde_saphyr::DoubleQuoted(text).serialize(serializer)
    } else {
        text.serialize(serializer)
    }
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
    use saphyr::{LoadableYamlNode as _, YamlOwned};
    use serde_json::json;

    use super::{json as in_json, *};

    #[test]
    fn yaml_is_read_as_what_was_meant() {
        let long = "word ".repeat(60);
        let value = json!({"a": 1, "b": {"c": [1, {"d": "x y", "e": []}], "f": "yes"}, "g": null, "h": "1: 2\n", "i": {},
            "at": "2026-01-31T12:00:00Z", "id": "0123", "long": long.trim_end()});
        assert_eq!(
            yaml(&value),
            format!(
                "a: 1\nb:\n  c:\n  - 1\n  - d: x y\n    e: []\n  f: \"yes\"\ng: null\n\
                 h: |\n  1: 2\ni: {{}}\nat: \"2026-01-31T12:00:00Z\"\nid: \"0123\"\nlong: {}",
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
        let layout = Layout { decorated: false, width: WIDTH };
        let page = Page { items: vec![Name("eve")], next: Some("1".to_owned()), total: Some(2) };
        assert_eq!(serde_json::to_value(&page).expect("JSON"), json!({"items": ["eve"], "next": "1", "total": 2}));
        assert_eq!(page.text(layout).as_str(), " name\n eve");
        let none: Page<Name> = Page::whole(vec![]);
        assert_eq!(serde_json::to_value(&none).expect("JSON"), json!({"items": [], "next": Value::Null}));
        assert_eq!(none.text(layout).as_str(), "Nobody.");
    }

    #[test]
    fn what_strangers_wrote_begins_no_line_and_commands_no_terminal() {
        let stranger = "\u{1b}[2J\u{1b}]0;x\u{7}\n fake row\u{202e}";
        let layout = Layout { decorated: false, width: WIDTH };
        let mut table = Table::new(&["model", stranger]);
        table.row([stranger.to_owned(), "b".to_owned()]);
        let record = Record::new()
            .with("model", stranger.to_owned())
            .with_list("rules", [stranger.to_owned(), "second".to_owned()])
            .with_prose("said", stranger.to_owned());
        let text = Text::apart([Text::line(stranger), layout.table(&table), layout.record(&record)]);
        assert!(!text.as_str().contains(visible::is_bare), "{text:?}");
        assert!(!text.as_str().lines().any(|line| line.starts_with(" fake")), "{text:?}");
        assert_eq!(text.as_str().lines().count(), 1 + 1 + 2 + 1 + 5, "{text:?}");
    }

    #[test]
    fn documents_show_what_strangers_wrote_and_lose_nothing() {
        let value = json!({"model": "\u{1b}[2J\u{9b}\u{7}\n fake\u{202e}", "list": ["\u{2066}\nx\u{e0041}", "plain\n\tcode"], "n": 1});
        for document in [in_json(&value), json_line(&value)] {
            assert!(!document.contains(visible::is_bare), "{document:?}");
            assert_eq!(serde_json::from_str::<Value>(&document).expect("JSON"), value);
        }
        let document = yaml(&value);
        assert!(!document.contains(visible::is_bare), "{document:?}");
        let read = YamlOwned::load_from_str(&document).expect("YAML");
        assert_eq!(read[0]["model"].as_str(), value["model"].as_str(), "{document}");
        assert_eq!(read[0]["list"][0].as_str(), value["list"][0].as_str(), "{document}");
        assert_eq!(read[0]["list"][1].as_str(), value["list"][1].as_str(), "{document}");
    }
}
