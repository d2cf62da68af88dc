//! Reading `POST /v1/chat/completions`.

use systemprompt_model::json::{Cursor, Kind, Member};

use crate::request::error::RequestError;
use crate::request::facts::Effort;
use crate::request::fields::{self, Field as _};
use crate::request::layout::{MemberPlace, StreamOptions};
use crate::request::reader::{self, Reader};

fields::fields! {
    guarded:
        Model "model",
        Messages "messages",
        MaxTokens "max_tokens",
        MaxCompletionTokens "max_completion_tokens",
        User "user",
        Stream "stream",
        StreamOptions "stream_options";
    read:
        Tools "tools",
        Functions "functions",
        ToolChoice "tool_choice",
        ReasoningEffort "reasoning_effort",
        Reasoning "reasoning",
        Thinking "thinking",
        ResponseFormat "response_format",
        Temperature "temperature",
        TopP "top_p",
        Stop "stop",
        N "n";
}

/// Reads a request body.
pub(super) fn read(reader: &mut Reader, body: &[u8]) -> Result<(), RequestError> {
    reader.layout.stream_options = Some(StreamOptions::Absent);
    reader.object(body, value)
}

fn value(reader: &mut Reader, field: Field, member: &Member<'_>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let name = field.name();
    match (field, cursor.kind()?) {
        (Field::Model, _) => reader.model(name, cursor)?,
        (Field::Messages, _) => reader.messages(name, cursor)?,
        // It identifies a person to the provider, so it is noted where it stands.
        (Field::User, _) => reader.layout.withheld.push(MemberPlace::read(member, cursor)?),
        (Field::StreamOptions, Kind::Null) => {
            reader.layout.stream_options = Some(StreamOptions::Null(cursor.skip()?));
        }

        // `null` means the same as leaving an optional field out.
        (_, Kind::Null) => {
            cursor.skip()?;
        }

        (Field::MaxTokens | Field::MaxCompletionTokens, _) => reader.token_limit(name, cursor)?,
        (Field::N, _) => reader.answers(name, cursor)?,
        (Field::Stream, _) => reader.stream(name, cursor)?,
        (Field::StreamOptions, Kind::Object) => stream_options(reader, cursor)?,
        (Field::StreamOptions, _) => return Err(RequestError::invalid(name, "an object")),
        (Field::Tools, _) => reader.layout.tools = Some(reader.tools(name, cursor)?),
        (Field::Functions, _) => {
            reader.tools(name, cursor)?;
        }
        (Field::ToolChoice, _) => reader.layout.tool_choice = Some(cursor.skip()?),
        (Field::Temperature, _) => reader.temperature = reader::number(name, cursor)?,
        (Field::TopP, _) => reader.top_p = reader::number(name, cursor)?,
        (Field::Stop, _) => reader.stop(name, cursor)?,

        // Vendors add settings to these faster than we release. A value we do not know is the provider's to judge.
        (Field::ReasoningEffort, Kind::String) => {
            let effort = Effort::from_name(&cursor.string()?.decode());
            reader.thinking |= effort.is_some_and(|effort| effort > Effort::None);
            reader.effort = effort.or(reader.effort);
        }
        (Field::Reasoning, Kind::Object) => reasoning(reader, cursor)?,
        (Field::Thinking, Kind::Object) => reader.thinking(cursor)?,
        (Field::ResponseFormat, Kind::Object) => reader.output_settings(cursor)?,
        (Field::ReasoningEffort | Field::Reasoning | Field::Thinking | Field::ResponseFormat, _) => {
            cursor.skip()?;
        }
    }
    Ok(())
}

/// The settings of servers that lead to models of many vendors: {effort, max_tokens, enabled}.
fn reasoning(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let mut enabled = None;
    let mut effort = None;
    let mut budgets = Vec::new();
    cursor.members(|member, cursor| {
        match (&*member.key, cursor.kind()?) {
            ("effort", Kind::String) => effort = Effort::from_name(&cursor.string()?.decode()),
            ("max_tokens", Kind::Number) => reader::budget(&mut budgets, cursor)?,
            ("enabled", Kind::Bool) => enabled = Some(cursor.boolean()?),
            _ => {
                cursor.skip()?;
            }
        }
        Ok::<_, RequestError>(())
    })?;
    reader.effort = reader.effort.or(effort);
    let asked = effort.is_some_and(|effort| effort > Effort::None) || budgets.iter().any(|budget| budget.value > 0);
    if enabled.unwrap_or(asked) {
        reader.thinks(budgets);
    }
    Ok(())
}

fn stream_options(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let mut include_usage = None;
    let mut empty = true;
    let span = cursor.members(|member, cursor| {
        empty = false;
        fields::refuse_misspelled(&member.key, "include_usage")?;
        if member.key != "include_usage" {
            return cursor.skip().map(drop).map_err(RequestError::from);
        }
        if include_usage.is_some() {
            return Err(RequestError::Duplicate { field: "stream_options.include_usage" });
        }
        let kind = cursor.kind()?;
        let start = cursor.offset();
        let asked = match kind {
            Kind::Bool => cursor.boolean()?,
            Kind::Null => {
                cursor.skip()?;
                false
            }
            _ => return Err(RequestError::invalid("stream_options.include_usage", "true or false")),
        };
        include_usage = Some((asked, start..cursor.offset()));
        Ok(())
    })?;
    reader.layout.stream_options = Some(StreamOptions::Object { inside: span.start + 1, empty, include_usage });
    Ok(())
}
