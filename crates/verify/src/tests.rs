//! What strangers make of an export is told, and breaks nothing.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chain::first;
use crate::format::{COLUMNS, FORMAT};
use crate::read::{Jsonl, ReadError};
use crate::table::Rows as _;
use crate::table::csv::Csv;
use crate::table::parquet::{Parquet, SCHEMA};
use crate::verify::{Report, Trust, verify};

const CHAIN: Uuid = Uuid::from_u128(7);

/// An export of one chain that has these entries by its header.
fn export(after: i64, end: i64, more: Value, lines: &[Value]) -> Result<Report, ReadError> {
    let place = |seq: i64| json!({"seq": seq, "hash": first(CHAIN).hash});
    let mut header = json!({
        "format": FORMAT, "exported_at": 0, "keys": [],
        "chains": [{"chain": CHAIN, "name": "here", "after": place(after), "end": place(end)}],
    });
    header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut text = json!({"header": header}).to_string();
    for line in lines {
        text.push_str(&format!("\n{line}"));
    }
    verify(&mut Jsonl::new(Cursor::new(text)), &Trust::default())
}

#[test]
fn places_that_no_entry_has_are_refused() {
    for (after, end) in [(-1, 5), (5, 4), (0, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MAX)] {
        let refused = export(after, end, json!({}), &[]).expect_err("it is nothing that was exported").to_string();
        assert!(refused.contains(&format!("the entries after {after} to {end}")), "{refused}");
    }
    let hash = first(CHAIN).hash;
    for seqs in [[i64::MAX, i64::MAX], [i64::MAX, i64::MIN], [i64::MAX - 1, i64::MAX], [-1, 0]] {
        let entry = |seq: i64| json!({"entry": {"chain": CHAIN, "seq": seq, "at": 0, "hash": hash, "body": "{}"}});
        for after in [0, i64::MAX - 1] {
            let report = export(after, i64::MAX - 1, json!({}), &seqs.map(entry)).expect("it can be read");
            assert!(!report.is_sound(), "{seqs:?}: {report:?}");
        }
    }
}

#[test]
fn what_the_header_says_was_left_out_is_told() {
    let end = json!({"end": {"entries": 0, "checkpoints": 0}});
    let notes = |more: Value| export(0, 0, more, std::slice::from_ref(&end)).expect("it can be read").notes;
    assert_eq!(notes(json!({})), Vec::<String>::new());
    let told = notes(json!({
        "since": 1_900_000_000_000_000_i64, "until": i64::MAX, "filter": {"model": "demo-*", "user": "ada"}
    }));
    assert_eq!(
        told,
        [
            "it begins at 2030-03-17T17:46:40Z, as the header says: what was written before is not here",
            "it ends before 9223372036854775807, as the header says: what was written since is not here",
            "the header says that of the entries those are here that fit model = demo-*, user = ada, and checkpoints",
        ]
    );
}

#[test]
fn a_row_without_an_end_is_not_read_to_it() {
    let row = |body: &str| format!("{CHAIN},1,0,ended,{CHAIN},00,\"{body}\"\n");
    let columns = COLUMNS.join(",");
    let fits = "x".repeat(20_000);
    let text = format!("{columns}\n{}{}{}", row(&fits), row(&fits), row(&"x".repeat(60_000)));
    let mut rows = Csv::bounded(Cursor::new(text), 50_000);
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(rows.next().expect("it fits").expect("a row").1.body, fits);
        }
        let refused = rows.next().expect_err("it is too long").to_string();
        assert!(refused.starts_with("line 4: ") && refused.contains("it has more than 50000 bytes"), "{refused}");
        rows.rewind().expect("from the beginning");
    }
}

/// A table of Parquet with two rows of text or numbers in each column.
fn table(path: &Path, schema: &str) {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        let texts = [ByteArray::from(CHAIN.to_string().into_bytes()), ByteArray::from(CHAIN.to_string().into_bytes())];
        match column.untyped() {
            parquet::column::writer::ColumnWriter::Int64ColumnWriter(_) => {
                column.typed::<Int64Type>().write_batch(&[1, 2], None, None).unwrap();
            }
            _ => {
                column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
            }
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

/// How many rows can be read, up to a bound, and why no more.
fn read(path: &Path) -> (usize, Option<ReadError>) {
    let mut rows = match Parquet::open(path) {
        Ok(rows) => rows,
        Err(error) => return (0, Some(error)),
    };
    for read in 0..100 {
        match rows.next() {
            Ok(Some(_)) => {}
            Ok(None) => return (read, None),
            Err(error) => return (read, Some(error)),
        }
    }
    (100, None)
}

#[test]
fn a_table_that_contradicts_itself_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.parquet");
    for foreign in [
        "message m { REQUIRED INT64 seq; }".to_owned(),
        SCHEMA.replace("REQUIRED INT64 seq;", "REQUIRED BYTE_ARRAY seq (STRING);"),
        SCHEMA.replace("BYTE_ARRAY body", "BYTE_ARRAY text"),
    ] {
        table(&path, &foreign);
        let (_, error) = read(&path);
        let source = std::error::Error::source(error.as_ref().expect(&foreign)).expect("why").to_string();
        assert!(source.contains("the columns are not chain, seq,"), "{source}");
    }

    table(&path, SCHEMA);
    assert!(matches!(read(&path), (2, None)));
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        fs::write(&path, bytes).unwrap();
        // It is read or refused; nothing it says brings the program down.
        let _ = read(&path);
    }
}
