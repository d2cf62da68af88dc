//! Opening an export, whatever its form: the end of its name tells.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::read::{Jsonl, Lines, ReadError};
use crate::table::Table;
use crate::table::csv::Csv;
use crate::table::parquet::Parquet;

/// The lines of `NAME.csv` and `NAME.parquet`, which have what proves them in `NAME.csv.proof` and `NAME.parquet.proof`, and
/// of any other file, which has lines of JSON.
pub fn open(path: &Path) -> Result<Box<dyn Lines>, ReadError> {
    let file = |path: &Path| File::open(path).map_err(|error| ReadError::Io(path.display().to_string(), error));
    let proof = || {
        let mut name = path.to_owned().into_os_string();
        name.push(".proof");
        Ok::<_, ReadError>(BufReader::new(file(Path::new(&name))?))
    };
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Box::new(Table::new(Csv::new(file(path)?), proof()?)),
        Some("parquet") => Box::new(Table::new(Parquet::open(path)?, proof()?)),
        _ => Box::new(Jsonl::new(BufReader::new(file(path)?))),
    })
}
