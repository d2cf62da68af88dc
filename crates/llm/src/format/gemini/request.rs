//! Reading the body of `generateContent` and `streamGenerateContent`.

use std::borrow::Cow;

use systemprompt_model::json::{Cursor, Kind, Member, Span};

use crate::request::error::RequestError;
use crate::request::facts::{Effort, ResponseFormat};
use crate::request::fields::{self, Field as _};
use crate::request::layout::MemberPlace;
use crate::request::reader::{self, Reader};

fields::fields! {
    guarded:
        Model "model",
        Contents "contents",
        GenerationConfig "generationConfig" | "generation_config";
    read:
        SystemInstruction "systemInstruction" | "system_instruction",
        Tools "tools",
        ToolConfig "toolConfig" | "tool_config";
}

/// Reads a request body.
pub(super) fn read(reader: &mut Reader, body: &[u8]) -> Result<(), RequestError> {
    reader.object(body, value)
}

fn value(reader: &mut Reader, field: Field, member: &Member<'_>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let name = field.name();
    match (field, cursor.kind()?) {
        // Programs repeat it here, and the provider's path has the provider's name for it.
        (Field::Model, _) => reader.layout.withheld.push(MemberPlace::read(member, cursor)?),
        (Field::Contents, _) => contents(reader, name, cursor)?,

        // `null` means the same as leaving an optional field out.
        (_, Kind::Null) => {
            cursor.skip()?;
        }

        (Field::GenerationConfig, Kind::Object) => generation_config(reader, cursor)?,
        (Field::GenerationConfig, _) => return Err(RequestError::invalid(name, "an object")),
        (Field::SystemInstruction, Kind::Object) => {
            if let (_, Some(parts)) = content(reader, name, cursor)? {
                reader.opening.system.push(parts);
            }
        }
        (Field::SystemInstruction, _) => {
            let span = reader.text(cursor)?;
            reader.opening.system.push(span);
        }
        (Field::Tools, _) => tools(reader, cursor)?,
        (Field::ToolConfig, Kind::Object) => {
            cursor.members(|member, cursor| {
                let value = cursor.skip()?;
                if camel(&member.key) == "functionCallingConfig" {
                    reader.layout.tool_choice = Some(value);
                }
                Ok::<_, RequestError>(())
            })?;
        }
        (Field::ToolConfig, _) => {
            cursor.skip()?;
        }
    }
    Ok(())
}

/// A key in the spelling of the documentation: `max_output_tokens` is `maxOutputTokens`.
pub(super) fn camel(key: &str) -> Cow<'_, str> {
    if !key.contains('_') {
        return Cow::Borrowed(key);
    }
    let mut capital = false;
    let mut spelled = String::with_capacity(key.len());
    for character in key.chars() {
        if character == '_' {
            capital = true;
        } else if std::mem::take(&mut capital) {
            spelled.extend(character.to_uppercase());
        } else {
            spelled.push(character);
        }
    }
    Cow::Owned(spelled)
}

/// Reads the conversation: an array of contents, or one, which Google takes too.
fn contents(reader: &mut Reader, name: &'static str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let start = cursor.offset();
    let mut count = 0;
    match cursor.kind()? {
        Kind::Object => {
            message(reader, name, cursor)?;
            count = 1;
        }
        Kind::Array => {
            cursor.elements(|index, cursor| {
                count = index + 1;
                let path = format!("{name}[{index}]");
                if cursor.kind()? != Kind::Object {
                    return Err(RequestError::invalid(path, "an object with `role` and `parts`"));
                }
                message(reader, &path, cursor)
            })?;
        }
        _ => return Err(RequestError::invalid(name, "an array of contents")),
    }
    reader.layout.messages = start..cursor.offset();
    if count == 0 {
        return Err(RequestError::invalid(name, "an array with at least one content"));
    }
    reader.message_count = Some(count);
    Ok(())
}

fn message(reader: &mut Reader, path: &str, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let (role, parts) = content(reader, path, cursor)?;
    // Who says nothing of it is the user.
    reader.opening.message(role.as_deref().unwrap_or("user"), parts);
    Ok(())
}

/// Reads a content: whose it is, and where its parts are.
fn content(
    reader: &mut Reader,
    path: &str,
    cursor: &mut Cursor<'_>,
) -> Result<(Option<String>, Option<Span>), RequestError> {
    let mut role = None;
    let mut parts = None;
    cursor.members(|member, cursor| {
        match (&*member.key, cursor.kind()?) {
            ("role", Kind::Null) => {
                cursor.skip()?;
            }
            ("role", Kind::String) => role = Some(cursor.string()?.decode().to_ascii_lowercase()),
            ("role", _) => return Err(RequestError::invalid(format!("{path}.role"), "a string")),
            ("parts", _) => parts = Some(reader.text(cursor)?),
            _ => {
                reader.text(cursor)?;
            }
        }
        Ok(())
    })?;
    Ok((role, parts))
}

/// Reads the tools: functions in one list or several, and tools of the vendor beside them.
fn tools(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    match cursor.kind()? {
        Kind::Object => tool(reader, cursor),
        Kind::Array => cursor.elements(|_, cursor| tool(reader, cursor)).map(drop),
        _ => Err(RequestError::invalid("tools", "an array of tools")),
    }
}

fn tool(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    if cursor.kind()? != Kind::Object {
        return reader.text(cursor).map(drop);
    }
    cursor.members(|member, cursor| {
        if camel(&member.key) == "functionDeclarations" && cursor.kind()? == Kind::Array {
            let declarations = reader.tools("tools", cursor)?;
            reader.layout.tools.get_or_insert(declarations);
        } else {
            reader.tools += usize::from(cursor.kind()? != Kind::Null);
            reader.text(cursor)?;
        }
        Ok::<_, RequestError>(())
    })?;
    Ok(())
}

fn generation_config(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let mut asks_for_json = false;
    let mut has_schema = false;
    cursor.members(|member, cursor| {
        let key = camel(&member.key);
        fields::refuse_misspelled(&key, "maxOutputTokens")?;
        match (&*key, cursor.kind()?) {
            (_, Kind::Null) => {
                cursor.skip()?;
            }
            ("maxOutputTokens", _) => reader.token_limit("generationConfig.maxOutputTokens", cursor)?,
            ("candidateCount", _) => reader.answers("generationConfig.candidateCount", cursor)?,
            ("temperature", _) => reader.temperature = reader::number("generationConfig.temperature", cursor)?,
            ("topP", _) => reader.top_p = reader::number("generationConfig.topP", cursor)?,
            ("stopSequences", _) => reader.stop("generationConfig.stopSequences", cursor)?,
            ("responseMimeType", Kind::String) => {
                asks_for_json = matches!(&*cursor.string()?.decode(), "application/json" | "text/x.enum");
            }
            ("responseSchema" | "responseJsonSchema", _) => {
                has_schema = true;
                reader.text(cursor)?;
            }
            ("thinkingConfig", Kind::Object) => thinking_config(reader, cursor)?,
            ("responseModalities", Kind::Array) => cursor
                .elements(|_, cursor| {
                    if cursor.kind()? == Kind::String {
                        reader.makes_images |= cursor.string()?.decode().eq_ignore_ascii_case("image");
                    } else {
                        cursor.skip()?;
                    }
                    Ok::<_, RequestError>(())
                })
                .map(drop)?,
            _ => {
                cursor.skip()?;
            }
        }
        Ok::<_, RequestError>(())
    })?;
    reader.response_format = match (asks_for_json, has_schema) {
        (_, true) => ResponseFormat::JsonSchema,
        (true, false) => ResponseFormat::JsonObject,
        (false, false) => ResponseFormat::Text,
    };
    Ok(())
}

/// {thinkingBudget, thinkingLevel, includeThoughts}. A budget of −1 leaves it to the model, one of 0 forbids it.
fn thinking_config(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let mut budgets = Vec::new();
    let mut asked = false;
    let mut forbidden = false;
    cursor.members(|member, cursor| {
        match (&*camel(&member.key), cursor.kind()?) {
            // A negative one is no budget, but thinking all the same.
            ("thinkingBudget", Kind::Number) => {
                reader::budget(&mut budgets, cursor)?;
                asked |= budgets.is_empty();
            }
            ("thinkingLevel", Kind::String) => {
                reader.effort = Effort::from_name(&cursor.string()?.decode().to_ascii_lowercase()).or(reader.effort);
                asked = true;
            }
            ("includeThoughts", Kind::Bool) => asked |= cursor.boolean()?,
            _ => {
                cursor.skip()?;
            }
        }
        Ok::<_, RequestError>(())
    })?;
    budgets.retain(|budget| {
        forbidden |= budget.value == 0;
        budget.value > 0
    });
    if forbidden {
        reader.effort = Some(Effort::None);
    } else if asked || !budgets.is_empty() {
        reader.thinks(budgets);
    }
    Ok(())
}
