//! What the endpoints have in common.

use std::sync::Arc;

use systemprompt_governance::access::AccessRules;
use systemprompt_identity::Sessions;
use systemprompt_telemetry::Ingest;

use crate::inference::Inference;

/// What the endpoints need. Made once per server.
pub(crate) struct Gateway {
    pub sessions: Arc<Sessions>,
    pub access: Arc<AccessRules>,
    pub inference: Arc<Inference>,
    pub telemetry: Arc<Ingest>,
}
