//! Reading `POST /v1/responses`.

use std::cell::RefCell;

use systemprompt_model::json::{Cursor, Kind, Member, Span};

use crate::format::gpt::Model;
use crate::request::error::RequestError;
use crate::request::facts::Effort;
use crate::request::fields::{self, Field as _};
use crate::request::layout::MemberPlace;
use crate::request::reader::{self, Reader};

fields::fields! {
    guarded:
        Model "model",
        Input "input",
        MaxOutputTokens "max_output_tokens",
        User "user",
        SafetyIdentifier "safety_identifier",
        Stream "stream",
        Store "store",
        PreviousResponseId "previous_response_id",
        Conversation "conversation",
        Background "background",
        Include "include";
    read:
        Instructions "instructions",
        Tools "tools",
        ToolChoice "tool_choice",
        Reasoning "reasoning",
        Text "text",
        Temperature "temperature",
        TopP "top_p",
        Stop "stop";
}

/// What to do instead of leaning on what a provider keeps.
const SEND_ALL: &str = "the gateway has providers keep nothing, so send the whole conversation in `input`";

/// What a provider would give with its thoughts, so that they can be sent back to it.
const THOUGHTS: &str = "reasoning.encrypted_content";

/// What was said of what the provider keeps, and what it gives so that it need not.
#[derive(Default)]
struct Kept {
    store: Store,
    include: Include,
    /// There are settings for thinking, so the model thinks.
    thinks: bool,
}

#[derive(Default)]
enum Store {
    /// Nothing was said, which means that it keeps the answer.
    #[default]
    Absent,
    /// It is to keep the answer, says this value.
    Asked(Span),
    /// It is not to.
    No,
}

#[derive(Default)]
enum Include {
    #[default]
    Absent,
    Null(Span),
    /// Thoughts are asked for.
    Thoughts,
    Others {
        /// Just after the opening bracket.
        inside: usize,
        empty: bool,
    },
}

/// Reads a request body.
pub(super) fn read(reader: &mut Reader, body: &[u8]) -> Result<(), RequestError> {
    let kept = RefCell::new(Kept::default());
    reader
        .object(body, |reader, field, member, cursor| value(reader, &mut kept.borrow_mut(), field, member, cursor))?;
    // Without a model it is no request.
    let Some(Span { end: after_model, .. }) = reader.layout.model else { return Ok(()) };
    let kept = kept.into_inner();
    let store = match kept.store {
        Store::No => return Ok(()),
        Store::Absent => (after_model..after_model, r#","store":false"#),
        Store::Asked(value) => (value, "false"),
    };
    reader.layout.edits.push(store);
    // A client that has thoughts kept sends back their names, and would lose them. One that says itself that nothing is kept
    // asks for them itself.
    if kept.thinks || reader.model.as_deref().is_some_and(|model| Model::of(model).thinks()) {
        reader.layout.edits.extend(match kept.include {
            Include::Thoughts => None,
            Include::Absent => Some((after_model..after_model, r#","include":["reasoning.encrypted_content"]"#)),
            Include::Null(null) => Some((null, r#"["reasoning.encrypted_content"]"#)),
            Include::Others { inside, empty: true } => Some((inside..inside, r#""reasoning.encrypted_content""#)),
            Include::Others { inside, empty: false } => Some((inside..inside, r#""reasoning.encrypted_content","#)),
        });
    }
    Ok(())
}

fn value(
    reader: &mut Reader,
    kept: &mut Kept,
    field: Field,
    member: &Member<'_>,
    cursor: &mut Cursor<'_>,
) -> Result<(), RequestError> {
    let name = field.name();
    match (field, cursor.kind()?) {
        (Field::Model, _) => reader.model(name, cursor)?,
        (Field::Input, _) => input(reader, name, cursor)?,
        // They identify a person to the provider, so they are noted where they stand.
        (Field::User | Field::SafetyIdentifier, _) => reader.layout.withheld.push(MemberPlace::read(member, cursor)?),
        (Field::Store, Kind::Bool) => {
            let start = cursor.offset();
            let asked = cursor.boolean()?;
            kept.store = if asked { Store::Asked(start..cursor.offset()) } else { Store::No };
        }
        (Field::Store, Kind::Null) => kept.store = Store::Asked(cursor.skip()?),
        (Field::Store, _) => return Err(RequestError::invalid(name, "true or false")),

        (Field::Include, Kind::Null) => kept.include = Include::Null(cursor.skip()?),
        (Field::Include, Kind::Array) => kept.include = include(cursor)?,
        (Field::Include, _) => return Err(RequestError::invalid(name, "an array")),

        // `null` means the same as leaving an optional field out.
        (_, Kind::Null) => {
            cursor.skip()?;
        }

        (Field::PreviousResponseId | Field::Conversation, _) => {
            return Err(RequestError::NotOffered { field: name.into(), fix: SEND_ALL });
        }
        (Field::Background, Kind::Bool) => {
            if cursor.boolean()? {
                let fix = "the gateway answers at once and keeps nothing to ask for later, so leave it out";
                return Err(RequestError::NotOffered { field: name.into(), fix });
            }
        }
        (Field::Background, _) => return Err(RequestError::invalid(name, "true or false")),
        (Field::MaxOutputTokens, _) => reader.token_limit(name, cursor)?,
        (Field::Stream, _) => reader.stream(name, cursor)?,
        (Field::Instructions, _) => reader.system(name, cursor)?,
        (Field::Tools, _) => reader.layout.tools = Some(reader.tools(name, cursor)?),
        (Field::ToolChoice, _) => reader.layout.tool_choice = Some(cursor.skip()?),
        (Field::Temperature, _) => reader.temperature = reader::number(name, cursor)?,
        (Field::TopP, _) => reader.top_p = reader::number(name, cursor)?,
        (Field::Stop, _) => reader.stop(name, cursor)?,

        // The vendor adds settings to these faster than we release. A value we do not know is the provider's to judge.
        (Field::Reasoning, Kind::Object) => {
            kept.thinks = true;
            reasoning(reader, cursor)?;
        }
        (Field::Text, Kind::Object) => reader.output_settings(cursor)?,
        (Field::Reasoning | Field::Text, _) => {
            cursor.skip()?;
        }
    }
    Ok(())
}

/// The conversation: one text, which is the user's, or items.
fn input(reader: &mut Reader, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    match cursor.kind()? {
        Kind::String => {
            let span = reader.text(cursor)?;
            reader.opening.message("user", Some(span.clone()));
            reader.layout.messages = span;
            reader.message_count = Some(1);
        }
        Kind::Array => {
            let mut count = 0;
            let mut previous_end = None;
            reader.layout.messages = cursor.elements(|index, cursor| {
                cursor.kind()?;
                let start = cursor.offset();
                if item(reader, name, index, cursor)? {
                    count += 1;
                } else {
                    reader.layout.withheld.push(MemberPlace::element(start, previous_end, cursor));
                }
                previous_end = Some(cursor.offset());
                Ok::<_, RequestError>(())
            })?;
            if count == 0 {
                return Err(RequestError::invalid(name, "a text, or an array with at least one item"));
            }
            reader.message_count = Some(count);
        }
        _ => return Err(RequestError::invalid(name, "a text, or an array of items")),
    }
    Ok(())
}

/// An item of the conversation: a message, a call of a tool, a result, a thought, and whatever else the vendor thinks of. Says
/// whether it says anything: a thought that has nothing but a name does not, because nobody keeps what it names.
fn item(reader: &mut Reader, name: &str, index: usize, cursor: &mut Cursor<'_>) -> Result<bool, RequestError> {
    if cursor.kind()? != Kind::Object {
        return Err(RequestError::invalid(format!("{name}[{index}]"), "an item, an object with a `type`"));
    }
    let mut kind = None;
    let mut role = None;
    let mut content = None;
    let mut said = None;
    let mut named = false;
    let mut encrypted = false;
    cursor.members(|member, cursor| {
        match (&*member.key, cursor.kind()?) {
            ("type", Kind::String) => kind = Some(cursor.string()?.decode().into_owned()),
            ("role", Kind::String) => role = Some(cursor.string()?.decode().into_owned()),
            ("role", Kind::Null) => {
                cursor.skip()?;
            }
            ("role", _) => return Err(RequestError::invalid(format!("{name}[{index}].role"), "a string")),
            ("content", _) => content = Some(reader.text(cursor)?),
            ("output" | "arguments" | "input", _) => said = Some(reader.text(cursor)?),
            (key, value) => {
                named |= key == "id";
                encrypted |= key == "encrypted_content" && value == Kind::String;
                reader.text(cursor)?;
            }
        }
        Ok(())
    })?;
    let has_content = content.as_ref().is_some_and(|content| content.len() > "null".len());
    match (kind.as_deref(), role) {
        (Some("reasoning"), _) if named && !encrypted && !has_content => return Ok(false),
        (Some("item_reference"), _) => {
            let fix =
                "the gateway has providers keep nothing, so send the item itself; many clients do with `store: false`";
            return Err(RequestError::NotOffered { field: format!("{name}[{index}]").into(), fix });
        }
        (None, None) if named && content.is_none() => {
            let fix =
                "it refers to an item by its id, and the gateway has providers keep nothing: send the item itself";
            return Err(RequestError::NotOffered { field: format!("{name}[{index}]").into(), fix });
        }
        (None | Some("message"), None) => {
            return Err(RequestError::Missing {
                field: format!("{name}[{index}].role").into(),
                fix: "say whose message it is, e.g. \"user\"",
            });
        }
        (_, Some(role)) => reader.opening.message(&role, content),
        (Some(kind), None) => reader.opening.message(kind, content.or(said)),
    }
    Ok(true)
}

/// What the provider is to give beside the answer.
fn include(cursor: &mut Cursor<'_>) -> Result<Include, RequestError> {
    let mut thoughts = false;
    let mut empty = true;
    let span = cursor.elements(|_, cursor| {
        empty = false;
        if cursor.kind()? == Kind::String {
            thoughts |= cursor.string()?.decode() == THOUGHTS;
        } else {
            cursor.skip()?;
        }
        Ok::<_, RequestError>(())
    })?;
    Ok(if thoughts { Include::Thoughts } else { Include::Others { inside: span.start + 1, empty } })
}

/// `reasoning` {effort, summary}.
fn reasoning(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    cursor.members(|member, cursor| {
        match (&*member.key, cursor.kind()?) {
            ("effort", Kind::String) => {
                let effort = Effort::from_name(&cursor.string()?.decode());
                reader.thinking |= effort.is_some_and(|effort| effort > Effort::None);
                reader.effort = effort.or(reader.effort);
            }
            _ => {
                cursor.skip()?;
            }
        }
        Ok::<_, RequestError>(())
    })?;
    Ok(())
}
