//! Every file says what it is for, and no two files of a crate need each other.
//!
//! A file that can be understood without the files that use it is read once. What is checked is what the text says: a file
//! uses another when it names something in it by `crate::…`, `super::…`, or through a module it declares. A name that is
//! handed on (`pub use`) counts as used from where it is defined, and tests may use what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for source in source_directories() {
        let name = source.strip_prefix(root()).unwrap().display().to_string();
        let modules = Modules::read(&source);
        for circle in modules.circles() {
            let uses = circle.iter().map(|file| {
                let used: BTreeSet<&String> =
                    modules.used_by(file).into_iter().filter(|used| circle.contains(used)).collect();
                let used: Vec<&str> = used.into_iter().map(String::as_str).collect();
                format!("\n  {name}/{file} uses {}", used.join(", "))
            });
            circles.push(uses.collect::<String>());
        }
    }
    assert!(circles.is_empty(), "what they share belongs into a file below them:{}", circles.join("\n"));
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let mut without = Vec::new();
    for source in source_directories() {
        for file in files(&source) {
            if !text(&file).starts_with("//!") {
                without.push(file.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    assert!(without.is_empty(), "without `//!` in the first line:\n  {}", without.join("\n  "));
}

#[test]
fn circles_are_found_however_a_name_is_written() {
    let circles = |files: &[(&str, &str)]| {
        let text = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Modules::new(files.iter().map(text).collect()).circles()
    };
    let found = |files: &[(&str, &str)]| !circles(files).is_empty();

    assert_eq!(circles(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]), [["a.rs", "b.rs"]]);
    assert!(!found(&[("a.rs", "use crate::b::B;"), ("b.rs", "use std::a::A;")]));
    assert!(
        found(&[("a.rs", "use crate::{c, b::{B, D}};"), ("b.rs", "fn f() { crate::a::g() }")]),
        "groups and paths in code"
    );
    assert!(found(&[("a/mod.rs", "mod b; fn f() { b::g() }"), ("a/b.rs", "use super::A;")]), "parent and child");
    assert!(found(&[("a.rs", "mod b; use b::B;"), ("a/b.rs", "use super::*;")]), "everything");
    assert!(
        !found(&[("a.rs", "mod b; pub use b::B; struct A;"), ("a/b.rs", "use super::A;")]),
        "handing on is not using"
    );
    assert!(found(&[("a.rs", "mod b; pub use b::B; struct A(B);"), ("a/b.rs", "use super::A;")]), "both");
    let through_the_root =
        [("lib.rs", "mod a; mod b; pub use a::A;"), ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::A;")];
    assert_eq!(circles(&through_the_root), [["a.rs", "b.rs"]], "what is handed on is where it is defined");
    assert!(!found(&[
        ("a.rs", "// use crate::b::B;\n/* crate::b */ const X: &str = \"crate::b\";"),
        ("b.rs", "use crate::a::A;")
    ]));
    assert!(!found(&[("a.rs", "#[cfg(test)] mod tests { use crate::b::B; }"), ("b.rs", "use crate::a::A;")]), "tests");
    assert!(
        !found(&[("a.rs", "#[cfg(test)] mod tests; fn f() {}"), ("a/tests.rs", "use super::*;")]),
        "tests in a file"
    );
}

/// The source files of one crate, by their paths below `src`.
struct Modules {
    files: BTreeMap<String, Module>,
}

#[derive(Default)]
struct Module {
    /// `["ledger", "write"]`; the root's is empty.
    path: Vec<String>,
    /// The paths it names, from the crate's root.
    uses: Vec<Vec<String>>,
    /// What it hands on: the name, and the path of what it is.
    reexports: Vec<(String, Vec<String>)>,
    /// Names of everything, to see whether something handed on is used too.
    words: BTreeMap<String, usize>,
}

impl Modules {
    fn read(source: &Path) -> Self {
        let relative = |file: &Path| file.strip_prefix(source).expect("it lies there").display().to_string();
        Self::new(files(source).into_iter().map(|file| (relative(&file), text(&file))).collect())
    }

    fn new(texts: BTreeMap<String, String>) -> Self {
        let mut files = BTreeMap::new();
        let mut of_tests = BTreeSet::new();
        for (file, text) in texts {
            let mut path: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if path.last().is_some_and(|last| last == "mod") || path == ["lib"] || path == ["main"] {
                path.pop();
            }
            // Programs in `bin` are crates of their own.
            if path.first().is_some_and(|first| first == "bin") {
                continue;
            }
            let tokens = tokens(&text);
            of_tests.extend(test_modules(&tokens).map(|name| [path.as_slice(), &[name]].concat()));
            files.insert(file, Module::read(path, &without_tests(&tokens)));
        }
        files.retain(|_, module: &mut Module| !of_tests.iter().any(|test| module.path.starts_with(test)));
        Self { files }
    }

    /// The files that use each other, directly or through others; each group sorted.
    fn circles(&self) -> Vec<Vec<String>> {
        let uses: BTreeMap<&String, Vec<&String>> = self.files.keys().map(|file| (file, self.used_by(file))).collect();
        let reached = |from: &String| {
            let mut reached = BTreeSet::new();
            let mut next = uses[from].clone();
            while let Some(file) = next.pop() {
                if reached.insert(file) {
                    next.extend(&uses[file]);
                }
            }
            reached
        };
        let reach: BTreeMap<&String, BTreeSet<&String>> = uses.keys().map(|file| (*file, reached(file))).collect();
        let circle = |file: &String| {
            let with = reach[file].iter().filter(|other| reach[**other].contains(file));
            with.map(|other| (*other).clone()).collect::<Vec<_>>()
        };
        let circles: BTreeSet<Vec<String>> = uses.keys().map(|file| circle(file)).collect();
        circles.into_iter().filter(|circle| !circle.is_empty()).collect()
    }

    /// Other files that this one names something of.
    fn used_by(&self, file: &String) -> Vec<&String> {
        let module = &self.files[file];
        let handed_on_and_used =
            module.reexports.iter().filter(|(name, _)| module.words.get(name).is_some_and(|n| *n > 1));
        let paths = module.uses.iter().chain(handed_on_and_used.map(|(_, path)| path));
        paths.filter_map(|path| self.definition(path, 0)).filter(|used| *used != file).collect()
    }

    /// The file in which a path ends.
    fn definition(&self, path: &[String], depth: usize) -> Option<&String> {
        let (file, module) = self
            .files
            .iter()
            .filter(|(_, module)| path.starts_with(&module.path))
            .max_by_key(|(_, module)| module.path.len())?;
        let rest = &path[module.path.len()..];
        let handed_on = rest.first().and_then(|name| module.reexports.iter().find(|(known, _)| known == name));
        match handed_on {
            Some((_, target)) if depth < 8 => self.definition(&[target, &rest[1..]].concat(), depth + 1),
            _ if module.path.is_empty() && rest.first().is_none_or(|name| name == "*") => None,
            _ => Some(file),
        }
    }
}

impl Module {
    fn read(path: Vec<String>, tokens: &[String]) -> Self {
        let mut module = Self { path, ..Self::default() };
        for word in tokens.iter().filter(|token| is_word(token)) {
            *module.words.entry(word.clone()).or_default() += 1;
        }
        let declared: BTreeSet<&str> = tokens
            .windows(3)
            .filter(|three| three[0] == "mod" && three[2] == ";")
            .map(|three| three[1].as_str())
            .collect();
        let mut at = 0;
        while at < tokens.len() {
            let in_use = tokens[at] == "use";
            let public =
                in_use && at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")" && tokens[at - 2] != "(");
            let start = at + usize::from(in_use);
            let begins_a_path = start < tokens.len()
                && (start == 0 || tokens[start - 1] != "::")
                && tokens.get(start + 1).is_some_and(|token| token == "::");
            let first = tokens.get(start).map_or("", String::as_str);
            let known = ["crate", "super", "self"].contains(&first) || declared.contains(first);
            if begins_a_path && known {
                let mut paths = Vec::new();
                at = read_paths(tokens, start, &[], in_use, &mut paths);
                for (path, name) in paths {
                    let path = module.absolute(&path);
                    if public {
                        module.reexports.push((name, path));
                    } else {
                        module.uses.push(path);
                    }
                }
            } else {
                at += 1;
            }
        }
        module
    }

    fn absolute(&self, path: &[String]) -> Vec<String> {
        let mut from = self.path.clone();
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => from.clear(),
                "super" => _ = from.pop(),
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        from.extend_from_slice(rest);
        from
    }
}

/// Reads a path, and in a `use` its groups and new names. Returns where it ends.
fn read_paths(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    in_use: bool,
    paths: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let mut path = prefix.to_vec();
    while at < tokens.len() {
        if in_use && tokens[at] == "{" {
            at += 1;
            while at < tokens.len() && tokens[at] != "}" {
                at = if tokens[at] == "," { at + 1 } else { read_paths(tokens, at, &path, true, paths) };
            }
            return at + 1;
        }
        if !is_word(&tokens[at]) && tokens[at] != "*" {
            break;
        }
        if tokens[at] != "self" || path.is_empty() {
            path.push(tokens[at].clone());
        }
        at += 1;
        if tokens.get(at).is_some_and(|token| token == "::") {
            at += 1;
        } else {
            break;
        }
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if in_use && tokens.get(at).is_some_and(|token| token == "as") {
        name.clone_from(&tokens[at + 1]);
        at += 2;
    }
    paths.push((path, name));
    at
}

/// Words, `::`, and single signs; without comments and literals.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    flatten(text.parse().expect("it compiles"), &mut tokens);
    tokens
}

fn flatten(stream: TokenStream, tokens: &mut Vec<String>) {
    let mut after_colon = false;
    for tree in stream {
        match &tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(open.to_owned());
                flatten(group.stream(), tokens);
                tokens.push(close.to_owned());
            }
            TokenTree::Ident(word) => tokens.push(word.to_string()),
            TokenTree::Punct(sign) if after_colon && sign.as_char() == ':' => {
                tokens.pop();
                tokens.push("::".to_owned());
            }
            TokenTree::Punct(sign) => tokens.push(sign.to_string()),
            TokenTree::Literal(_) => {}
        }
        after_colon =
            matches!(&tree, TokenTree::Punct(sign) if sign.as_char() == ':' && sign.spacing() == Spacing::Joint);
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// The modules in files of their own that are compiled for tests only.
fn test_modules(tokens: &[String]) -> impl Iterator<Item = String> {
    tokens
        .windows(CFG_TEST.len() + 3)
        .filter(|window| window[..7] == CFG_TEST && window[7] == "mod" && window[9] == ";")
        .map(|window| window[8].clone())
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(CFG_TEST.len()).ne(CFG_TEST.iter()) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        at += CFG_TEST.len();
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(tokens[at - 1].as_str(), ";" | "}") {
                break;
            }
        }
    }
    kept
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// The `src` of every crate of the workspace.
fn source_directories() -> Vec<PathBuf> {
    let below = |parent: &str| entries(&root().join(parent));
    let crates = below("crates").into_iter().chain(below("extensions")).chain([root().join("xtask")]);
    let mut directories: Vec<PathBuf> =
        crates.map(|directory| directory.join("src")).filter(|src| src.is_dir()).collect();
    directories.sort();
    directories
}

/// The Rust files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for path in entries(&next) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
