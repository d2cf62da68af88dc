//! Tables that fit the line. What may be shortened is, the widest first; if that would leave too little of it, columns that
//! may be left out are, the last first.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::visible;

/// A column with more than this left of it says enough to be worth its place.
const READABLE: usize = 9;
/// What is left of a column at least.
const LEAST: usize = 4;
/// Between two columns.
const GAP: usize = 2;
/// In front of a note.
const INDENT: &str = "   ";

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Aligned to the right.
    pub(crate) is_numeric: bool,
    /// Its texts may be cut.
    pub(crate) may_shrink: bool,
    /// It may be left out.
    may_go: bool,
}

impl Column {
    /// The column that a name with its signs means.
    pub(crate) fn named(signed: &str) -> Self {
        let name = signed.trim_start_matches(['#', '~', '?']);
        let signs = &signed[..signed.len() - name.len()];
        Self {
            name: visible::line(name).into_owned(),
            is_numeric: signs.contains('#'),
            may_shrink: signs.contains('~'),
            may_go: signs.contains('?'),
        }
    }
}

/// A row of a table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) cells: Vec<String>,
    /// The line below it.
    pub(crate) note: Option<String>,
}

/// The lines of a table, each no wider than `width` unless what may neither be cut nor left out is.
pub(crate) fn lay_out(columns: &[Column], rows: &[Row], width: usize) -> String {
    let natural: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| rows.iter().map(|row| row.cells[at].width()).fold(column.name.width(), usize::max))
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let widths = loop {
        let last = shown.iter().rposition(|at| columns[*at].may_go);
        let least = if last.is_some() { READABLE } else { LEAST };
        match (fit(&natural, columns, &shown, least, width), last) {
            (Ok(widths), _) | (Err(widths), None) => break widths,
            (Err(_), Some(last)) => _ = shown.remove(last),
        }
    };
    let mut lines = vec![line(columns, &shown, &widths, |at| &columns[at].name)];
    for row in rows {
        lines.push(line(columns, &shown, &widths, |at| &row.cells[at]));
        if let Some(note) = &row.note {
            lines.push(format!("{INDENT}{}", cut(note, width.saturating_sub(INDENT.len()))));
        }
    }
    lines.join("\n")
}

/// How wide each column becomes, or would if there were room.
fn fit(
    natural: &[usize],
    columns: &[Column],
    shown: &[usize],
    least: usize,
    width: usize,
) -> Result<Vec<usize>, Vec<usize>> {
    let mut widths: Vec<usize> = shown.iter().map(|at| natural[*at]).collect();
    // A blank in front sets rows apart from what a terminal shows around them.
    let gaps = 1 + GAP * shown.len().saturating_sub(1);
    loop {
        if gaps + widths.iter().sum::<usize>() <= width {
            return Ok(widths);
        }
        let widest = (0..shown.len())
            .filter(|at| columns[shown[*at]].may_shrink && widths[*at] > least)
            .max_by_key(|at| widths[*at]);
        match widest {
            Some(widest) => widths[widest] -= 1,
            None => return Err(widths),
        }
    }
}

fn line<'a>(columns: &[Column], shown: &[usize], widths: &[usize], cell: impl Fn(usize) -> &'a str) -> String {
    let mut line = String::from(" ");
    for (place, (at, width)) in shown.iter().zip(widths).enumerate() {
        if place > 0 {
            line.push_str("  ");
        }
        let text = if columns[*at].may_shrink { cut(cell(*at), *width) } else { cell(*at).to_owned() };
        let blank = " ".repeat(width.saturating_sub(text.width()));
        if columns[*at].is_numeric {
            line.push_str(&blank);
            line.push_str(&text);
        } else {
            line.push_str(&text);
            line.push_str(&blank);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// The beginning of a text, with a sign that it is not all.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut cut = String::new();
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        cut.push(character);
    }
    cut.push('…');
    cut
}

/// A text in lines of this width, broken between words where it has any; all but the first are indented.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut left = width;
    let room = width.saturating_sub(INDENT.len()).max(1);
    for word in text.split_inclusive(' ') {
        let mut rest = word;
        while rest.trim_end().width() > left {
            let is_fresh = left == width || left == room;
            if is_fresh || rest.trim_end().width() > room {
                // A word that no line holds is broken where the line ends.
                let mut end = 0;
                let mut taken = 0;
                for (at, character) in rest.char_indices() {
                    let wide = character.width().unwrap_or(0);
                    if taken + wide > left {
                        break;
                    }
                    taken += wide;
                    end = at + character.len_utf8();
                }
                lines.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            lines.truncate(lines.trim_end().len());
            lines.push('\n');
            lines.push_str(INDENT);
            left = room;
        }
        lines.push_str(rest);
        left = left.saturating_sub(rest.width());
    }
    lines.truncate(lines.trim_end().len());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cells: &[&[&str]], width: usize) -> String {
        let columns: Vec<Column> =
            ["time", "~user", "~model", "?#cost", "?#ms"].into_iter().map(Column::named).collect();
        let rows: Vec<Row> = cells
            .iter()
            .map(|cells| Row { cells: cells.iter().map(|cell| (*cell).to_owned()).collect(), note: None })
            .collect();
        lay_out(&columns, &rows, width)
    }

    #[test]
    fn a_table_fits_whatever_is_in_it() {
        let rows: &[&[&str]] = &[
            &["12:00:00", "ada", "claude-opus-4-5-20251101", "$0.000150", "12"],
            &["12:00:01", "模型模型模型模型模型", "m", "$12.000000", "120000"],
        ];
        assert_eq!(
            table(rows, 200).lines().next(),
            Some(" time      user                  model                           cost      ms")
        );
        for width in 24..120 {
            for line in table(rows, width).lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        let narrow = table(rows, 40);
        assert_eq!(
            narrow,
            " time      user            model\n 12:00:00  ada             claude-opus-…\n 12:00:01  模型模型模型…   m"
        );
    }

    #[test]
    fn a_note_is_one_line() {
        let columns = [Column::named("~a")];
        let rows = [Row { cells: vec!["x".to_owned()], note: Some("word ".repeat(30)) }];
        let text = lay_out(&columns, &rows, 80);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| line.width() <= 80) && text.ends_with('…'), "{text}");
    }

    #[test]
    fn wrapping_loses_nothing_and_begins_no_line() {
        for text in ["", "one", "word ".repeat(40).trim_end(), &"x".repeat(200), &format!("a {} b", "模".repeat(70))] {
            let lines = wrapped(text, 80);
            assert!(lines.lines().all(|line| line.width() <= 80), "{lines}");
            assert!(lines.lines().skip(1).all(|line| line.starts_with(INDENT)), "{lines}");
            let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(squeezed(&lines), squeezed(text));
        }
    }
}
