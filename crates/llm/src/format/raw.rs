//! Values of a request as they stand in its text, with the path of each for errors and warnings.
//!
//! A request is read level by level, and what passes through is never parsed: the order of members and the way numbers are
//! written survive.

use std::borrow::Cow;

use systemprompt_model::json::{self, Cursor, Kind};

use crate::neutral::Json;
use crate::request::error::RequestError;

/// The members of an object that nobody took yet.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    path: String,
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Object<'a> {
    /// Reads a raw value; `expected` is told if it is no object.
    pub(crate) fn read(raw: &'a str, path: impl Into<String>, expected: &'static str) -> Result<Self, RequestError> {
        let path = path.into();
        if !raw.starts_with('{') {
            return Err(RequestError::invalid(path, expected));
        }
        let mut members: Vec<(Cow<'a, str>, &'a str)> = Vec::new();
        Cursor::new(raw.as_bytes()).members(|member, cursor| {
            members.push((member.key, &raw[cursor.skip()?]));
            Ok::<_, RequestError>(())
        })?;
        Ok(Self { path, members })
    }

    /// The object with other names for its members.
    pub(crate) fn renamed(self, name: fn(&str) -> Cow<'_, str>) -> Self {
        let members = self.members.into_iter().map(|(key, value)| (Cow::Owned(name(&key).into_owned()), value));
        Self { path: self.path, members: members.collect() }
    }

    /// The names of the members that nobody took yet.
    pub(crate) fn names(&self) -> Vec<String> {
        self.members.iter().map(|(name, _)| name.clone().into_owned()).collect()
    }

    /// Where the object stands.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a member.
    pub(crate) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a member; the last one where a name repeats. `null` is the same as none.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a str> {
        let mut found = None;
        self.members.retain(|(key, value)| {
            let wanted = *key == name;
            if wanted {
                found = Some(*value);
            }
            !wanted
        });
        found.filter(|value| *value != "null")
    }

    /// Takes members that mean nothing here.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        self.members.retain(|(key, _)| !names.contains(&key.as_ref()));
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, RequestError> {
        self.take(name).map(|raw| text(raw).ok_or_else(|| RequestError::invalid(self.at(name), "a string"))).transpose()
    }

    /// Takes a text that has to be there.
    pub(crate) fn required_text(&mut self, name: &'static str, fix: &'static str) -> Result<String, RequestError> {
        let missing = RequestError::Missing { field: self.at(name).into(), fix };
        self.text(name)?.ok_or(missing)
    }

    /// Takes true or false.
    pub(crate) fn switch(&mut self, name: &str) -> Result<Option<bool>, RequestError> {
        match self.take(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(RequestError::invalid(self.at(name), "true or false")),
        }
    }

    /// Takes a number.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>, RequestError> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        raw.parse().map(Some).map_err(|_| RequestError::invalid(self.at(name), "a number"))
    }

    /// Takes a whole number, zero or more. Others are the provider's to judge where they mean something, and count as none.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, RequestError> {
        Ok(self.number(name)?.filter(|number| *number >= 0.0).map(|number| number as u64))
    }

    /// Takes an object.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, RequestError> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        Self::read(raw, self.at(name), "an object").map(Some)
    }

    /// Takes the elements of an array, each with its path.
    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<(String, &'a str)>>, RequestError> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        let path = self.at(name);
        elements(raw, &path).map(Some).ok_or_else(|| RequestError::invalid(path, "an array"))
    }

    /// Takes an array of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, RequestError> {
        let list = self.list(name)?.unwrap_or_default();
        list.into_iter().map(|(path, raw)| text(raw).ok_or_else(|| RequestError::invalid(path, "a string"))).collect()
    }

    /// Takes any JSON value, as it stands there.
    pub(crate) fn json(&mut self, name: &str) -> Option<Json> {
        self.take(name).and_then(Json::parse)
    }

    /// The names of the members that nobody took and that are not `null`.
    pub(crate) fn rest(self) -> impl Iterator<Item = String> {
        let Self { path, members } = self;
        members
            .into_iter()
            .filter(|(_, value)| *value != "null")
            .map(move |(key, _)| if path.is_empty() { key.into_owned() } else { format!("{path}.{key}") })
    }
}

/// The text of a raw value, if it is a string.
pub(crate) fn text(raw: &str) -> Option<String> {
    raw.starts_with('"').then(|| json::text(raw.as_bytes())).flatten().map(Cow::into_owned)
}

/// The elements of a raw array, each with its path; `None` if it is none.
pub(crate) fn elements<'a>(raw: &'a str, path: &str) -> Option<Vec<(String, &'a str)>> {
    let mut found = Vec::new();
    let mut cursor = Cursor::new(raw.as_bytes());
    (cursor.kind().ok()? == Kind::Array).then_some(())?;
    cursor
        .elements(|index, cursor| {
            found.push((format!("{path}[{index}]"), &raw[cursor.skip()?]));
            Ok::<_, RequestError>(())
        })
        .ok()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_text_and_their_path() {
        let raw = r#"{"schema": {"b": 1.50, "a": 1e3}, "name": "x\u00e9", "no": null, "list": ["a", "b"], "new": 1}"#;
        let mut object = Object::read(raw, "tools[2]", "a tool").expect("an object");
        assert_eq!(
            object.json("schema").map(|json| json.as_str().to_owned()).as_deref(),
            Some(r#"{"b": 1.50, "a": 1e3}"#)
        );
        assert_eq!(object.text("name"), Ok(Some("xé".to_owned())));
        assert_eq!(object.texts("list"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(object.rest().collect::<Vec<_>>(), ["tools[2].new"]);

        let mut object = Object::read(raw, "tools[2]", "a tool").expect("an object");
        let error = object.text("list").expect_err("no text");
        assert_eq!(error.field(), Some("tools[2].list"));
        let error = Object::read("[]", "tools[2]", "a tool").expect_err("no object");
        assert_eq!(error.to_string(), "`tools[2]` must be a tool");
    }
}
