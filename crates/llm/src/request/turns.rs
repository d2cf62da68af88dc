//! Which part of a conversation is new.
//!
//! Every format has its turns in one array at the top, and says in each whose it is, so one reader does for all.

use systemprompt_model::json::{self, Cursor, Kind, Span, SyntaxError};

/// The arrays of turns: `messages` of Anthropic, OpenAI and Bedrock, `input` of Responses, `contents` of Gemini.
const CONVERSATIONS: [&str; 3] = ["messages", "input", "contents"];

/// Whose turn something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    /// Whoever instructs the model: these are no turns.
    Instructor,
    /// The model.
    Model,
    /// The caller: a user, or a tool that gives its result.
    Caller,
}

/// The places in a request of the turns that came before the newest, ascending. What is not in them is new, or said again
/// each time: instructions, definitions of tools, the newest turn of the user with the results of tools, and an answer the
/// model shall go on with.
///
/// A request that cannot be read is new as a whole.
pub fn earlier_turns(body: &[u8]) -> Vec<Span> {
    let conversations = conversations(body).unwrap_or_default();
    // Of two, which no format has, a provider may read either.
    conversations.into_iter().flat_map(earlier_of).collect()
}

fn earlier_of(mut turns: Vec<(Author, Span)>) -> Vec<Span> {
    // The newest turn begins after the last thing the model said, unless nobody said anything after it.
    let last_of_caller = turns.iter().rposition(|(author, _)| *author == Author::Caller).unwrap_or(0);
    let newest =
        turns[..last_of_caller].iter().rposition(|(author, _)| *author == Author::Model).map_or(0, |at| at + 1);
    turns.truncate(newest);
    turns.retain(|(author, _)| *author != Author::Instructor);
    turns.into_iter().map(|(_, turn)| turn).collect()
}

/// The turns of each conversation in a request.
fn conversations(body: &[u8]) -> Result<Vec<Vec<(Author, Span)>>, SyntaxError> {
    let mut arrays = Vec::new();
    Cursor::new(body).members(|member, cursor| {
        let value = cursor.skip()?;
        if CONVERSATIONS.contains(&&*member.key) && body.get(value.start) == Some(&b'[') {
            arrays.push(value);
        }
        Ok::<_, SyntaxError>(())
    })?;
    let mut conversations = Vec::new();
    for array in arrays {
        let start = array.start;
        let mut turns = Vec::new();
        Cursor::new(&body[array]).elements(|_, cursor| {
            let turn = cursor.skip()?;
            let turn = start + turn.start..start + turn.end;
            turns.push((author(&body[turn.clone()])?, turn));
            Ok::<_, SyntaxError>(())
        })?;
        conversations.push(turns);
    }
    Ok(conversations)
}

fn author(turn: &[u8]) -> Result<Author, SyntaxError> {
    if Cursor::new(turn).kind()? != Kind::Object {
        return Ok(Author::Caller);
    }
    let [role, kind] = json::pick(turn, ["role", "type"])?;
    let role = role.and_then(json::text);
    let kind = kind.and_then(json::text);
    Ok(match (role.as_deref(), kind.as_deref()) {
        (Some("assistant" | "model"), _) => Author::Model,
        (Some("system" | "developer"), _) => Author::Instructor,
        // Items of Responses: what the model did has no role.
        (None, Some(kind)) if kind == "reasoning" || kind.ends_with("_call") => Author::Model,
        _ => Author::Caller,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earlier(body: &str) -> Vec<&str> {
        earlier_turns(body.as_bytes()).into_iter().map(|turn| &body[turn]).collect()
    }

    #[test]
    fn what_came_before_the_last_answer_is_earlier() {
        for (body, expected) in [
            (r#"{"messages":[{"role":"user","content":"a"}],"system":"s"}"#, &[][..]),
            (
                r#"{"system":"s","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":[{"type":"tool_result","content":"c"}]}]}"#,
                &[r#"{"role":"user","content":"a"}"#, r#"{"role":"assistant","content":"b"}"#],
            ),
            (
                r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","tool_calls":[]},{"role":"tool","content":"c"},{"role":"tool","content":"d"}]}"#,
                &[r#"{"role":"user","content":"a"}"#, r#"{"role":"assistant","tool_calls":[]}"#],
            ),
            (
                r#"{"input":[{"role":"developer","content":"s"},{"type":"message","role":"user","content":"a"},{"type":"reasoning"},{"type":"custom_tool_call","input":"x"},{"type":"custom_tool_call_output","output":"y"}]}"#,
                &[
                    r#"{"type":"message","role":"user","content":"a"}"#,
                    r#"{"type":"reasoning"}"#,
                    r#"{"type":"custom_tool_call","input":"x"}"#,
                ],
            ),
            (
                r#"{"contents":[{"role":"user","parts":[]},{"role":"model","parts":[]},{"parts":[{"text":"n"}]}]}"#,
                &[r#"{"role":"user","parts":[]}"#, r#"{"role":"model","parts":[]}"#],
            ),
            // An answer that shall go on is new.
            (r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"{"}]}"#, &[]),
            (
                r#"{"messages":[{"role":"user","content":"a"}],"input":[{"role":"assistant"},{"role":"user"}]}"#,
                &[r#"{"role":"assistant"}"#],
            ),
            (r#"{"input":"a text"}"#, &[]),
            (r#"{"input":["a","b"]}"#, &[]),
            (r#"{"messages":[{"role":"user"},{"role":"assistant"},{"role":"user"},"#, &[]),
        ] {
            assert_eq!(earlier(body), expected, "{body}");
        }
    }
}
