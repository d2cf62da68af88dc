//! One reader of JSON text, for everything that asks where something stands and not what it is worth.
//!
//! `serde_json` gives values; a gateway needs positions: which bytes to replace, which to leave alone, which to judge.
//! Nothing here builds a tree or copies a text that has no escapes, and nothing recurses, so neither the size nor the
//! depth of an input costs memory or stack.
//!
//! There are three ways to read, over the same strings and escapes ([`Text`]):
//!
//! - [`Cursor`] is strict. It checks the whole grammar of RFC 8259 and knows where each member and element begins and
//!   ends; [`pick`], [`elements`], [`text`] and [`unsigned`] are its everyday forms. It is for bytes we act on: a request
//!   whose fields are spliced, an answer whose usage is paid for.
//! - [`Strings`] is lenient. It shows every string and every key of a document, however deeply nested and however
//!   broken the structure around them, because whoever receives it may be lenient too. [`paths`] then says where the
//!   strings stand that somebody asks about, and [`Texts`] what they say. It is for bytes we search.
//! - [`loose`] finds members, elements, texts and counts in what may be no JSON at all, without checking anything. It is
//!   for answers that pass by and are only recorded, where the strict reader gives up.

mod cursor;
pub mod loose;
mod strings;
mod syntax;
mod text;
mod texts;
mod values;

pub use cursor::{Cursor, Member};
pub use strings::{Leaf, NotJson, Strings, looks_like_json, paths};
pub use syntax::{Kind, MAX_DEPTH, Span, SyntaxError};
pub use text::{Text, lossy, plain_end, raw_places, unescape};
pub use texts::Texts;
pub use values::{elements, pick, text, unsigned, whole_number};
