//! The OpenAPI 3.1 document of a set of extensions: every endpoint of their route tables, under the feature it belongs to.

use std::collections::BTreeSet;

use serde_json::{Map, json};
use systemprompt_model::ApiError;

use crate::endpoint::Shape;
use crate::facet::{Endpoints, WellKnown};
use crate::{Access, BUILT_IN, Endpoint, ExtensionRegistry, JsonValue};

/// The document of the enabled extensions, as it is served at `/api/v1/openapi.json`.
pub fn document(registry: &ExtensionRegistry) -> JsonValue {
    let mut document = Document::default();
    let mut tags = Vec::new();
    let documents = registry.declared::<WellKnown>();
    let names = registry.iter().map(|extension| extension.name());
    for ((declared, documents), name) in registry.declared::<Endpoints>().iter().zip(&documents).zip(names) {
        let id = declared.extension;
        if declared.contributions.is_empty() && documents.contributions.is_empty() {
            continue;
        }
        tags.push(json!({"name": id, "description": name}));
        for endpoint in declared.contributions {
            document.add(id, endpoint);
        }
        for route in documents.contributions {
            let summary = "A document other programs look for at this place.";
            let answers = json!({"200": {"description": "OK"}});
            document.operation(id, "GET", &route.full_path(), Access::Public, summary, answers);
        }
    }
    let error = document.schema("", &Shape::of::<ApiError>());
    let of_extensions = json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "What went wrong, in the words of the feature."},
                "message": {"type": "string", "description": "A sentence for people."},
                "request_id": {"type": "string", "description": "The request, as the header `x-trace-id` and the log name it."},
            },
        }},
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "systemprompt",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every endpoint of this server, as its features declare them.",
        },
        "tags": tags,
        "paths": document.paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An access token or an API key."},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "responses": {
                "Error": {
                    "description": "Why the request was not answered as it wished.",
                    "content": {"application/json": {"schema": error}},
                },
                "ExtensionError": {
                    "description": "Why the request was not answered as it wished: as the server says it, or as the extension does.",
                    "content": {"application/json": {"schema": {"anyOf": [error, of_extensions]}}},
                },
            },
            "schemas": document.schemas,
        },
    })
}

#[derive(Default)]
struct Document {
    paths: Map<String, JsonValue>,
    schemas: Map<String, JsonValue>,
    operations: BTreeSet<String>,
}

impl Document {
    fn add(&mut self, tag: &str, endpoint: &Endpoint) {
        let (status, shape) = &endpoint.answers;
        let mut answer = json!({"description": "A good answer."});
        if let Some(shape) = shape {
            answer["content"] = json!({"application/json": {"schema": self.schema(tag, shape)}});
        }
        let other = if endpoint.own_errors {
            json!({"description": "An error, in the form of the protocol that is spoken here."})
        } else {
            let form = if BUILT_IN.contains(&tag) { "Error" } else { "ExtensionError" };
            json!({"$ref": format!("#/components/responses/{form}")})
        };
        let mut responses = Map::new();
        responses.insert(status.to_string(), answer);
        responses.insert("default".to_owned(), other);
        let body = endpoint.takes.as_ref().map(|shape| self.schema(tag, shape));
        let operation =
            self.operation(tag, endpoint.method, &endpoint.path, endpoint.access, endpoint.summary, responses.into());
        if let Some(schema) = body {
            operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
    }

    fn operation(
        &mut self,
        tag: &str,
        method: &str,
        path: &str,
        access: Access,
        summary: &str,
        responses: JsonValue,
    ) -> &mut JsonValue {
        let parameters: Vec<_> = parameters(path)
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let mut operation = json!({
            "operationId": self.operation_id(tag, method, path),
            "tags": [tag],
            "summary": summary,
            "description": format!("For {}.", access.describe()),
            "security": if access == Access::Public { json!([]) } else { json!([{"bearer": []}, {"api_key": []}]) },
            "responses": responses,
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        // A parameter that takes the rest of a path is one like others there.
        let item = self.paths.entry(path.replace("{*", "{")).or_insert_with(|| json!({}));
        let slot = &mut item[method.to_ascii_lowercase()];
        *slot = operation;
        slot
    }

    /// `identity_delete_api_public_admin_tokens_pats_id`; two paths that differ in signs only are numbered.
    fn operation_id(&mut self, tag: &str, method: &str, path: &str) -> String {
        let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let words = [tag, &method.to_ascii_lowercase()].into_iter().chain(words).collect::<Vec<_>>().join("_");
        let free = |id: &String| !self.operations.contains(id);
        let numbered = (2..).map(|number: u32| format!("{words}_{number}"));
        let id = std::iter::once(words.clone()).chain(numbered).find(free).unwrap_or(words);
        self.operations.insert(id.clone());
        id
    }

    /// The schema of a body; what it refers to goes to the components. A name that means something else already gets the
    /// feature's in front.
    fn schema(&mut self, tag: &str, shape: &Shape) -> JsonValue {
        let mut renamed = Vec::new();
        for (name, definition) in &shape.definitions {
            if self.schemas.get(name).is_some_and(|known| known != definition) {
                renamed.push((format!("#/components/schemas/{name}"), format!("#/components/schemas/{tag}.{name}")));
            }
        }
        for (name, definition) in &shape.definitions {
            let mut definition = definition.clone();
            rename(&mut definition, &renamed);
            let place = format!("#/components/schemas/{name}");
            let name =
                if renamed.iter().any(|(from, _)| *from == place) { format!("{tag}.{name}") } else { name.clone() };
            self.schemas.insert(name, definition);
        }
        let mut schema = shape.schema.clone();
        rename(&mut schema, &renamed);
        schema
    }
}

fn rename(schema: &mut JsonValue, renamed: &[(String, String)]) {
    match schema {
        JsonValue::Object(map) => {
            for (key, value) in map {
                if key == "$ref"
                    && let Some((_, to)) = renamed.iter().find(|(from, _)| value.as_str() == Some(from))
                {
                    *value = JsonValue::String(to.clone());
                } else {
                    rename(value, renamed);
                }
            }
        }
        JsonValue::Array(list) => list.iter_mut().for_each(|value| rename(value, renamed)),
        _ => {}
    }
}

/// The names in braces.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.trim_start_matches('*')))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemars::JsonSchema;

    use super::*;
    use crate::{Extension, ExtensionMetadata, RouteTable};

    mod one {
        #[derive(schemars::JsonSchema)]
        #[expect(dead_code, reason = "only its schema is used")]
        pub(super) struct Thing {
            name: String,
        }
    }

    mod two {
        #[derive(schemars::JsonSchema)]
        #[expect(dead_code, reason = "only its schema is used")]
        pub(super) struct Thing {
            size: u8,
        }
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Both {
        things: Vec<two::Thing>,
    }

    struct Sample;

    impl Extension for Sample {
        fn metadata(&self) -> ExtensionMetadata {
            ExtensionMetadata { id: "sample", name: "Sample", version: "1.0.0" }
        }

        fn endpoints(&self) -> Vec<Endpoint> {
            RouteTable::<()>::new()
                .get("/api/v1/things", Access::Public, "Things.", async || "")
                .answers::<one::Thing>(200)
                .post("/api/v1/things/{id}", Access::Admin, "Another.", async || "")
                .takes::<Both>()
                .answers_bare(204)
                .endpoints()
                .to_vec()
        }
    }

    #[test]
    fn names_that_mean_two_things_are_told_apart() {
        let document = document(&ExtensionRegistry::of([Arc::new(Sample) as Arc<dyn Extension>]));
        let schemas = &document["components"]["schemas"];
        assert!(schemas["Thing"]["properties"]["name"].is_object(), "{schemas:#}");
        assert!(schemas["sample.Thing"]["properties"]["size"].is_object(), "{schemas:#}");
        assert_eq!(schemas["Both"]["properties"]["things"]["items"]["$ref"], "#/components/schemas/sample.Thing");
        let post = &document["paths"]["/api/v1/things/{id}"]["post"];
        assert_eq!(post["parameters"][0]["name"], "id");
        assert_eq!(post["operationId"], "sample_post_api_v1_things_id");
        assert!(post["responses"]["204"].is_object() && post["security"].is_array(), "{post:#}");
        assert_eq!(document["paths"]["/api/v1/things"]["get"]["security"], json!([]));
    }
}
