//! Reading `POST /v1/messages`.

use systemprompt_model::json::{Cursor, Kind, Member};

use crate::request::error::RequestError;
use crate::request::fields::{self, Field as _};
use crate::request::layout::MemberPlace;
use crate::request::reader::{self, Reader};

fields::fields! {
    guarded:
        Model "model",
        Messages "messages",
        MaxTokens "max_tokens",
        Metadata "metadata",
        Stream "stream";
    read:
        System "system",
        Tools "tools",
        ToolChoice "tool_choice",
        Thinking "thinking",
        OutputConfig "output_config",
        OutputFormat "output_format",
        Temperature "temperature",
        TopP "top_p",
        StopSequences "stop_sequences";
}

/// Reads a request body.
pub(super) fn read(reader: &mut Reader, body: &[u8]) -> Result<(), RequestError> {
    reader.max_tokens_required = true;
    reader.object(body, value)
}

fn value(reader: &mut Reader, field: Field, _: &Member<'_>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let name = field.name();
    match (field, cursor.kind()?) {
        (Field::Model, _) => reader.model(name, cursor)?,
        (Field::Messages, _) => reader.messages(name, cursor)?,

        // `null` means the same as leaving an optional field out.
        (_, Kind::Null) => {
            cursor.skip()?;
        }

        (Field::MaxTokens, _) => reader.token_limit(name, cursor)?,
        (Field::Metadata, Kind::Object) => metadata(reader, cursor)?,
        (Field::Metadata, _) => return Err(RequestError::invalid(name, "an object")),
        (Field::Stream, _) => reader.stream(name, cursor)?,
        (Field::System, _) => reader.system(name, cursor)?,
        (Field::Tools, _) => reader.layout.tools = Some(reader.tools(name, cursor)?),
        (Field::ToolChoice, _) => reader.layout.tool_choice = Some(cursor.skip()?),
        (Field::Temperature, _) => reader.temperature = reader::number(name, cursor)?,
        (Field::TopP, _) => reader.top_p = reader::number(name, cursor)?,
        (Field::StopSequences, _) => reader.stop(name, cursor)?,

        // Vendors add settings to these faster than we release. A value we do not know is the provider's to judge.
        (Field::Thinking, Kind::Object) => reader.thinking(cursor)?,
        (Field::OutputConfig | Field::OutputFormat, Kind::Object) => reader.output_settings(cursor)?,
        (Field::Thinking | Field::OutputConfig | Field::OutputFormat, _) => {
            cursor.skip()?;
        }
    }
    Ok(())
}

/// `metadata.user_id` identifies a person to the provider, so it is noted where it stands.
fn metadata(reader: &mut Reader, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    cursor.members(|member, cursor| {
        fields::refuse_misspelled(&member.key, "user_id")?;
        let place = MemberPlace::read(&member, cursor)?;
        if member.key == "user_id" {
            if !reader.layout.withheld.is_empty() {
                return Err(RequestError::Duplicate { field: "metadata.user_id" });
            }
            reader.layout.withheld.push(place);
        }
        Ok(())
    })?;
    Ok(())
}
