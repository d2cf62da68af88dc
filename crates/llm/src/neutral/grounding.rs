//! Where an answer comes from, when its provider searched the web for it.

/// Where an answer comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grounding {
    /// The sources, each once, in the order in which they come up.
    pub sources: Vec<WebSource>,
    /// What was searched for.
    pub queries: Vec<String>,
}

/// A source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WebSource {
    /// Its address.
    pub uri: String,
    /// Its title.
    pub title: Option<String>,
    /// Its words that the answer goes by.
    pub snippet: Option<String>,
    /// How sure the provider is that the answer follows from it, from 0 to 1.
    pub relevance: Option<f64>,
}

impl Grounding {
    /// Adds a source, or what is new of one that is there. One without an address is none.
    pub fn cite(&mut self, source: WebSource) {
        if source.uri.is_empty() {
            return;
        }
        let Some(known) = self.sources.iter_mut().find(|known| known.uri == source.uri) else {
            return self.sources.push(source);
        };
        known.title = known.title.take().or(source.title);
        known.snippet = known.snippet.take().or(source.snippet);
        known.relevance = match (known.relevance, source.relevance) {
            (Some(known), Some(new)) => Some(known.max(new)),
            (known, new) => known.or(new),
        };
    }

    /// Adds what was searched for, once.
    pub fn ask(&mut self, query: &str) {
        if !query.is_empty() && !self.queries.iter().any(|known| known == query) {
            self.queries.push(query.to_owned());
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.queries.is_empty()
    }
}
