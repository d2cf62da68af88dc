//! JSON Schema: composed of the types, and its errors told as sentences.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::{Value, json};

use crate::document::{Document, child, dotted};
use crate::nearest::nearest;
use crate::profile::Profile;
use crate::report::Problem;
use crate::section::{Place, SectionSpec};

/// The JSON Schema (draft 2020-12) of `profile.yaml`: the core keys and those of the sections.
/// The schemas of service documents stand in its `$defs` under their path, for editors and the reference.
pub fn json_schema(sections: &[SectionSpec]) -> Value {
    let mut root = profile_schema(sections);
    for section in sections {
        if let Place::Service { path, key } = &section.place {
            let name = format!("services.{}.{key}", path.replace('/', "."));
            let wrapped = wrap(key, &name, &section.schema);
            let definitions = root["$defs"].as_object_mut().expect("the profile has definitions");
            match definitions.get_mut(*path).and_then(|document| document["properties"].as_object_mut()) {
                Some(properties) => {
                    properties.extend(wrapped["properties"].as_object().cloned().unwrap_or_default());
                }
                None => _ = definitions.insert((*path).to_owned(), without_definitions(&wrapped)),
            }
            definitions.extend(wrapped["$defs"].as_object().cloned().unwrap_or_default());
        }
    }
    root
}

fn without_definitions(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.remove("$defs");
    }
    schema
}

/// The schema the profile is validated against.
pub(crate) fn profile_schema(sections: &[SectionSpec]) -> Value {
    let mut root = schemars::generate::SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator()
        .into_root_schema_for::<Profile>()
        .to_value();
    for section in sections {
        match &section.place {
            Place::Profile { key } => {
                let wrapped = wrap(key, key, &section.schema);
                root["properties"][*key] = wrapped["properties"][*key].clone();
                let definitions = root["$defs"].as_object_mut().expect("the profile has definitions");
                definitions.extend(wrapped["$defs"].as_object().cloned().unwrap_or_default());
            }
            // Its required keys may stand in the service document, so the parts are validated once they are joined.
            Place::Extension { prefix } => {
                let description = format!("Settings of the extension `{}`.", section.extension);
                root["$defs"]["Extensions"]["properties"][prefix.as_str()] =
                    json!({"type": "object", "description": description});
            }
            Place::Service { .. } => {}
        }
    }
    root["$defs"]["Extensions"]["additionalProperties"] = Value::Bool(false);
    root
}

/// The schema of a map in which `key` holds what `schema` says; that stands in the definitions, under `name`.
pub(crate) fn wrap(key: &str, name: &str, schema: &Value) -> Value {
    let mut inner = schema.clone();
    if let Some(map) = inner.as_object_mut() {
        map.remove("$schema");
    }
    let place = format!("#/$defs/{}", &child("", name)[1..]);
    move_references(&mut inner, &place);
    bound(&mut inner);
    json!({
        "type": "object",
        "properties": {key: {"$ref": place}},
        "additionalProperties": false,
        "$defs": {name: inner},
    })
}

/// Bounds every whole number by the type that holds it, which the schema names as its format: what the schema lets pass can
/// be read.
fn bound(schema: &mut Value) {
    if let Some(map) = schema.as_object_mut()
        && let Some((least, most)) = map.get("format").and_then(Value::as_str).and_then(range)
    {
        map.entry("minimum").or_insert(least);
        map.entry("maximum").or_insert(most);
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(bound),
        Value::Array(list) => list.iter_mut().for_each(bound),
        _ => {}
    }
}

fn range(format: &str) -> Option<(Value, Value)> {
    Some(match format {
        "uint8" => (u8::MIN.into(), u8::MAX.into()),
        "uint16" => (u16::MIN.into(), u16::MAX.into()),
        "uint32" => (u32::MIN.into(), u32::MAX.into()),
        "uint64" | "uint" => (u64::MIN.into(), u64::MAX.into()),
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    })
}

/// References from the root of a schema, once it no longer is the root.
fn move_references(schema: &mut Value, place: &str) {
    match schema {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match value {
                    Value::String(target) if name == "$ref" && (target == "#" || target.starts_with("#/")) => {
                        *target = format!("{place}{}", &target[1..]);
                    }
                    other => move_references(other, place),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|element| move_references(element, place)),
        _ => {}
    }
}

/// Validates a document and tells every error. Texts that came from variables become the numbers and switches that their
/// fields expect.
pub(crate) fn validate(schema: &Value, document: &mut Document, domain: &str) -> Vec<Problem> {
    let validator = match jsonschema::options().build(schema) {
        Ok(validator) => validator,
        Err(error) => {
            let message = format!("the schema of this section is not valid: {error}");
            return vec![Problem::error(domain, "", message).code("invalid_schema")];
        }
    };
    make_whole(&mut document.value);
    coerce(&validator, document);
    let mut problems = Vec::new();
    for error in validator.iter_errors(&document.value) {
        tell(&error, schema, document, domain, &mut problems);
    }
    problems
}

/// Below it every whole number is exact, however it is spelled: 2^53.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Whole numbers in another spelling, such as `1e3`, become whole numbers: a schema takes one for the other, and a type that
/// has no fractions does not.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < WHOLE) {
                *value = (float as i64).into();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(make_whole),
        Value::Object(map) => map.values_mut().for_each(make_whole),
        _ => {}
    }
}

/// Each round turns texts into other types, so there are no more rounds than interpolated texts.
fn coerce(validator: &Validator, document: &mut Document) {
    while !document.interpolated.is_empty() {
        let mut changes = Vec::new();
        for error in validator.iter_errors(&document.value) {
            find_coercions(&error, document, &mut changes);
        }
        if changes.is_empty() {
            return;
        }
        for (pointer, value) in changes {
            if let Some(node) = document.value.pointer_mut(&pointer) {
                *node = value;
            }
        }
    }
}

fn find_coercions(error: &ValidationError<'_>, document: &Document, changes: &mut Vec<(String, Value)>) {
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let pointer = error.instance_path().as_str();
            let Some(Value::String(text)) = document.get(pointer) else { return };
            if document.interpolated.contains(pointer)
                && let Some(value) = types(kind).into_iter().find_map(|expected| coerced(text, expected))
            {
                changes.push((pointer.to_owned(), value));
            }
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|inner| find_coercions(inner, document, changes));
        }
        _ => {}
    }
}

pub(crate) fn coerced(text: &str, expected: JsonType) -> Option<Value> {
    match expected {
        JsonType::Boolean => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        JsonType::Integer => {
            text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
        }
        JsonType::Number => coerced(text, JsonType::Integer)
            .or_else(|| Some(Value::Number(serde_json::Number::from_f64(text.parse().ok()?)?))),
        JsonType::Null | JsonType::String | JsonType::Array | JsonType::Object => None,
    }
}

fn types(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
}

fn tell(error: &ValidationError<'_>, schema: &Value, document: &Document, domain: &str, problems: &mut Vec<Problem>) {
    let pointer = error.instance_path().as_str();
    let at = |pointer: &str, message: String| {
        Problem::error(domain, dotted(pointer), message).at_option(document.locate(pointer))
    };
    let got = || describe(document, pointer);
    let sentence = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = known_keys(schema, error.schema_path().as_str());
            for key in unexpected {
                problems.push(unknown_key(document, pointer, key, &known, domain));
            }
            return;
        }
        ValidationErrorKind::Required { property } => {
            let missing = child(pointer, property.as_str().unwrap_or_default());
            problems.push(at(&missing, "is required".to_owned()).code("missing_key"));
            return;
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            if let Some(options) = constants(context, pointer) {
                problems.push(not_an_option(at(pointer, String::new()), &options, document, pointer));
                return;
            }
            if let Some((tag, options)) = unknown_tag(context, pointer) {
                problems.push(not_an_option(at(&tag, String::new()), &options, document, &tag));
                return;
            }
            match best_branch(context, pointer) {
                Some(branch) => {
                    for inner in branch {
                        tell(inner, schema, document, domain, problems);
                    }
                    return;
                }
                None => format!("has none of the accepted forms, got {}", got()),
            }
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<_> = options.as_array().into_iter().flatten().cloned().collect();
            problems.push(not_an_option(at(pointer, String::new()), &options, document, pointer));
            return;
        }
        ValidationErrorKind::Constant { expected_value } => {
            let options = [expected_value.as_ref().clone()];
            problems.push(not_an_option(at(pointer, String::new()), &options, document, pointer));
            return;
        }
        ValidationErrorKind::Type { kind } => {
            let names: Vec<_> = types(kind).into_iter().filter(|kind| *kind != JsonType::Null).map(type_name).collect();
            problems.push(at(pointer, format!("must be {}, got {}", names.join(" or "), got())).code("wrong_type"));
            return;
        }
        ValidationErrorKind::Minimum { limit } => format!("must be {limit} or more, got {}", got()),
        ValidationErrorKind::Maximum { limit } => format!("must be {limit} or less, got {}", got()),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}, got {}", got()),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}, got {}", got()),
        ValidationErrorKind::MinLength { limit: 1 } | ValidationErrorKind::MinItems { limit: 1 } => {
            "must not be empty".to_owned()
        }
        ValidationErrorKind::MinLength { limit } => format!("must be at least {limit} characters long"),
        ValidationErrorKind::MaxLength { limit } => format!("must be at most {limit} characters long"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} elements"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} elements"),
        ValidationErrorKind::AdditionalItems { limit } => format!("must have at most {limit} elements"),
        ValidationErrorKind::MinProperties { limit } => format!("must have at least {limit} keys"),
        ValidationErrorKind::MaxProperties { limit } => format!("must have at most {limit} keys"),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            format!("must be a multiple of {multiple_of}, got {}", got())
        }
        ValidationErrorKind::Pattern { pattern } => format!("must match `{pattern}`, got {}", got()),
        ValidationErrorKind::Format { format } => format!("must be a valid {format}, got {}", got()),
        ValidationErrorKind::UniqueItems => "must not hold the same element twice".to_owned(),
        ValidationErrorKind::PropertyNames { error } => format!("has a key that is not accepted: {}", error.masked()),
        ValidationErrorKind::OneOfMultipleValid { .. } => "has more than one of the accepted forms".to_owned(),
        ValidationErrorKind::FalseSchema => "is not accepted here".to_owned(),
        ValidationErrorKind::BacktrackLimitExceeded { .. }
        | ValidationErrorKind::RegexEngineFailure { .. }
        | ValidationErrorKind::Contains
        | ValidationErrorKind::ContentEncoding { .. }
        | ValidationErrorKind::ContentMediaType { .. }
        | ValidationErrorKind::Custom { .. }
        | ValidationErrorKind::FromUtf8 { .. }
        | ValidationErrorKind::Not { .. }
        | ValidationErrorKind::UnevaluatedItems { .. }
        | ValidationErrorKind::Referencing(_) => error.masked().to_string(),
    };
    problems.push(at(pointer, sentence));
}

/// An unknown key, with the key that was probably meant.
pub(crate) fn unknown_key(document: &Document, parent: &str, key: &str, known: &[&str], domain: &str) -> Problem {
    let pointer = child(parent, key);
    let problem = Problem::error(domain, dotted(&pointer), "is not a known key")
        .at_option(document.locate(&pointer))
        .code("unknown_key");
    match nearest(key, known.iter().copied()) {
        Some(meant) => problem.suggest(format!("did you mean `{meant}`?")),
        None if known.is_empty() => problem.suggest("remove it"),
        None => problem.suggest(format!("remove it; the keys here are {}", known.join(", "))),
    }
}

/// The keys of the map whose `additionalProperties` failed.
fn known_keys<'a>(schema: &'a Value, keyword: &str) -> Vec<&'a str> {
    let parent = keyword.rfind('/').map_or("", |at| &keyword[..at]);
    let map = schema.pointer(parent).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    map.map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// The values of an enumeration that is written as one form per value.
fn constants(context: &[Vec<ValidationError<'static>>], pointer: &str) -> Option<Vec<Value>> {
    let mut options = Vec::new();
    for error in context.iter().flatten().filter(|error| error.instance_path().as_str() == pointer) {
        match error.kind() {
            ValidationErrorKind::Constant { expected_value } => options.push(expected_value.as_ref().clone()),
            ValidationErrorKind::Enum { options: several } => options.extend(several.as_array().cloned()?),
            // `null` beside the values is how an absent option is written.
            ValidationErrorKind::Type { .. } => {}
            ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
                options.extend(constants(context, pointer)?);
            }
            _ => return None,
        }
    }
    (!options.is_empty() && context.iter().flatten().all(|error| error.instance_path().as_str() == pointer))
        .then_some(options)
}

/// Where none of several forms fits because of the field that chooses between them: that field, and what it may be.
fn unknown_tag(context: &[Vec<ValidationError<'static>>], pointer: &str) -> Option<(String, Vec<Value>)> {
    let mut tag: Option<String> = None;
    let mut options = Vec::new();
    for branch in context {
        let mut misfit = false;
        for error in branch {
            let at = error.instance_path().as_str();
            let (at, several) = match error.kind() {
                ValidationErrorKind::Constant { expected_value } => {
                    (at.to_owned(), vec![expected_value.as_ref().clone()])
                }
                // A form whose tag may be of many.
                ValidationErrorKind::Pattern { .. } => (at.to_owned(), Vec::new()),
                ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }
                    if at == pointer =>
                {
                    let Some(inner) = unknown_tag(context, pointer) else { continue };
                    inner
                }
                _ => continue,
            };
            if at == pointer || tag.as_ref().is_some_and(|tag| *tag != at) {
                continue;
            }
            tag = Some(at);
            options.extend(several);
            misfit = true;
        }
        if !misfit {
            return None;
        }
    }
    Some((tag?, options)).filter(|(_, options)| options.len() > 1)
}

/// The form the writer had in mind: the one whose own kind of value and tag fit, or the only one that is not `null`.
fn best_branch<'a>(
    context: &'a [Vec<ValidationError<'static>>],
    pointer: &str,
) -> Option<&'a [ValidationError<'static>]> {
    let misfit = |branch: &[ValidationError<'static>]| {
        branch.iter().any(|error| match error.kind() {
            ValidationErrorKind::Type { .. } => error.instance_path().as_str() == pointer,
            ValidationErrorKind::Constant { .. } => true,
            _ => false,
        })
    };
    let only_null = |branch: &[ValidationError<'static>]| matches!(branch, [error] if matches!(error.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Null) }));
    let fitting: Vec<_> = context.iter().map(Vec::as_slice).filter(|branch| !misfit(branch)).collect();
    match fitting.as_slice() {
        [] => {
            match context.iter().map(Vec::as_slice).filter(|branch| !only_null(branch)).collect::<Vec<_>>().as_slice() {
                [only] => Some(only),
                _ => None,
            }
        }
        several => several.iter().copied().min_by_key(|branch| branch.len()),
    }
}

fn not_an_option(mut problem: Problem, options: &[Value], document: &Document, pointer: &str) -> Problem {
    let texts: Vec<_> = options.iter().filter(|option| !option.is_null()).map(plain).collect();
    let list = texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ");
    let one_of = if texts.len() == 1 { "must be" } else { "must be one of" };
    problem.message = format!("{one_of} {list}, got {}", describe(document, pointer));
    if let Some(Value::String(text)) = document.get(pointer)
        && let Some(meant) = nearest(text, texts.iter().map(String::as_str))
    {
        problem.suggestion = Some(format!("did you mean `{meant}`?"));
    }
    problem.code("invalid_value")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The value for a message: short, and not at all if it came from a variable.
fn describe(document: &Document, pointer: &str) -> String {
    if document.interpolated.contains(pointer) {
        return "a text that came from a variable".to_owned();
    }
    match document.get(pointer) {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::Bool(flag)) => format!("`{flag}`"),
        Some(Value::Number(number)) => format!("`{number}`"),
        Some(Value::String(text)) if text.chars().count() > 60 => "a longer text".to_owned(),
        Some(Value::String(text)) => format!("the text `{text}`"),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "a map".to_owned(),
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "a map",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;
    use crate::interpolation::{Variables, resolve};
    use crate::yaml;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Sample {
        count: u16,
        #[serde(default)]
        ratio: Option<f64>,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        kind: Option<Kind>,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        shapes: Vec<Shape>,
        #[serde(default)]
        #[schemars(length(min = 3), regex(pattern = "^[a-z]+$"))]
        word: Option<String>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        /// The first.
        First,
        /// The second.
        Second,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Inner {
        level: u8,
        next: Option<Box<Inner>>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema matters")]
    enum Shape {
        Circle { radius: f64 },
        Square { side: f64 },
    }

    fn check(text: &str) -> Vec<String> {
        let mut document = yaml::parse(text, Path::new("f.yaml"), "test").unwrap();
        let lookup = |name: &str| Some(name.to_lowercase().replace("n_", ""));
        resolve(&mut document, &Variables { lookup: &lookup, nested: false, source: "" }, "test");
        let schema = wrap("sample", "sample", &schemars::schema_for!(Sample).to_value());
        let problems = validate(&schema, &mut document, "test");
        let line = |p: &Problem| {
            let hint = p.suggestion.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}: {p}{hint}", p.line.unwrap())
        };
        problems.iter().map(line).collect()
    }

    /// Nothing that is computed with a number of the profile overflows.
    #[test]
    fn every_number_of_the_profile_has_a_largest_value() {
        fn walk(path: &str, value: &Value, unbounded: &mut Vec<String>) {
            let is_integer =
                value["type"] == "integer" || value["type"].as_array().is_some_and(|of| of.contains(&"integer".into()));
            if is_integer && value.get("maximum").is_none() {
                unbounded.push(path.to_owned());
            }
            match value {
                Value::Object(map) => map.iter().for_each(|(key, of)| walk(&format!("{path}/{key}"), of, unbounded)),
                Value::Array(list) => list.iter().for_each(|of| walk(path, of, unbounded)),
                _ => {}
            }
        }
        let mut unbounded = Vec::new();
        walk("", &profile_schema(&[]), &mut unbounded);
        assert!(unbounded.is_empty(), "{unbounded:?}");
        // Sections of features are bounded by their types.
        walk("", &wrap("numbers", "numbers", &schemars::schema_for!(Numbers).to_value()), &mut unbounded);
        assert!(unbounded.is_empty(), "{unbounded:?}");
    }

    #[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Numbers {
        small: u32,
        some: Option<u32>,
        large: u64,
        count: usize,
        signed: i32,
        wide: Option<i64>,
        not_zero: Option<std::num::NonZeroU32>,
        list: Vec<u16>,
        ratio: f64,
    }

    #[test]
    fn what_passes_the_schema_can_be_read_as_its_type() {
        let schema = wrap("numbers", "numbers", &schemars::schema_for!(Numbers).to_value());
        let read = |text: &str| {
            let mut document = yaml::parse(text, Path::new("f.yaml"), "test").unwrap();
            let problems = validate(&schema, &mut document, "test");
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            (problems, serde_json::from_value::<Numbers>(document.value["numbers"].clone()))
        };
        let keys = ["small", "some", "large", "count", "signed", "wide", "not_zero", "ratio"];
        let values = [
            "0",
            "1",
            "-1",
            "1.0",
            "1e3",
            "1.5",
            "2147483648",
            "4294967295",
            "4294967296",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "99999999999999999999",
            "1e30",
            "-1e30",
            "~",
        ];
        for key in keys {
            for value in values {
                let text = format!("numbers: {{{key}: {value}}}");
                let (problems, typed) = read(&text);
                assert_eq!(problems.is_empty(), typed.is_ok(), "{text}: {problems:?} {typed:?}");
            }
        }
        assert_eq!(
            read("numbers: {small: 1e3, list: [2.0]}").1.unwrap(),
            Numbers { small: 1000, list: vec![2], ..Numbers::default() }
        );
        assert_eq!(
            read("numbers: {small: 4294967296}").0,
            ["numbers.small: must be 4294967295 or less, got `4294967296`"]
        );
    }

    #[test]
    fn sentences() {
        for (text, expected) in [
            ("sample: {count: 1}", &[][..]),
            ("sample: {}", &["1: sample.count: is required"]),
            ("sample: {count: x}", &["1: sample.count: must be a whole number, got the text `x`"]),
            ("sample: {count: '1'}", &["1: sample.count: must be a whole number, got the text `1`"]),
            ("sample: {count: -1}", &["1: sample.count: must be 0 or more, got `-1`"]),
            ("sample: {count: 65536}", &["1: sample.count: must be 65535 or less, got `65536`"]),
            ("sample: {count: 1, on: yes}", &["1: sample.on: must be `true` or `false`, got the text `yes`"]),
            ("sample: {count: 1, ratio: []}", &["1: sample.ratio: must be a number, got a list"]),
            (
                "sample: {count: 1, kind: frist}",
                &["1: sample.kind: must be one of `first`, `second`, got the text `frist` (did you mean `first`?)"],
            ),
            (
                "sample:\n  count: 1\n  inner:\n    level: 1\n    lvel: 2\n",
                &["5: sample.inner.lvel: is not a known key (did you mean `level`?)"],
            ),
            (
                "sample: {count: 1, inner: {level: 1, next: {level: x, next: {}}}}",
                &[
                    "1: sample.inner.next.level: must be a whole number, got the text `x`",
                    "1: sample.inner.next.next.level: is required",
                ],
            ),
            (
                "sample: {count: 1, shapes: [{type: circle, radius: x}]}",
                &["1: sample.shapes[0].radius: must be a number, got the text `x`"],
            ),
            (
                "sample: {count: 1, shapes: [{type: square, side: 1, edge: 2}]}",
                &["1: sample.shapes[0].edge: is not a known key (remove it; the keys here are type, side)"],
            ),
            ("sample: {count: 1, shapes: [3]}", &["1: sample.shapes[0]: has none of the accepted forms, got `3`"]),
            ("sample: {count: 1, word: ab}", &["1: sample.word: must be at least 3 characters long"]),
            ("sample: {count: 1, word: ABC}", &["1: sample.word: must match `^[a-z]+$`, got the text `ABC`"]),
            ("smaple: {}", &["1: smaple: is not a known key (did you mean `sample`?)"]),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_becomes_what_its_field_expects() {
        // A variable `N_X` has the value `x`.
        assert_eq!(
            check("sample: {count: '${N_12}', ratio: '${N_3}', on: '${N_TRUE}', inner: {level: '${N_7}'}}"),
            [""; 0]
        );
        assert_eq!(
            check("sample: {count: '${N_ABC}'}"),
            ["1: sample.count: must be a whole number, got a text that came from a variable"]
        );
    }
}
