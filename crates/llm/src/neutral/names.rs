//! Names of tools that every vendor takes.

use std::collections::{HashMap, HashSet};

use super::answer::Answer;
use super::event::{Event, PartStart};
use super::part::Part;
use super::request::{Request, Tool, ToolChoice};

/// The longest name that all vendors take. Anthropic's are twice as long, and clients join the names of servers to them.
const LONGEST: usize = 64;
/// What stands behind the beginning of a name that was too long: a mark and a hash.
const MARK: usize = 9;

/// The names of tools as a provider has them and as the caller does, where they differ.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(HashMap<String, String>);

impl Names {
    /// Gives tools whose names some vendor would refuse others for the request, wherever they are named.
    pub(crate) fn fit(request: &mut Request) -> Self {
        Self(fit(request).into_iter().collect())
    }

    /// Names the tools of an answer as the caller does.
    pub(crate) fn restore(&self, answer: &mut Answer) {
        for part in &mut answer.parts {
            if let Part::ToolCall(call) = part {
                self.name(&mut call.name);
            }
        }
    }

    /// The same, of an event.
    pub(crate) fn restore_in(&self, event: &mut Event) {
        if let Event::PartStart(PartStart::ToolCall { name, .. }) = event {
            self.name(name);
        }
    }

    fn name(&self, name: &mut String) {
        if let Some(own) = self.0.get(name) {
            name.clone_from(own);
        }
    }
}

/// The names of tools as they are written from now on, and as they were.
fn fit(request: &mut Request) -> Vec<(String, String)> {
    let mut renamed = Vec::new();
    let mut taken: HashSet<String> = request.tools.iter().filter_map(name_of).cloned().collect();
    for tool in &mut request.tools {
        let Some(name) = name_of_mut(tool).filter(|name| !fits(name)) else { continue };
        let mut fitting = fitting(name);
        while !taken.insert(fitting.clone()) {
            fitting = self::fitting(&format!("{fitting}!"));
        }
        renamed.push((fitting.clone(), std::mem::replace(name, fitting)));
    }
    // Tools that are offered no more are named in earlier turns.
    let known: HashMap<&str, &str> = renamed.iter().map(|(written, own)| (own.as_str(), written.as_str())).collect();
    let written = |name: &mut String| {
        if !fits(name) {
            *name = known.get(name.as_str()).map_or_else(|| fitting(name), |written| (*written).to_owned());
        }
    };
    for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
        match part {
            Part::ToolCall(call) => written(&mut call.name),
            Part::ToolResult(result) => result.name.iter_mut().for_each(written),
            _ => {}
        }
    }
    match &mut request.tool_choice {
        Some(ToolChoice::Named(name)) => written(name),
        Some(ToolChoice::Among { names, .. }) => names.iter_mut().for_each(written),
        Some(ToolChoice::Auto | ToolChoice::None | ToolChoice::Required) | None => {}
    }
    renamed
}

fn name_of(tool: &Tool) -> Option<&String> {
    match tool {
        Tool::Function(function) => Some(&function.name),
        Tool::Custom(tool) => Some(&tool.name),
        Tool::WebSearch(_) | Tool::Native(..) => None,
    }
}

fn name_of_mut(tool: &mut Tool) -> Option<&mut String> {
    match tool {
        Tool::Function(function) => Some(&mut function.name),
        Tool::Custom(tool) => Some(&mut tool.name),
        Tool::WebSearch(_) | Tool::Native(..) => None,
    }
}

fn fits(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts && name.len() <= LONGEST && name.bytes().all(fits)
}

/// The beginning of a name, with what tells it from others that begin so.
fn fitting(name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    let start: String = name.chars().map(plain).take(LONGEST - MARK - 1).collect();
    let first = if start.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_') { "" } else { "_" };
    format!("{first}{start}_{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::super::request::{Function, Message, Role};
    use super::*;
    use crate::neutral::ToolCall;

    #[test]
    fn names_that_do_not_fit_are_others_and_come_back() {
        let long = format!("mcp__{}__read", "server".repeat(20));
        let names = ["read", &long, "mcp.files/read", "日本", "1st"];
        let tool = |name: &&str| Tool::Function(Function { name: (*name).to_owned(), ..Function::default() });
        let call = ToolCall {
            id: "1".into(),
            name: long.clone(),
            input: String::new(),
            custom: false,
            signature: None,
            cache: None,
        };
        let mut request = Request {
            tools: names.iter().map(tool).collect(),
            tool_choice: Some(ToolChoice::Named(long.clone())),
            messages: vec![Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] }],
            ..Request::default()
        };
        let renamed = fit(&mut request);
        assert_eq!(renamed.iter().map(|(_, own)| own.as_str()).collect::<Vec<_>>(), names[1..]);
        assert!(renamed.iter().all(|(written, _)| fits(written)), "{renamed:?}");
        let written = &renamed[0].0;
        assert!(written.starts_with("mcp__serverserver"));
        assert_eq!(request.tool_choice, Some(ToolChoice::Named(written.clone())));
        assert!(matches!(&request.messages[0].parts[0], Part::ToolCall(call) if call.name == *written));
        assert!(fit(&mut request).is_empty(), "all fit now");
    }
}
