//! Reading a request of OpenAI's API for images.

use systemprompt_model::json::{Cursor, Kind, Member};

use crate::request::error::RequestError;
use crate::request::fields::{self, Field as _};
use crate::request::layout::MemberPlace;
use crate::request::reader::Reader;

fields::fields! {
    guarded:
        Model "model",
        Prompt "prompt",
        User "user",
        N "n";
    read:
        Images "images";
}

/// Reads a request of OpenAI's API for images.
pub(crate) fn read(reader: &mut Reader, body: &[u8]) -> Result<(), RequestError> {
    reader.object(body, value)
}

fn value(reader: &mut Reader, field: Field, member: &Member<'_>, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
    let name = field.name();
    match (field, cursor.kind()?) {
        (Field::Model, _) => reader.model(name, cursor)?,
        (Field::Prompt, Kind::String) => {
            reader.text(cursor)?;
            reader.message_count = Some(1);
        }
        (Field::Prompt, _) => return Err(RequestError::invalid(name, "a text")),
        (Field::User, _) => reader.layout.withheld.push(MemberPlace::read(member, cursor)?),
        (Field::N, _) => reader.answers(name, cursor)?,
        (Field::Images, _) => {
            reader.text(cursor)?;
        }
    }
    reader.makes_images = true;
    Ok(())
}
