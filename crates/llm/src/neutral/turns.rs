//! A conversation as providers want it: turns that change hands, and every call of a tool answered at once.

use std::collections::{HashMap, VecDeque};

use super::part::{Part, ToolCall, ToolResult};
use super::request::{Request, Role};

/// What one side says before another one speaks.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// Whose it is.
    pub(crate) role: Role,
    /// In a user's turn, what came of the calls of the turn before, in their order. There is one for each.
    pub(crate) answers: Vec<Answered<'a>>,
    /// Everything else that is said. A result that no call of the turn before asked for is among it.
    pub(crate) parts: Vec<&'a Part>,
}

/// A call and what came of it.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    /// The call.
    pub(crate) call: &'a ToolCall,
    /// What came of it; `None` if nobody says.
    pub(crate) result: Option<&'a ToolResult>,
}

/// The turns of a conversation. Messages of one side that follow each other are one turn, and calls that nobody answered
/// are answered by a turn of their own.
pub(crate) fn turns(request: &Request) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    let mut open = Open::default();
    for message in request.messages.iter().filter(|message| !message.parts.is_empty()) {
        match message.role {
            Role::User => {
                // An operator's word in between does not keep a result from its call.
                let mut rest = Vec::new();
                for part in &message.parts {
                    match part {
                        Part::ToolResult(result) if open.answer(&mut turns, result) => {}
                        _ => rest.push(part),
                    }
                }
                if !rest.is_empty() {
                    turn_of(&mut turns, Role::User).parts.extend(rest);
                }
            }
            Role::System => turn_of(&mut turns, Role::System).parts.extend(&message.parts),
            Role::Assistant => {
                // What the model goes on with before anybody answered belongs to one turn with its calls.
                let unanswered = |turn: &Turn<'_>| turn.parts.is_empty() && open.is_unanswered();
                let goes_on = open.turn + 1 == turns.len() && turns.last().is_some_and(unanswered);
                let mut answers = if goes_on { turns.pop().map(|turn| turn.answers) } else { None }.unwrap_or_default();
                if !goes_on {
                    open = Open::default();
                }
                turn_of(&mut turns, Role::Assistant).parts.extend(&message.parts);
                for part in &message.parts {
                    if let Part::ToolCall(call) = part {
                        open.call(answers.len(), call);
                        answers.push(Answered { call, result: None });
                    }
                }
                open.turn = turns.len();
                if !answers.is_empty() {
                    turns.push(Turn { role: Role::User, answers, parts: Vec::new() });
                }
            }
        }
    }
    turns
}

/// The last turn if it is this side's, otherwise a new one.
fn turn_of<'t, 'a>(turns: &'t mut Vec<Turn<'a>>, role: Role) -> &'t mut Turn<'a> {
    if turns.last().is_none_or(|turn| turn.role != role) {
        turns.push(Turn { role, answers: Vec::new(), parts: Vec::new() });
    }
    let last = turns.len() - 1;
    &mut turns[last]
}

/// The calls of the assistant's last turn that have no result yet.
#[derive(Default)]
struct Open<'a> {
    /// The turn that answers them.
    turn: usize,
    /// Their places in it, by id, in order.
    places: HashMap<&'a str, VecDeque<usize>>,
    /// How many there were.
    calls: usize,
    answered: usize,
}

impl<'a> Open<'a> {
    fn call(&mut self, place: usize, call: &'a ToolCall) {
        self.places.entry(&call.id).or_default().push_back(place);
        self.calls += 1;
    }

    fn is_unanswered(&self) -> bool {
        self.calls > 0 && self.answered == 0
    }

    /// Gives a result to the first call it names that has none yet.
    fn answer(&mut self, turns: &mut [Turn<'a>], result: &'a ToolResult) -> bool {
        let Some(place) = self.places.get_mut(result.call_id.as_str()).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.answered += 1;
        turns[self.turn].answers[place].result = Some(result);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::part::Text;
    use super::super::request::Message;
    use super::*;

    fn text(words: &str) -> Part {
        Part::Text(Text::plain(words))
    }

    fn call(id: &str) -> Part {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: "t".into(),
            input: String::new(),
            custom: false,
            signature: None,
            cache: None,
        })
    }

    fn result(id: &str, words: &str) -> Part {
        Part::ToolResult(ToolResult {
            call_id: id.into(),
            name: None,
            parts: vec![text(words)],
            is_error: false,
            custom: false,
            cache: None,
        })
    }

    fn told(messages: Vec<(Role, Vec<Part>)>) -> Vec<String> {
        let messages = messages.into_iter().map(|(role, parts)| Message { role, parts }).collect();
        let request = Request { messages, ..Request::default() };
        let said = |part: &Part| match part {
            Part::Text(text) => text.text.clone(),
            Part::ToolCall(call) => format!("call {}", call.id),
            Part::ToolResult(result) => format!("stray {}", result.call_id),
            _ => String::new(),
        };
        let words = |turn: &Turn<'_>| {
            let answers = turn.answers.iter().map(|answer| match answer.result {
                Some(result) => format!("{}={}", answer.call.id, said(&result.parts[0])),
                None => format!("{}=?", answer.call.id),
            });
            let parts = turn.parts.iter().map(|part| said(part));
            format!("{:?}: {}", turn.role, answers.chain(parts).collect::<Vec<_>>().join(", "))
        };
        turns(&request).iter().map(words).collect()
    }

    #[test]
    fn results_follow_their_calls_in_order() {
        use Role::{Assistant, System, User};
        assert_eq!(
            told(vec![
                (User, vec![text("hi")]),
                (User, vec![text("there")]),
                (Assistant, vec![text("look"), call("a"), call("b")]),
                (User, vec![text("first"), result("b", "B")]),
                (System, vec![text("be brief")]),
                (User, vec![result("a", "A"), result("c", "C"), text("go")]),
            ]),
            [
                "User: hi, there",
                "Assistant: look, call a, call b",
                "User: a=A, b=B, first",
                "System: be brief",
                "User: stray c, go",
            ]
        );
    }

    #[test]
    fn every_call_is_answered() {
        use Role::{Assistant, User};
        assert_eq!(
            told(vec![
                (User, vec![text("hi")]),
                (Assistant, vec![call("a")]),
                (Assistant, vec![text("and"), call("a")]),
                (User, vec![result("a", "1"), result("a", "2"), result("a", "3")]),
                (Assistant, vec![call("b")]),
                (User, vec![text("never mind")]),
                (Assistant, vec![call("c")]),
            ]),
            [
                "User: hi",
                "Assistant: call a, and, call a",
                "User: a=1, a=2, stray a",
                "Assistant: call b",
                "User: b=?, never mind",
                "Assistant: call c",
                "User: c=?",
            ]
        );
    }
}
