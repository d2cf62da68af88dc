//! Reading a request, and relaying it.

use std::cell::RefCell;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_model::Fnv1a;
use systemprompt_model::json::{Cursor, Kind, Member, Span};

use crate::request::error::RequestError;
use crate::request::fields::{self, Field as _};
use crate::request::layout::MemberPlace;
use crate::request::reader::Reader;

/// The field of what is embedded.
pub(crate) const INPUT: &str = "input";

/// How long an embedding of the demo model is where the caller does not say, and at most.
const DEMO_DIMENSIONS: u64 = 64;
const DEMO_LONGEST: u64 = 4096;

fields::fields! {
    guarded:
        Model "model",
        Input "input",
        User "user",
        Dimensions "dimensions",
        EncodingFormat "encoding_format",
        TaskType "task_type",
        Title "title";
    read:;
}

/// A request for embeddings, as far as its answer has to know.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddingsRequest {
    /// The model the caller asked for.
    pub(super) model: String,
    /// How many embeddings are asked for, at least one.
    pub(super) inputs: usize,
    /// Characters of all texts divided by four, or the tokens where the caller sends them.
    pub(super) estimated_input_tokens: u64,
    /// How long each embedding shall be.
    pub(super) dimensions: Option<u64>,
    /// The numbers of an embedding are wanted in Base64 and not as a list.
    pub(super) base64: bool,
    /// What the embeddings are for, and what the text is called, in Google's words. Other vendors have none for it and say
    /// themselves what they think of them.
    pub(super) purpose: Purpose,
    pub(super) texts: Texts,
    pub(super) body: Bytes,
}

/// What Google wants to know of what is embedded.
#[derive(Debug, Clone, Default)]
pub(super) struct Purpose {
    pub(super) task_type: Option<String>,
    pub(super) title: Option<String>,
}

/// Where the texts are.
#[derive(Debug, Clone)]
pub(super) enum Texts {
    One(Span),
    Several(Vec<Span>),
    /// The caller has them in tokens already.
    Tokens,
}

/// The request as far as it was read.
#[derive(Default)]
struct Reading {
    texts: Option<(Texts, usize)>,
    tokens: u64,
    dimensions: Option<u64>,
    base64: bool,
    purpose: Purpose,
}

/// Reads a request body.
pub(crate) fn read(reader: &mut Reader, body: &[u8]) -> Result<(), RequestError> {
    read_all(reader, body).map(drop)
}

fn read_all(reader: &mut Reader, body: &[u8]) -> Result<Reading, RequestError> {
    let reading = RefCell::new(Reading::default());
    reader.object(body, |reader, field: Field, member, cursor| {
        value(reader, &mut reading.borrow_mut(), field, member, cursor)
    })?;
    let reading = reading.into_inner();
    reader.message_count = reading.texts.as_ref().map(|(_, inputs)| *inputs);
    reader.tokens(reading.tokens);
    Ok(reading)
}

impl EmbeddingsRequest {
    /// Reads a body once more that was read as a request before.
    pub(crate) fn parse(body: Bytes) -> Result<Self, RequestError> {
        let mut reader = Reader::default();
        let reading = read_all(&mut reader, &body)?;
        let missing = |field: &'static str, fix| RequestError::Missing { field: field.into(), fix };
        let estimated_input_tokens = reader.estimated_tokens();
        let model = reader.model.ok_or_else(|| missing("model", "name the model that shall embed"))?;
        let (texts, inputs) = reading.texts.ok_or_else(|| missing(INPUT, "send a text, or an array of texts"))?;
        let Reading { dimensions, base64, purpose, .. } = reading;
        Ok(Self { model, inputs, estimated_input_tokens, dimensions, base64, purpose, texts, body })
    }
}

impl EmbeddingsRequest {
    /// What the demo model answers. Texts that share words are near each other; nothing else is meant by the numbers.
    pub(crate) fn demo(&self) -> Vec<u8> {
        let texts: Vec<String> = match &self.texts {
            Texts::One(span) => vec![self.text(span)],
            Texts::Several(spans) => spans.iter().map(|span| self.text(span)).collect(),
            Texts::Tokens => vec!["tokens".to_owned(); self.inputs],
        };
        let length = usize::try_from(self.dimensions.unwrap_or(DEMO_DIMENSIONS).min(DEMO_LONGEST)).unwrap_or(1);
        let data: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let numbers = demo_numbers(text, length);
                let numbers = if self.base64 {
                    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                    Value::from(BASE64_STANDARD.encode(bytes))
                } else {
                    Value::from(numbers)
                };
                json!({ "object": "embedding", "index": index, "embedding": numbers })
            })
            .collect();
        let tokens = self.estimated_input_tokens.max(1);
        let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
        json!({ "object": "list", "data": data, "model": self.model, "usage": usage }).to_string().into_bytes()
    }

    fn text(&self, span: &Span) -> String {
        serde_json::from_slice(&self.body[span.clone()]).unwrap_or_default()
    }
}

/// A place for each word, by its hash, and all of it of length one.
fn demo_numbers(text: &str, length: usize) -> Vec<f32> {
    let mut numbers = vec![0.0_f32; length];
    for word in text.split_whitespace() {
        let mut hash = Fnv1a::default();
        hash.write(word.to_lowercase().as_bytes());
        let hash = hash.finish();
        numbers[(hash % length as u64) as usize] += if hash >> 63 == 0 { 1.0 } else { -1.0 };
    }
    let norm = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    if norm > 0.0 {
        for number in &mut numbers {
            *number /= norm;
        }
    } else {
        numbers[0] = 1.0;
    }
    numbers
}

fn value(
    reader: &mut Reader,
    reading: &mut Reading,
    field: Field,
    member: &Member<'_>,
    cursor: &mut Cursor<'_>,
) -> Result<(), RequestError> {
    let name = field.name();
    match (field, cursor.kind()?) {
        (Field::Model, _) => reader.model(name, cursor)?,
        (Field::Input, _) => reading.texts = Some(input(reader, &mut reading.tokens, cursor)?),
        (Field::User, _) => reader.layout.withheld.push(MemberPlace::read(member, cursor)?),
        // `null` means the same as leaving an optional field out.
        (_, Kind::Null) => {
            cursor.skip()?;
        }
        (Field::Dimensions, Kind::Number) => {
            let number = systemprompt_model::json::whole_number(cursor.number()?).filter(|number| *number > 0);
            let number = number.ok_or_else(|| RequestError::invalid(name, "a whole number, 1 or more"))?;
            reading.dimensions = Some(number);
        }
        (Field::Dimensions, _) => return Err(RequestError::invalid(name, "a whole number, 1 or more")),
        (Field::EncodingFormat, Kind::String) => match &*cursor.string()?.decode() {
            "float" => reading.base64 = false,
            "base64" => reading.base64 = true,
            _ => return Err(RequestError::invalid(name, "`float` or `base64`")),
        },
        (Field::EncodingFormat, _) => return Err(RequestError::invalid(name, "`float` or `base64`")),
        (Field::TaskType, Kind::String) => reading.purpose.task_type = Some(cursor.string()?.decode().into_owned()),
        (Field::Title, Kind::String) => reading.purpose.title = Some(cursor.string()?.decode().into_owned()),
        (Field::TaskType | Field::Title, _) => return Err(RequestError::invalid(name, "a text")),
    }
    Ok(())
}

/// A text, texts, the tokens of a text, or those of texts.
fn input(reader: &mut Reader, tokens: &mut u64, cursor: &mut Cursor<'_>) -> Result<(Texts, usize), RequestError> {
    let expected = "a text, an array of texts, or tokens";
    match cursor.kind()? {
        Kind::String => return Ok((Texts::One(reader.text(cursor)?), 1)),
        Kind::Array => {}
        _ => return Err(RequestError::invalid(INPUT, expected)),
    }
    let mut texts = Vec::new();
    let (mut alone, mut lists) = (0, 0);
    cursor.elements(|index, cursor| {
        let invalid = || RequestError::invalid(format!("{INPUT}[{index}]"), "like the elements before it");
        match cursor.kind()? {
            Kind::String if alone == 0 && lists == 0 => texts.push(reader.text(cursor)?),
            Kind::Number if texts.is_empty() && lists == 0 => {
                cursor.number()?;
                alone += 1;
            }
            Kind::Array if texts.is_empty() && alone == 0 => {
                cursor.elements(|_, cursor| {
                    if cursor.kind()? != Kind::Number {
                        return Err(RequestError::invalid(format!("{INPUT}[{index}]"), "an array of tokens"));
                    }
                    cursor.number()?;
                    *tokens += 1;
                    Ok(())
                })?;
                lists += 1;
            }
            Kind::String | Kind::Number | Kind::Array => return Err(invalid()),
            _ => return Err(RequestError::invalid(format!("{INPUT}[{index}]"), "a text, or tokens")),
        }
        Ok(())
    })?;
    *tokens += alone;
    match (texts.len(), alone, lists) {
        (0, 0, 0) => Err(RequestError::invalid(INPUT, "an array with at least one text")),
        (0, _, 0) => Ok((Texts::Tokens, 1)),
        (0, _, lists) => Ok((Texts::Tokens, lists)),
        (count, _, _) => Ok((Texts::Several(texts), count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::relay::Edits;
    use crate::request::InferenceRequest;

    fn parse(body: &str) -> Result<EmbeddingsRequest, RequestError> {
        EmbeddingsRequest::parse(Bytes::from(body.to_owned()))
    }

    #[test]
    fn texts_that_share_words_are_near_each_other() {
        let numbers = |text: &str| demo_numbers(text, 64);
        let near = |a: &str, b: &str| numbers(a).iter().zip(numbers(b)).map(|(a, b)| a * b).sum::<f32>();
        assert!((near("the red car", "the red car") - 1.0).abs() < 1e-5);
        assert!(near("the red car", "a red car") > near("the red car", "something else entirely"));
        let answer = parse(r#"{"model":"m","input":["a b",""],"dimensions":3}"#).expect("a request").demo();
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["data"][1]["embedding"], json!([1.0, 0.0, 0.0]));
        assert_eq!(answer["data"][0]["embedding"].as_array().map(Vec::len), Some(3));
    }

    /// The readers check what is read first.
    #[test]
    fn the_whole_is_checked_where_requests_are() {
        let parse = |body: &str| InferenceRequest::parse(Format::OpenAiEmbeddings, Bytes::from(body.to_owned()));
        for (body, expected) in [
            ("", "send a JSON object with `model` and `input`"),
            ("[]", "must be a JSON object with `model` and `input`"),
            (r#"{"model":"m"}"#, "`input` is missing"),
        ] {
            let error = parse(body).expect_err(body);
            assert!(error.to_string().contains(expected), "{error} — expected {expected:?} for {body}");
        }
        let edits = Edits { model: Some("up".to_owned()), ..Edits::default() };
        for (given, expected) in [
            (r#"{ "model": "m", "input": "x" , "z":1}"#, r#"{ "model": "up", "input": "x" , "z":1}"#),
            (r#"{"input":"x","user":"u","model":"m"}"#, r#"{"input":"x","model":"up"}"#),
            (r#"{"model":"m","input":[1,2],"user":"u"}"#, r#"{"model":"up","input":[1,2]}"#),
        ] {
            let request = parse(given).expect("a request");
            assert_eq!(request.relay(&edits).bytes, expected);
        }
        assert_eq!(parse(r#"{"model":"m","input":[1,2,3]}"#).expect("a request").estimated_input_tokens, 3);
    }

    #[test]
    fn every_form_of_input_is_counted() {
        for (input, inputs, tokens) in [
            (r#""hello there!""#, 1, 3),
            (r#"["hello there!","again"]"#, 2, 5),
            ("[1, 2, 3]", 1, 3),
            ("[[1, 2, 3], [4]]", 2, 4),
        ] {
            let request = parse(&format!(r#"{{"model":"m","input":{input}}}"#)).expect("a request");
            assert_eq!((request.inputs, request.estimated_input_tokens), (inputs, tokens), "{input}");
        }
        let request = parse(r#"{"input":"x","model":"m","dimensions":256,"encoding_format":"base64"}"#).expect("one");
        assert_eq!((request.dimensions, request.base64), (Some(256), true));
    }

    #[test]
    fn a_bad_body_names_its_field_and_the_fix() {
        for (body, expected) in [
            (r#"{"model":"m"}"#, "`input` is missing"),
            (r#"{"input":"x"}"#, "`model` is missing"),
            (r#"{"model":"m","input":[]}"#, "`input` must be an array with at least one text"),
            (r#"{"model":"m","input":7}"#, "`input` must be a text"),
            (r#"{"model":"m","input":["x",7]}"#, "`input[1]` must be like the elements before it"),
            (r#"{"model":"m","input":[{}]}"#, "`input[0]` must be a text, or tokens"),
            (r#"{"model":"m","input":[["x"]]}"#, "`input[0]` must be an array of tokens"),
            (r#"{"model":"m","input":"x","dimensions":0}"#, "`dimensions` must be a whole number, 1 or more"),
            (r#"{"model":"m","input":"x","encoding_format":"int8"}"#, "`encoding_format` must be `float` or `base64`"),
            (r#"{"model":"m","input":"x","Model":"n"}"#, "`Model` differs from `model`"),
            (r#"{"model":"m","input":"x","input":"y"}"#, "`input` appears more than once"),
        ] {
            let error = parse(body).expect_err(body);
            assert!(error.to_string().contains(expected), "{error} — expected {expected:?} for {body}");
        }
    }
}
