//! Reading a request, and relaying it.

use bytes::{Bytes, BytesMut};
use systemprompt_model::json::{Cursor, Kind, Member, Span};

use crate::request::error::RequestError;
use crate::request::fields::{self, Field as _};
use crate::request::layout::MemberPlace;
use crate::request::reader::Reader;

/// The field of what is embedded.
const INPUT: &str = "input";

fields::fields! {
    guarded:
        Model "model",
        Input "input",
        User "user",
        Dimensions "dimensions",
        EncodingFormat "encoding_format";
    read:;
}

/// A request for embeddings: the facts routing, limits and the ledger ask for, and the caller's untouched bytes.
#[derive(Debug, Clone)]
pub struct EmbeddingsRequest {
    /// The model the caller asked for, 1 to 256 bytes.
    pub model: String,
    /// How many embeddings are asked for, at least one.
    pub inputs: usize,
    /// Characters of all texts divided by four, or the tokens where the caller sends them.
    pub estimated_input_tokens: u64,
    /// How long each embedding shall be.
    pub dimensions: Option<u64>,
    /// The numbers of an embedding are wanted in Base64 and not as a list.
    pub base64: bool,
    pub(super) texts: Texts,
    pub(super) body: Bytes,
    model_at: Span,
    user: Option<MemberPlace>,
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
}

impl EmbeddingsRequest {
    /// Reads a request body. What holds for other requests holds for it: see
    /// [`InferenceRequest::parse`](crate::InferenceRequest::parse).
    pub fn parse(body: Bytes) -> Result<Self, RequestError> {
        if body.trim_ascii().is_empty() {
            return Err(RequestError::Empty { conversation: INPUT });
        }
        if let Err(error) = std::str::from_utf8(&body) {
            return Err(RequestError::NotUtf8 { offset: error.valid_up_to() });
        }
        let mut reader = Reader::default();
        reader.conversation = INPUT;
        let reading = std::cell::RefCell::new(Reading::default());
        reader.object(&body, |reader, field: Field, member, cursor| {
            value(reader, &mut reading.borrow_mut(), field, member, cursor)
        })?;
        let reading = reading.into_inner();
        let missing = |field: &'static str, fix| RequestError::Missing { field: field.into(), fix };
        let estimated_input_tokens = reader.estimated_tokens().saturating_add(reading.tokens);
        let model = reader.model.ok_or_else(|| missing("model", "name the model that shall embed"))?;
        let (texts, inputs) = reading.texts.ok_or_else(|| missing(INPUT, "send a text, or an array of texts"))?;
        Ok(Self {
            model,
            inputs,
            estimated_input_tokens,
            dimensions: reading.dimensions,
            base64: reading.base64,
            texts,
            model_at: reader.layout.model.unwrap_or_default(),
            user: reader.layout.withheld.pop(),
            body,
        })
    }

    /// The bytes the caller sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body for a provider compatible with OpenAI: the caller's, with the name the provider knows the model by, and
    /// without `user`, which identifies a person.
    pub fn relay(&self, model: &str) -> Bytes {
        let mut edits = Vec::new();
        if model != self.model {
            edits.push((self.model_at.clone(), serde_json::Value::from(model).to_string().into_bytes()));
        }
        edits.extend(self.user.as_ref().map(|user| (user.cut(), Vec::new())));
        if edits.is_empty() {
            return self.body.clone();
        }
        edits.sort_by_key(|(at, _)| at.start);
        let mut relayed = BytesMut::with_capacity(self.body.len() + model.len());
        let mut copied = 0;
        for (at, replacement) in edits {
            relayed.extend_from_slice(&self.body[copied..at.start]);
            relayed.extend_from_slice(&replacement);
            copied = at.end;
        }
        relayed.extend_from_slice(&self.body[copied..]);
        relayed.freeze()
    }
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

    fn parse(body: &str) -> Result<EmbeddingsRequest, RequestError> {
        EmbeddingsRequest::parse(Bytes::from(body.to_owned()))
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
            ("", "send a JSON object with `model` and `input`"),
            ("[]", "must be a JSON object with `model` and `input`"),
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

    #[test]
    fn what_is_relayed_differs_in_the_model_and_the_user_only() {
        for (given, expected) in [
            (r#"{ "model": "m", "input": "x" , "z":1}"#, r#"{ "model": "up", "input": "x" , "z":1}"#),
            (r#"{"input":"x","user":"u","model":"m"}"#, r#"{"input":"x","model":"up"}"#),
            (r#"{"model":"m","input":"x","user":"u"}"#, r#"{"model":"up","input":"x"}"#),
        ] {
            assert_eq!(parse(given).expect("a request").relay("up"), expected);
        }
        let request = parse(r#"{"model":"m","input":"x"}"#).expect("a request");
        assert_eq!(request.relay("m").as_ptr(), request.body().as_ptr(), "nothing to edit copies nothing");
    }
}
