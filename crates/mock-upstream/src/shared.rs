//! What all connections of a mock see: how it behaves, what it counted, what it remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::asked::{Asked, has_results};
use crate::behaviour::{Behaviour, Fault};
use crate::capture::{CaptureLimits, Captures};
use crate::script::{self, Script};
use crate::statistics::Counters;
use crate::wire::Wire;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    behaviours: Mutex<Behaviours>,
    captures: Mutex<Captures>,
}

impl Shared {
    pub(crate) fn new(limits: CaptureLimits) -> Self {
        Self { counters: Arc::default(), behaviours: Mutex::default(), captures: Mutex::new(Captures::new(limits)) }
    }

    pub(crate) fn behaviours(&self) -> MutexGuard<'_, Behaviours> {
        self.behaviours.lock().expect("nothing panics while it holds the behaviours")
    }

    pub(crate) fn captures(&self) -> MutexGuard<'_, Captures> {
        self.captures.lock().expect("nothing panics while it holds the captures")
    }
}

/// The behaviours and the scripts written for them.
#[derive(Debug, Default)]
pub(crate) struct Behaviours {
    pub(crate) default: Behaviour,
    pub(crate) by_model: HashMap<String, Behaviour>,
    scripts: HashMap<(Wire, Asked), Arc<Script>>,
}

/// Scripts kept; a client that asks for ever new models makes the mock write them anew.
const SCRIPTS_KEPT: usize = 64;

impl Behaviours {
    pub(crate) fn set(&mut self, model: Option<String>, behaviour: Behaviour) {
        self.scripts.clear();
        match model {
            Some(model) => {
                self.by_model.insert(model, behaviour);
            }
            None => self.default = behaviour,
        }
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// How to answer this request, which came with this key. Counts it, where the fault is one for so many requests.
    pub(crate) fn plan(&mut self, wire: Wire, mut asked: Asked, key: Option<&str>, body: &[u8]) -> Plan {
        let behaviour = match self.by_model.get_mut(&asked.model) {
            Some(behaviour) => behaviour,
            None => &mut self.default,
        };
        asked.has_results = behaviour.tool_calls_once && has_results(body);
        let asked = &asked;
        let refused = key.and_then(|key| behaviour.refused_keys.get(key)).copied();
        let fault = match refused {
            Some(status) => Some(Fault::Status { status, body: None, retry_after: None }),
            None => behaviour.take_fault(),
        };
        let first_byte = Duration::from_millis(behaviour.first_byte_delay_ms);
        let delay = Duration::from_millis(behaviour.delay_ms);
        let chunk_delay = Duration::from_millis(behaviour.chunk_delay_ms);
        let script = if fault.is_some() {
            Arc::new(script::write(wire, asked, behaviour, fault.as_ref()))
        } else {
            if self.scripts.len() >= SCRIPTS_KEPT {
                self.scripts.clear();
            }
            let write = || Arc::new(script::write(wire, asked, behaviour, None));
            self.scripts.entry((wire, asked.clone())).or_insert_with(write).clone()
        };
        Plan { delay, first_byte, chunk_delay, fault, script }
    }
}

/// How one request is answered.
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) chunk_delay: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) script: Arc<Script>,
}
