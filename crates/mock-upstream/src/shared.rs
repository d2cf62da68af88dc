//! What all connections of a mock see: how it behaves, what it counted, what it remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::behaviour::{Behaviour, Fault};
use crate::capture::{CaptureLimits, Captures};
use crate::script::{self, Asked, Dialect, Script};
use crate::statistics::Counters;

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
    scripts: HashMap<(Dialect, Asked), Arc<Script>>,
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

    /// How to answer this request. Counts it, where the fault is one for so many requests.
    pub(crate) fn plan(&mut self, dialect: Dialect, asked: &Asked) -> Plan {
        let behaviour = match self.by_model.get_mut(&asked.model) {
            Some(behaviour) => behaviour,
            None => &mut self.default,
        };
        let fault = behaviour.take_fault();
        let delay = Duration::from_millis(behaviour.delay_ms);
        let chunk_delay = Duration::from_millis(behaviour.chunk_delay_ms);
        let script = if fault.is_some() {
            Arc::new(script::write(dialect, asked, behaviour, fault.as_ref()))
        } else {
            if self.scripts.len() >= SCRIPTS_KEPT {
                self.scripts.clear();
            }
            let write = || Arc::new(script::write(dialect, asked, behaviour, None));
            self.scripts.entry((dialect, asked.clone())).or_insert_with(write).clone()
        };
        Plan { delay, chunk_delay, fault, script }
    }
}

/// How one request is answered.
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) chunk_delay: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) script: Arc<Script>,
}
