//! Cutting SQL text into statements and telling what each one does.
//!
//! The text is read with PostgreSQL's lexical rules (dollar quotes, nested comments, escape strings), so a semicolon in
//! a function body does not end a statement. Classification looks at the leading words and names only; whether a
//! statement is correct is for the server to say.

use std::fmt;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

/// A place in a text: both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Text that is not even lexically SQL, e.g. a string that never ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at {position}")]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub position: Position,
}

/// A table or other object, perhaps with the PostgreSQL schema it is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The schema, when written.
    pub schema: Option<String>,
    /// The name as stored: lower case unless quoted.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// One statement without its semicolon.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// Its text.
    pub text: &'a str,
    /// Where it begins.
    pub position: Position,
    words: Vec<Lexeme>,
}

/// What a statement does, as far as installing needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `CREATE TABLE`.
    CreateTable(CreateTable),
    /// `CREATE SCHEMA`.
    CreateSchema(ObjectName),
    /// `CREATE TYPE` or `CREATE DOMAIN`.
    CreateType(ObjectName),
    /// `CREATE SEQUENCE`.
    CreateSequence(ObjectName),
    /// `CREATE EXTENSION`.
    CreateExtension {
        /// The PostgreSQL extension.
        name: String,
        /// Whether it says `IF NOT EXISTS`.
        if_not_exists: bool,
    },
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// `CREATE [MATERIALIZED] VIEW`, `FUNCTION`, `PROCEDURE`, `AGGREGATE`, `TRIGGER`, `POLICY`, `RULE`, and `COMMENT ON`.
    Dependent {
        /// The relation it belongs to, for those that belong to one.
        table: Option<ObjectName>,
        /// The new relation, when it makes one that is not replaced when it exists.
        relation: Option<ObjectName>,
    },
    /// `DROP VIEW|MATERIALIZED VIEW|INDEX|TRIGGER|POLICY IF EXISTS`.
    DropDependent,
    /// Changes tables or the rows in them.
    Change {
        /// The command, e.g. `ALTER TABLE`.
        verb: &'static str,
        /// The tables.
        tables: Vec<ObjectName>,
    },
    /// `BEGIN`, `COMMIT` and the like.
    TransactionControl,
    /// Reads: `SELECT`, `VALUES`, `TABLE`, `SHOW`, `EXPLAIN`.
    Query,
    /// Anything else; its first words.
    Other(String),
}

/// A `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// The table.
    pub name: ObjectName,
    /// Whether it says `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Whether it ends with the session.
    pub temporary: bool,
    /// Its columns, when all of them are written out.
    pub columns: Option<Vec<String>>,
}

/// A `CREATE INDEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateIndex {
    /// The index, when it is named.
    pub name: Option<String>,
    /// The table it is on.
    pub table: ObjectName,
    /// Whether it says `CONCURRENTLY`.
    pub concurrently: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Lexeme {
    /// A keyword or plain identifier in lower case.
    Word(String),
    /// A quoted identifier.
    Quoted(String),
    /// One of `( ) , .`
    Symbol(char),
    /// A literal, operator or placeholder.
    Other,
}

/// Cuts `sql` at its semicolons. Empty statements and comments between statements are dropped.
pub fn split(sql: &str) -> Result<Vec<Statement<'_>>, SyntaxError> {
    let lines = Lines::of(sql);
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|error| SyntaxError { message: error.message, position: position(error.location) })?;

    let mut statements = Vec::new();
    let mut start: Option<Location> = None;
    let mut words: Vec<Lexeme> = Vec::new();
    let mut parentheses = 0_usize;
    // `BEGIN ATOMIC … END` of a function, and the `CASE … END` inside it.
    let mut blocks = 0_usize;
    for token in &tokens {
        let lexeme = match &token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::SemiColon if parentheses == 0 && blocks == 0 => {
                if let Some(start) = start.take() {
                    let text = sql[lines.offset(start)..lines.offset(token.span.start)].trim_end();
                    statements.push(Statement { text, position: position(start), words: std::mem::take(&mut words) });
                }
                continue;
            }
            Token::Word(word) => match word.quote_style {
                None => Lexeme::Word(word.value.to_lowercase()),
                Some(_) => Lexeme::Quoted(word.value.replace("\"\"", "\"")),
            },
            Token::LParen => Lexeme::Symbol('('),
            Token::RParen => Lexeme::Symbol(')'),
            Token::Comma => Lexeme::Symbol(','),
            Token::Period => Lexeme::Symbol('.'),
            _ => Lexeme::Other,
        };
        match &lexeme {
            Lexeme::Symbol('(') => parentheses += 1,
            Lexeme::Symbol(')') => parentheses = parentheses.saturating_sub(1),
            Lexeme::Word(word) if word == "atomic" && words.last() == Some(&Lexeme::Word("begin".into())) => blocks = 1,
            Lexeme::Word(word) if word == "case" && blocks > 0 => blocks += 1,
            Lexeme::Word(word) if word == "end" && blocks > 0 => blocks -= 1,
            _ => {}
        }
        start.get_or_insert(token.span.start);
        words.push(lexeme);
    }
    if let Some(start) = start {
        statements.push(Statement { text: sql[lines.offset(start)..].trim_end(), position: position(start), words });
    }
    Ok(statements)
}

impl Statement<'_> {
    /// What it does.
    pub fn kind(&self) -> Kind {
        let mut cursor = Cursor { lexemes: &self.words, at: 0 };
        let Some(verb) = cursor.word() else {
            // A parenthesised query.
            return Kind::Query;
        };
        match verb.as_str() {
            "create" => create(&mut cursor).unwrap_or_else(|| self.other()),
            "comment" => Kind::Dependent { table: None, relation: None },
            "drop" => drop(&mut cursor).unwrap_or_else(|| self.other()),
            "alter" if cursor.accept("table") => {
                cursor.accept_if_exists();
                cursor.accept("only");
                cursor.change("ALTER TABLE")
            }
            "truncate" => {
                cursor.accept("table");
                let mut tables = Vec::new();
                loop {
                    cursor.accept("only");
                    tables.extend(cursor.name());
                    if !cursor.accept_symbol(',') {
                        break;
                    }
                }
                Kind::Change { verb: "TRUNCATE", tables }
            }
            "copy" => cursor.change("COPY"),
            "insert" | "update" | "delete" | "merge" => Kind::Change {
                verb: match verb.as_str() {
                    "insert" => "INSERT",
                    "update" => "UPDATE",
                    "delete" => "DELETE",
                    _ => "MERGE",
                },
                tables: self.changed_tables(),
            },
            "with" => {
                let tables = self.changed_tables();
                if tables.is_empty() { Kind::Query } else { Kind::Change { verb: "WITH", tables } }
            }
            "select" | "values" | "table" | "show" | "explain" => Kind::Query,
            "begin" | "start" | "commit" | "rollback" | "end" | "abort" | "savepoint" | "release" | "prepare" => {
                Kind::TransactionControl
            }
            _ => self.other(),
        }
    }

    /// The first word, in lower case.
    pub fn first_word(&self) -> Option<&str> {
        match self.words.first()? {
            Lexeme::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether the keywords of `phrase` stand next to each other anywhere outside literals, quotes and comments.
    pub fn says(&self, phrase: &[&str]) -> bool {
        self.words.windows(phrase.len()).any(|window| {
            window.iter().zip(phrase).all(|(lexeme, word)| matches!(lexeme, Lexeme::Word(found) if found == word))
        })
    }

    /// The commands of this statement: its own, and those of every `WITH` query, in lower case.
    pub fn commands(&self) -> Vec<&str> {
        const COMMANDS: [&str; 7] = ["select", "values", "table", "insert", "update", "delete", "merge"];
        let mut commands = Vec::new();
        let mut depth = 0_usize;
        for (at, lexeme) in self.words.iter().enumerate() {
            match lexeme {
                Lexeme::Symbol('(') => depth += 1,
                Lexeme::Symbol(')') => depth = depth.saturating_sub(1),
                Lexeme::Word(word) if COMMANDS.contains(&word.as_str()) => {
                    let before = at.checked_sub(1).map(|index| &self.words[index]);
                    let begins = match before {
                        None => true,
                        // The body of a `WITH` query, or the statement after the last one.
                        Some(Lexeme::Symbol('(')) => {
                            at >= 2
                                && matches!(&self.words[at - 2], Lexeme::Word(word) if word == "as" || word == "materialized")
                        }
                        Some(Lexeme::Symbol(')')) => depth == 0,
                        _ => false,
                    };
                    if begins {
                        commands.push(word.as_str());
                    }
                }
                _ => {}
            }
        }
        commands
    }

    /// The targets of `INSERT INTO`, `UPDATE`, `DELETE FROM` and `MERGE INTO`, in `WITH` queries too.
    fn changed_tables(&self) -> Vec<ObjectName> {
        let mut tables = Vec::new();
        for at in 0..self.words.len() {
            let mut cursor = Cursor { lexemes: &self.words, at };
            let targets = match cursor.word().as_deref() {
                Some("insert" | "merge") => cursor.accept("into"),
                Some("delete") => cursor.accept("from"),
                // `FOR UPDATE`, `DO UPDATE SET`, `ON UPDATE` and `WHEN MATCHED THEN UPDATE` name no table.
                Some("update") => !matches!(
                    at.checked_sub(1).map(|index| &self.words[index]),
                    Some(Lexeme::Word(word)) if matches!(word.as_str(), "for" | "do" | "on" | "then" | "key")
                ),
                _ => false,
            };
            if targets {
                cursor.accept("only");
                tables.extend(cursor.name());
            }
        }
        tables
    }

    fn other(&self) -> Kind {
        let words: Vec<String> = self
            .words
            .iter()
            .take(2)
            .map_while(|lexeme| match lexeme {
                Lexeme::Word(word) => Some(word.to_uppercase()),
                _ => None,
            })
            .collect();
        Kind::Other(words.join(" "))
    }
}

fn create(cursor: &mut Cursor<'_>) -> Option<Kind> {
    let replaces = cursor.accept("or") && cursor.accept("replace");
    let mut temporary = false;
    let mut materialized = false;
    loop {
        match cursor.word()?.as_str() {
            "global" | "local" | "unlogged" | "unique" | "recursive" | "constraint" | "trusted" | "procedural" => {}
            "temp" | "temporary" => temporary = true,
            "materialized" => materialized = true,
            "schema" => {
                cursor.accept_if_not_exists();
                // `CREATE SCHEMA AUTHORIZATION` names none.
                return Some(Kind::CreateSchema(cursor.name()?));
            }
            "table" => {
                let if_not_exists = cursor.accept_if_not_exists();
                let name = cursor.name()?;
                let columns = cursor.columns_of_table();
                return Some(Kind::CreateTable(CreateTable { name, if_not_exists, temporary, columns }));
            }
            "type" | "domain" => return Some(Kind::CreateType(cursor.name()?)),
            "sequence" => {
                cursor.accept_if_not_exists();
                return Some(Kind::CreateSequence(cursor.name()?));
            }
            "extension" => {
                let if_not_exists = cursor.accept_if_not_exists();
                return Some(Kind::CreateExtension { name: cursor.name()?.name, if_not_exists });
            }
            "index" => return create_index(cursor),
            "view" => {
                cursor.accept_if_not_exists();
                let name = cursor.name()?;
                let relation = (materialized || !replaces).then_some(name);
                return Some(Kind::Dependent { table: None, relation });
            }
            "function" | "procedure" | "aggregate" => return Some(Kind::Dependent { table: None, relation: None }),
            "trigger" | "policy" | "rule" => {
                cursor.name()?;
                // The events of a trigger stand between its name and its table.
                while !cursor.accept("on") {
                    cursor.next()?;
                }
                return Some(Kind::Dependent { table: cursor.name(), relation: None });
            }
            _ => return None,
        }
    }
}

fn create_index(cursor: &mut Cursor<'_>) -> Option<Kind> {
    let concurrently = cursor.accept("concurrently");
    cursor.accept_if_not_exists();
    let name = if cursor.peek_word("on") { None } else { Some(cursor.name()?.name) };
    if !cursor.accept("on") {
        return None;
    }
    cursor.accept("only");
    let table = cursor.name()?;
    Some(Kind::CreateIndex(CreateIndex { name, table, concurrently }))
}

fn drop(cursor: &mut Cursor<'_>) -> Option<Kind> {
    let materialized = cursor.accept("materialized");
    let what = cursor.word()?;
    match what.as_str() {
        "table" if !materialized => {
            cursor.accept_if_exists();
            let mut tables = Vec::new();
            loop {
                tables.extend(cursor.name());
                if !cursor.accept_symbol(',') {
                    break;
                }
            }
            Some(Kind::Change { verb: "DROP TABLE", tables })
        }
        "view" | "index" | "trigger" | "policy" => {
            cursor.accept("concurrently");
            cursor.accept_if_exists().then_some(Kind::DropDependent)
        }
        _ => None,
    }
}

/// A reader that moves over the lexemes of one statement.
struct Cursor<'a> {
    lexemes: &'a [Lexeme],
    at: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<&Lexeme> {
        let lexeme = self.lexemes.get(self.at)?;
        self.at += 1;
        Some(lexeme)
    }

    fn word(&mut self) -> Option<String> {
        match self.next()? {
            Lexeme::Word(word) => Some(word.clone()),
            _ => None,
        }
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(self.lexemes.get(self.at), Some(Lexeme::Word(found)) if found == word)
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.at += usize::from(found);
        found
    }

    fn accept_symbol(&mut self, symbol: char) -> bool {
        let found = self.lexemes.get(self.at) == Some(&Lexeme::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    fn accept_if_exists(&mut self) -> bool {
        self.peek_word("if") && self.accept("if") && self.accept("exists")
    }

    fn accept_if_not_exists(&mut self) -> bool {
        self.peek_word("if") && self.accept("if") && self.accept("not") && self.accept("exists")
    }

    fn name(&mut self) -> Option<ObjectName> {
        let mut parts = Vec::new();
        while let Some(Lexeme::Word(part) | Lexeme::Quoted(part)) = self.lexemes.get(self.at) {
            parts.push(part.clone());
            self.at += 1;
            if !self.accept_symbol('.') {
                break;
            }
        }
        let name = parts.pop()?;
        Some(ObjectName { schema: parts.pop(), name })
    }

    fn change(&mut self, verb: &'static str) -> Kind {
        Kind::Change { verb, tables: self.name().into_iter().collect() }
    }

    /// The items of a parenthesised list, each as the range of its lexemes.
    fn items(&mut self) -> Vec<std::ops::Range<usize>> {
        let mut items = Vec::new();
        if !self.accept_symbol('(') {
            return items;
        }
        let mut start = self.at;
        let mut depth = 0_usize;
        while let Some(lexeme) = self.lexemes.get(self.at) {
            match lexeme {
                Lexeme::Symbol('(') => depth += 1,
                Lexeme::Symbol(')') if depth == 0 => {
                    items.push(start..self.at);
                    self.at += 1;
                    return items;
                }
                Lexeme::Symbol(')') => depth -= 1,
                Lexeme::Symbol(',') if depth == 0 => {
                    items.push(start..self.at);
                    start = self.at + 1;
                }
                _ => {}
            }
            self.at += 1;
        }
        items
    }

    /// The columns of a table definition; `None` when some come from elsewhere (`LIKE`, `INHERITS`, `AS`, `PARTITION OF`).
    fn columns_of_table(&mut self) -> Option<Vec<String>> {
        const CONSTRAINTS: [&str; 6] = ["constraint", "primary", "unique", "check", "foreign", "exclude"];
        let lexemes = self.lexemes;
        let items = self.items();
        if items.is_empty() || self.peek_word("inherits") || self.peek_word("as") {
            return None;
        }
        let mut columns = Vec::new();
        for range in items {
            match lexemes[range].first() {
                Some(Lexeme::Word(word)) if word == "like" => return None,
                Some(Lexeme::Word(word)) if CONSTRAINTS.contains(&word.as_str()) => {}
                Some(Lexeme::Word(name) | Lexeme::Quoted(name)) => columns.push(name.clone()),
                _ => {}
            }
        }
        Some(columns)
    }
}

/// Where the `offset`-th character of `text` (from 1, as the server reports it) is when `text` begins at `start`.
pub(crate) fn advance(start: Position, text: &str, offset: usize) -> Position {
    text.chars().take(offset.saturating_sub(1)).fold(start, |at, character| match character {
        '\n' => Position { line: at.line + 1, column: 1 },
        _ => Position { column: at.column + 1, ..at },
    })
}

fn position(location: Location) -> Position {
    Position { line: location.line, column: location.column }
}

/// Where each line of a text begins, to turn the tokenizer's lines and columns into byte offsets.
struct Lines<'a> {
    sql: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(sql: &'a str) -> Self {
        let starts = std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { sql, starts }
    }

    fn offset(&self, location: Location) -> usize {
        let start = self.starts[location.line as usize - 1];
        let line = &self.sql[start..];
        line.char_indices().nth(location.column as usize - 1).map_or(self.sql.len(), |(at, _)| start + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        split(sql).unwrap().into_iter().map(|statement| statement.text).collect()
    }

    fn kind(sql: &str) -> Kind {
        let statements = split(sql).unwrap();
        assert_eq!(statements.len(), 1, "{sql}");
        statements[0].kind()
    }

    fn name(name: &str) -> ObjectName {
        match name.split_once('.') {
            Some((schema, name)) => ObjectName { schema: Some(schema.into()), name: name.into() },
            None => ObjectName { schema: None, name: name.into() },
        }
    }

    #[test]
    fn semicolons_end_statements_only_where_they_do() {
        let function =
            "CREATE FUNCTION f() RETURNS trigger AS $body$ BEGIN x := $$;$$; RETURN NEW; END; $body$ LANGUAGE plpgsql";
        let atomic = "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)";
        let strings = r#"SELECT 'a;b''c;', E'it\';s', "odd;name" FROM "a""b""#;
        let sql =
            format!("-- one; two\n;;{function};\n/* a /* nested; */ comment; */ {atomic};{rule};\n{strings} -- end;");
        assert_eq!(texts(&sql), [function, atomic, rule, &format!("{strings} -- end;")]);
    }

    #[test]
    fn positions_count_characters() {
        let statements = split("SELECT 'é';\n  SELECT 'ü', nonsense;").unwrap();
        assert_eq!(statements[1].position, Position { line: 2, column: 3 });
        assert_eq!(advance(statements[1].position, statements[1].text, 13), Position { line: 2, column: 15 });
        assert!(split("SELECT 'never ends").is_err());
    }

    #[test]
    fn tables_and_their_columns() {
        let Kind::CreateTable(table) = kind(
            "CREATE TABLE IF NOT EXISTS app.\"Users\" (id uuid PRIMARY KEY, price numeric(10, 2) CHECK (price > 0),
             \"Odd, one\" text, CONSTRAINT named UNIQUE (id), PRIMARY KEY (id), FOREIGN KEY (id) REFERENCES x (y))",
        ) else {
            panic!("not a table")
        };
        assert_eq!(table.name, name("app.Users"));
        assert!(table.if_not_exists && !table.temporary);
        assert_eq!(table.columns.unwrap(), ["id", "price", "Odd, one"]);
        for unknown in
            ["CREATE TABLE a (LIKE b, c int)", "CREATE TABLE a AS SELECT 1", "CREATE TABLE a PARTITION OF b DEFAULT"]
        {
            assert!(matches!(kind(unknown), Kind::CreateTable(CreateTable { columns: None, .. })), "{unknown}");
        }
    }

    #[test]
    fn indexes_and_their_tables() {
        let Kind::CreateIndex(index) = kind(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS by_name ON ONLY public.users USING btree
             (name DESC, lower(email), (a + b), created_at) INCLUDE (id) WHERE deleted_at IS NULL",
        ) else {
            panic!("not an index")
        };
        assert_eq!((index.name.as_deref(), index.concurrently), (Some("by_name"), true));
        assert_eq!(index.table, name("public.users"));
        assert!(matches!(kind("CREATE INDEX ON t (a)"), Kind::CreateIndex(CreateIndex { name: None, .. })));
    }

    #[test]
    fn changes_name_their_tables() {
        let check = |sql: &str, expected: &[&str]| {
            let Kind::Change { tables, .. } = kind(sql) else { panic!("{sql}") };
            assert_eq!(tables, expected.iter().map(|table| name(table)).collect::<Vec<_>>(), "{sql}");
        };
        check("ALTER TABLE IF EXISTS ONLY a.b ADD COLUMN c int", &["a.b"]);
        check("DROP TABLE IF EXISTS a, b CASCADE", &["a", "b"]);
        check("TRUNCATE a, ONLY b RESTART IDENTITY", &["a", "b"]);
        check("INSERT INTO a VALUES (1) ON CONFLICT (x) DO UPDATE SET y = 1", &["a"]);
        check("UPDATE ONLY a SET b = (SELECT 1 FROM c FOR UPDATE)", &["a"]);
        check("DELETE FROM a USING b", &["a"]);
        check(
            "MERGE INTO a USING b ON true WHEN MATCHED THEN UPDATE SET c = 1 WHEN NOT MATCHED THEN INSERT (c) VALUES (1)",
            &["a"],
        );
        check("WITH moved AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM moved", &["a", "b"]);
        check("COPY a FROM STDIN", &["a"]);
    }

    #[test]
    fn the_rest_is_told_apart() {
        assert_eq!(kind("WITH x AS (SELECT 1) SELECT * FROM x"), Kind::Query);
        assert_eq!(kind("(SELECT 1)"), Kind::Query);
        assert_eq!(kind("DO $$ BEGIN END $$"), Kind::Other("DO".into()));
        assert_eq!(kind("DROP FUNCTION f()"), Kind::Other("DROP FUNCTION".into()));
        assert_eq!(kind("DROP INDEX a"), Kind::Other("DROP INDEX".into()));
        assert_eq!(kind("DROP INDEX IF EXISTS a"), Kind::DropDependent);
        assert_eq!(kind("COMMIT"), Kind::TransactionControl);
        assert_eq!(
            kind("CREATE OR REPLACE TRIGGER touch BEFORE UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()"),
            Kind::Dependent { table: Some(name("t")), relation: None }
        );
        assert_eq!(kind("CREATE OR REPLACE VIEW v AS SELECT 1"), Kind::Dependent { table: None, relation: None });
    }

    #[test]
    fn the_commands_of_with_queries_are_found() {
        let statements = split(
            "WITH a AS (SELECT 1), b AS MATERIALIZED (DELETE FROM t RETURNING 1) INSERT INTO u SELECT 1 FROM (SELECT 2) x",
        );
        assert_eq!(statements.unwrap()[0].commands(), ["select", "delete", "insert"]);
    }
}
