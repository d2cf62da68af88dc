//! The credentials that a model API asks for, which go where they belong.

use std::ops::Range;

use systemprompt_model::json;

/// The credentials the API asks for in `content`, a request: they are judged by nobody and not stored. Ascending.
pub(crate) fn entrusted(content: &[u8]) -> Vec<Range<usize>> {
    if !may_hold_entrusted(content) || !json::looks_like_json(content) {
        return Vec::new();
    }
    let spans: Vec<Range<usize>> = json::Strings::of(content)
        .map_while(Result::ok)
        .filter(|leaf| leaf.key.is_some_and(may_be_entrusted))
        .map(|leaf| leaf.span)
        .collect();
    let starts: Vec<usize> = spans.iter().map(|span| span.start).collect();
    let paths = json::paths(content, &starts, |_| false);
    spans.into_iter().zip(paths).filter(|(_, path)| is_entrusted(path, content)).map(|(span, _)| span).collect()
}

/// The ends of the names under which APIs ask for the credential of an MCP server.
const AUTHORIZATION: &str = "uthorization";

/// Whether a string under this key may be a credential the API asks for; where it stands decides.
fn may_be_entrusted(key: &[u8]) -> bool {
    key == b"authorization_token" || key.eq_ignore_ascii_case(b"authorization")
}

/// Whether there may be such a field in `content`.
fn may_hold_entrusted(content: &[u8]) -> bool {
    memchr::memmem::find(content, AUTHORIZATION.as_bytes()).is_some()
}

/// Whether what stands at `path` of `content` is a credential the API asks for: `$.mcp_servers[0].authorization_token` of the
/// Messages API; `$.tools[0].authorization` and `$.tools[0].headers.Authorization` of a tool of type `mcp` of the Responses
/// API.
fn is_entrusted(path: &str, content: &[u8]) -> bool {
    fn entry<'p>(path: &'p str, list: &str) -> Option<(usize, &'p str)> {
        let (index, field) = path.strip_prefix(list)?.split_once("].")?;
        let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        Some((index.parse().ok().filter(|_| digits)?, field))
    }
    if let Some((_, field)) = entry(path, "$.mcp_servers[") {
        return field == "authorization_token";
    }
    entry(path, "$.tools[").is_some_and(|(index, field)| {
        let field = field
            .strip_prefix("headers.")
            .map_or(field == "authorization", |header| header.eq_ignore_ascii_case("authorization"));
        field && is_an_mcp_server(content, index)
    })
}

/// Whether the tool at `index` is an MCP server.
fn is_an_mcp_server(content: &[u8], index: usize) -> bool {
    #[derive(serde::Deserialize)]
    struct Request {
        tools: Vec<Tool>,
    }
    #[derive(serde::Deserialize)]
    struct Tool {
        #[serde(default, rename = "type")]
        kind: serde_json::Value,
    }
    serde_json::from_slice::<Request>(content)
        .is_ok_and(|request| request.tools.get(index).is_some_and(|tool| tool.kind == "mcp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_field_the_api_has_is_entrusted() {
        let content = br#"{"tools": [{"type": "mcp"}, {"type": "function"}, {}]}"#;
        for path in [
            "$.mcp_servers[0].authorization_token",
            "$.mcp_servers[12].authorization_token",
            "$.tools[0].authorization",
            "$.tools[0].headers.Authorization",
            "$.tools[0].headers.authorization",
        ] {
            assert!(is_entrusted(path, content), "{path}");
        }
        for path in [
            "$.authorization_token",
            "$.messages[0].mcp_servers[0].authorization_token",
            "$.mcp_servers[0].headers.authorization_token",
            "$.mcp_servers[0].env[0].authorization_token",
            "$.mcp_servers[].authorization_token",
            "$.mcp_servers[0].name",
            "$.tools[1].authorization",
            "$.tools[2].headers.Authorization",
            "$.tools[9].authorization",
            "$.tools[0].headers.X-Other",
            "$.tools[0].function.authorization",
            "$.messages[0].tools[0].authorization",
        ] {
            assert!(!is_entrusted(path, content), "{path}");
        }
    }
}
