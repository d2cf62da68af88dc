//! The tools a caller offers, and the names under which a provider of another format knows them.
//!
//! The format groups functions in namespaces, has tools that take text, and tools of the vendor that the caller's own
//! program runs: a shell, patches, a search among tools. To another provider all of them are functions, and a call of
//! one becomes an item of the right kind again.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::format::Format;
use crate::format::raw::{self, Object};
use crate::neutral::{CustomTool, Feature, Function, Json, Tool, WebSearch};
use crate::request::error::RequestError;

/// What the caller said and no neutral word exists for.
pub(super) type Further = Vec<(Feature, String)>;

/// What a call of a tool is in this format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A `function_call`.
    Function(Name),
    /// A `custom_tool_call`.
    Custom(Name),
    /// A call of a vendor's tool that the caller's program runs.
    Local(&'static Local),
}

/// The name of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The group it belongs to.
    pub(super) namespace: Option<String>,
    /// Its name there.
    pub(super) name: String,
}

/// A vendor's tool that the caller's program runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// Its type, and its name for other providers.
    pub(super) name: &'static str,
    /// The type of a call.
    pub(super) call: &'static str,
    /// The type of a result.
    pub(super) output: &'static str,
    /// The member of a call that is the input.
    pub(super) input: &'static str,
    description: &'static str,
    parameters: &'static str,
}

static LOCAL: [Local; 4] = [
    Local {
        name: "local_shell",
        call: "local_shell_call",
        output: "local_shell_call_output",
        input: "action",
        description: "Runs a command on the user's machine and gives its output.",
        parameters: r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"The program and its arguments."},"working_directory":{"type":"string"},"timeout_ms":{"type":"integer"}},"required":["command"]}"#,
    },
    Local {
        name: "shell",
        call: "shell_call",
        output: "shell_call_output",
        input: "action",
        description: "Runs shell commands on the user's machine and gives what each of them prints.",
        parameters: r#"{"type":"object","properties":{"commands":{"type":"array","items":{"type":"string"},"description":"The commands, each a line for the shell."},"timeout_ms":{"type":"integer"},"max_output_length":{"type":"integer"}},"required":["commands"]}"#,
    },
    Local {
        name: "apply_patch",
        call: "apply_patch_call",
        output: "apply_patch_call_output",
        input: "operation",
        description: "Creates, updates or deletes a file of the user's.",
        parameters: r#"{"type":"object","properties":{"type":{"type":"string","enum":["create_file","update_file","delete_file"]},"path":{"type":"string"},"diff":{"type":"string","description":"The change as a V4A diff; nothing for a file that is deleted."}},"required":["type","path"]}"#,
    },
    Local {
        name: "tool_search",
        call: "tool_search_call",
        output: "tool_search_output",
        input: "arguments",
        description: "Looks for tools that are not offered yet. Those it finds can be called from then on.",
        parameters: r#"{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}"#,
    },
];

impl Local {
    /// The tool whose calls are of this type.
    pub(super) fn of_call(kind: &str) -> Option<&'static Self> {
        LOCAL.iter().find(|local| local.call == kind)
    }

    /// The tool whose results are of this type.
    pub(super) fn of_output(kind: &str) -> Option<&'static Self> {
        LOCAL.iter().find(|local| local.output == kind)
    }

    /// The item of a call, from the input that a model wrote.
    pub(super) fn item(&self, id: &str, call_id: &str, input: &Json) -> Value {
        let mut input = match input.to_value() {
            Value::Object(input) => input,
            _ => Map::new(),
        };
        if self.name == "local_shell" {
            input.insert("type".to_owned(), "exec".into());
            input.entry("env").or_insert_with(|| json!({}));
        }
        let mut item = json!({
            "id": id,
            "type": self.call,
            "status": "completed",
            "call_id": call_id,
            self.input: input,
        });
        if self.name == "tool_search" {
            item["execution"] = "client".into();
        }
        item
    }
}

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// In neutral words, in their order.
    pub(super) tools: Vec<Tool>,
    kinds: HashMap<String, Kind>,
}

impl Tools {
    /// All tools that a body offers: in its `tools`, and in the items that add some. For writing answers to a request that
    /// was read before.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut tools = Self::default();
        let mut further = Further::new();
        let body = std::str::from_utf8(body).unwrap_or_default().trim();
        if let Ok(mut object) = Object::read(body, "", "") {
            let _ = tools.read(&mut object, &mut further);
            let items = object.list("input").unwrap_or_default().unwrap_or_default();
            for (path, raw) in items {
                // Most items are long and add none.
                let adds = memchr::memmem::find(raw.as_bytes(), b"\"tools\"").is_some();
                if let Some(mut item) = adds.then(|| Object::read(raw, path, "").ok()).flatten()
                    && let Ok(Some(kind)) = item.text("type")
                    && (kind == "additional_tools" || kind == "tool_search_output")
                {
                    let _ = tools.read(&mut item, &mut further);
                }
            }
        }
        tools
    }

    /// What a call of the tool with this name is. One nobody offered is a function.
    pub(super) fn kind(&self, name: &str) -> Kind {
        let function = || Kind::Function(Name { namespace: None, name: name.to_owned() });
        self.kinds.get(name).cloned().unwrap_or_else(function)
    }

    /// Reads the member `tools` of a request or an item, and gives the names of the tools in it.
    pub(super) fn read(&mut self, object: &mut Object<'_>, further: &mut Further) -> Result<Vec<String>, RequestError> {
        let mut names = Vec::new();
        for (path, raw) in object.list("tools")?.unwrap_or_default() {
            self.tool(Object::read(raw, path, "a tool")?, raw, None, &mut names, further)?;
        }
        Ok(names)
    }

    fn tool(
        &mut self,
        mut tool: Object<'_>,
        raw: &str,
        namespace: Option<&str>,
        names: &mut Vec<String>,
        further: &mut Further,
    ) -> Result<(), RequestError> {
        let kind = tool.required_text("type", "say what kind of tool it is, e.g. \"function\"")?;
        // A tool that is only to be found by a search is offered at once: another provider has no such search.
        tool.ignore(&["defer_loading"]);
        match kind.as_str() {
            "function" => {
                let name = Name::read(&mut tool, namespace)?;
                let function = Function {
                    name: name.flat(),
                    description: tool.text("description")?,
                    parameters: tool.json("parameters"),
                    strict: tool.switch("strict")?,
                    cache: None,
                };
                names.push(function.name.clone());
                if self.add(&function.name, Kind::Function(name)) {
                    self.tools.push(Tool::Function(function));
                }
            }
            "custom" => {
                let name = Name::read(&mut tool, namespace)?;
                let custom = CustomTool {
                    name: name.flat(),
                    description: tool.text("description")?,
                    format: tool.json("format"),
                };
                names.push(custom.name.clone());
                if self.add(&custom.name, Kind::Custom(name)) {
                    self.tools.push(Tool::Custom(custom));
                }
            }
            "namespace" => {
                let name = tool.required_text("name", "name the group of tools")?;
                for (path, raw) in tool.list("tools")?.unwrap_or_default() {
                    self.tool(Object::read(raw, path, "a tool")?, raw, Some(&name), names, further)?;
                }
                tool.ignore(&["description"]);
            }
            "web_search" | "web_search_2025_08_26" | "web_search_preview" | "web_search_preview_2025_03_11" => {
                match web_search(&mut tool, further)? {
                    Some(search) => self.tools.push(Tool::WebSearch(search)),
                    None => return Ok(()),
                }
            }
            "tool_search" if tool.text("execution")?.as_deref() != Some("client") => return Ok(()),
            kind => {
                let local = LOCAL.iter().find(|local| local.name == kind).filter(|_| runs_here(kind, &mut tool));
                let Some(local) = local else {
                    let written = Json::parse(raw).unwrap_or_else(Json::empty_object);
                    self.tools.push(Tool::Native(Format::OpenAiResponses, kind.to_owned(), written));
                    return Ok(());
                };
                let function = Function {
                    name: local.name.to_owned(),
                    description: tool.text("description")?.or_else(|| Some(local.description.to_owned())),
                    parameters: tool.json("parameters").or_else(|| Json::parse(local.parameters)),
                    ..Function::default()
                };
                if self.add(local.name, Kind::Local(local)) {
                    self.tools.push(Tool::Function(function));
                }
            }
        }
        further.extend(tool.rest().map(|path| (Feature::UnknownField, path)));
        Ok(())
    }

    /// Whether the tool is new.
    fn add(&mut self, name: &str, kind: Kind) -> bool {
        let is_new = !self.kinds.contains_key(name);
        if is_new {
            self.kinds.insert(name.to_owned(), kind);
        }
        is_new
    }
}

/// Whether the caller's program runs the tool, and not the vendor in a container.
fn runs_here(kind: &str, tool: &mut Object<'_>) -> bool {
    kind != "shell" || {
        let environment = tool.object("environment").ok().flatten();
        environment.and_then(|mut place| place.text("type").ok().flatten()).as_deref() == Some("local")
    }
}

/// A search of the web; none if it is to look at nothing but what the vendor has kept, which others have not.
fn web_search(tool: &mut Object<'_>, further: &mut Further) -> Result<Option<WebSearch>, RequestError> {
    for (field, kept) in
        [("external_web_access", false), ("indexed_web_access", true), ("index_gated_web_access", true)]
    {
        if tool.switch(field)? == Some(kept) {
            further.push((Feature::UnknownField, tool.at(field)));
            return Ok(None);
        }
    }
    let mut search = WebSearch {
        user_location: tool.json("user_location"),
        context_size: tool.text("search_context_size")?,
        ..WebSearch::default()
    };
    if let Some(mut filters) = tool.object("filters")? {
        search.allowed_domains = filters.texts("allowed_domains")?;
        search.blocked_domains = filters.texts("blocked_domains")?;
        further.extend(filters.rest().map(|path| (Feature::UnknownField, path)));
    }
    Ok(Some(search))
}

impl Name {
    fn read(tool: &mut Object<'_>, namespace: Option<&str>) -> Result<Self, RequestError> {
        let name = tool.required_text("name", "name the tool")?;
        Ok(Self { namespace: namespace.map(str::to_owned), name })
    }

    /// The name for providers that know no groups.
    pub(super) fn flat(&self) -> String {
        let Some(namespace) = &self.namespace else { return self.name.clone() };
        let between = if namespace.ends_with('_') { "" } else { "__" };
        format!("{namespace}{between}{}", self.name)
    }
}

/// The name of a tool that an item, or a choice, names.
pub(super) fn named(object: &mut Object<'_>) -> Result<String, RequestError> {
    let namespace = object.text("namespace")?;
    Ok(Name::read(object, namespace.as_deref())?.flat())
}

/// The value of an item as JSON text, if it is not text already.
pub(super) fn input(raw: Option<&str>) -> String {
    raw.map(|raw| raw::text(raw).unwrap_or_else(|| raw.to_owned())).unwrap_or_default()
}
