//! Asking a model, from a parsed request to its answer. HTTP is one caller among others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use systemprompt_governance::policy::PolicyChain;
use systemprompt_governance::{Action, Denial, Gate};
use systemprompt_identity::Sessions;
use systemprompt_model::{ActionId, Ambient, EntityKind, Resource};
use systemprompt_telemetry::Exporter;
use tokio_util::sync::CancellationToken;

use crate::allowance;
pub use crate::answer::{AnswerBody, Reply};
use crate::ask::UsageWish;
pub use crate::ask::{Ask, Forwarded};
use crate::attempt::Trouble;
use crate::brought::Brought;
use crate::cache::{AnswerCache, Asked, Caching};
use crate::call::{Answered, Call, Here, Means};
use crate::config::StreamRecovery;
use crate::exported::Traced;
use crate::failure::untranslatable;
pub use crate::failure::{Failure, FailureKind, ProviderShut};
use crate::metrics::GatewayMetrics;
use crate::recording::{Place, Recording, Subject};
use crate::request::Infer;
use crate::resilience::ShutReason;
use crate::routing::{Destination, NoRoute, Way};
use crate::settled::Inside;
use crate::snapshot::GatewaySnapshot;
use crate::target::{Target, passed_on, prepare};
pub use crate::upstream::SendError;
use crate::waiting::Waiting;

/// The service that asks models. One per server; agents, jobs and extensions take it from the server's services and ask
/// under the same rules, with the same records, as a client that comes by HTTP:
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use systemprompt_gateway::inference::{Ask, Failure, Forwarded, Inference};
/// use systemprompt_llm::{Format, InferenceRequest};
/// use systemprompt_model::Attribution;
///
/// async fn summarise(inference: &Arc<Inference>, by: Attribution, body: Bytes) -> Result<Bytes, Failure> {
///     let request = InferenceRequest::parse(Format::AnthropicMessages, body).expect("a request we wrote ourselves");
///     let reply = inference.ask(Ask { by, request, forwarded: Forwarded::default() }).await?;
///     Ok(reply.whole().await)
/// }
/// ```
pub struct Inference {
    /// What the configuration in force makes of it; a reload puts another here.
    pub(crate) current: ArcSwap<GatewaySnapshot>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) metrics: Arc<GatewayMetrics>,
    /// The answers that are given once more.
    pub(crate) cache: Arc<AnswerCache>,
    /// What extensions say of where requests go, and of what models are told.
    pub(crate) brought: Brought,
    /// Sends spans and measurements to a collector, if there is one.
    pub(crate) exporter: Option<Arc<Exporter>>,
    pub(crate) ambient: Ambient,
    /// Cancelled when the time for draining streams is over.
    pub(crate) cut: CancellationToken,
}

impl Inference {
    /// The policies that requests are judged by from now on.
    pub(crate) fn policies(&self) -> Arc<PolicyChain> {
        self.gate.policies()
    }

    /// Asks a model: finds the way, has the Gate judge exactly the bytes that will be sent, sends them and gives the
    /// answer as it comes. The ledger has the decision before anything is sent, and one outcome however the call ends.
    ///
    /// # Errors
    ///
    /// The Gate refused, or no usable answer came.
    pub async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Reply, Failure> {
        self.ask_from_inside(ask, Inside::default()).await
    }

    /// The same, for somebody who wants to know what it came to.
    pub(crate) async fn ask_from_inside(self: &Arc<Self>, ask: Ask, inside: Inside) -> Result<Reply, Failure> {
        // One configuration for all of the call, whatever is reloaded meanwhile.
        let snapshot = self.snapshot();
        let ask = Arc::new(ask);
        let call = Box::pin(self.begin(&snapshot, &ask, UsageWish::AsTaken, &inside)).await;
        let call = call.inspect_err(|failure| self.export_refusal(&ask, failure))?;
        let (id, is_stream) = (call.id, ask.request.stream);
        let dialect = (ask.request.format, ask.request.stream_usage_requested());
        let patience = call.here.target.provider.timeouts.head_patience;
        let mut limits = HeaderMap::new();
        allowance::write(&mut limits, &call.recording.allowances(), ask.request.format, self.ambient.now());
        let inference = Arc::clone(self);
        let mut answering = Box::pin(async move {
            let refused = match call.answer(&ask).await? {
                Answered::Reply(reply) => return Ok(reply),
                Answered::UsageRefused(reply) => reply,
            };
            // A request of its own: what is sent now was not judged yet. It is rare, so what it takes lies elsewhere: this
            // future is moved for every request.
            let again = Box::pin(async {
                let call = inference.begin(&snapshot, &ask, UsageWish::Refused, &inside).await.ok()?;
                call.answer(&ask).await.ok().map(Answered::reply)
            });
            Ok(again.await.unwrap_or(refused))
        });
        let with_limits = |mut reply: Reply, limits: HeaderMap| {
            if !limits.is_empty() {
                reply.headers.extend(limits);
            }
            reply
        };
        if !is_stream {
            return answering.await.map(|reply| with_limits(reply, limits));
        }
        // The caller gets the status of the answer if it comes for as long as the caller has patience.
        if let Ok(reply) = tokio::time::timeout(patience, &mut answering).await {
            return reply.map(|reply| with_limits(reply, limits));
        }
        let body = AnswerBody::stream(Waiting::new(answering, id, dialect, self.cut.clone().cancelled_owned()));
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]);
        Ok(with_limits(Reply { request: id, status: StatusCode::OK, headers, body }, limits))
    }

    /// Has calls that begin from now on follow another configuration.
    pub(crate) fn put_in_force(&self, snapshot: GatewaySnapshot) {
        self.metrics.announce(&snapshot.table.models());
        self.cache.put_in_force(snapshot.settings.answer_cache);
        self.current.store(Arc::new(snapshot));
    }

    /// A request that is refused has its span too.
    fn export_refusal(&self, ask: &Ask, failure: &Failure) {
        let exporter = self.exporter.as_ref();
        let id = failure.request.filter(|_| exporter.is_some());
        if let Some(exported) = id.and_then(|id| Traced::begin(exporter, id, ask).end()) {
            exported.refused(failure);
        }
    }

    /// What the configuration in force makes of the gateway.
    pub(crate) fn snapshot(&self) -> Arc<GatewaySnapshot> {
        self.current.load_full()
    }

    /// All that comes before the first byte is sent: the way, the bytes, the Gate's permit.
    async fn begin(
        &self,
        snapshot: &Arc<GatewaySnapshot>,
        ask: &Ask,
        wish: UsageWish,
        inside: &Inside,
    ) -> Result<Call, Failure> {
        let Ask { by, request, forwarded } = ask;
        let id = ActionId::generate(&self.ambient);
        // Lines of the log about this request say which it is.
        let span = tracing::Span::current();
        span.record("request_id", tracing::field::display(id));
        if let Some(session) = by.session {
            span.record("session_id", tracing::field::display(session));
        }

        // Route.
        let way = match snapshot.table.resolve(request, forwarded.conversation.as_deref()) {
            Ok(way) => way,
            Err(no_route) => {
                let refusal = self.gate.refuse(self.action(id, ask, None, Bytes::new()), no_route.into()).await;
                return Err(Failure::new(id, refusal));
            }
        };
        let way = match self.with_extensions(snapshot, ask, way).await {
            Ok(way) => way,
            Err((way, denial)) => {
                let action = self.action(id, ask, way.as_ref().map(|way| (way, &[][..])), Bytes::new());
                return Err(Failure::new(id, self.gate.refuse(action, denial).await));
            }
        };
        let policies = self.gate.policies();
        let route = way.route.clone();
        let is_let_go = |to: &Destination| !policies.leaves_out(&route.id, to.provider.region.as_deref());
        let way = way.beginning_where(is_let_go);
        let created = self.ambient.now().timestamp();
        let prepared_for =
            |to: &Destination| prepare(request, &forwarded.headers, to, wish == UsageWish::AsTaken, id, created);
        let may_go = |to: &Destination| !inside.not_to.iter().any(|name| **name == *to.provider.name);
        let (mut candidates, passed_over) =
            in_order(&way, |to| may_go(to) && is_let_go(to) && prepared_for(to).is_ok());
        candidates.retain(|to| may_go(to));
        let Some(to) = candidates.first().cloned() else {
            let (model, prefix) = (request.model.clone(), snapshot.settings.inference_path_prefix.clone());
            let action = self.action(id, ask, Some((&way, &[])), Bytes::new());
            return Err(Failure::new(id, self.gate.refuse(action, NoRoute::Unknown { model, prefix }.into()).await));
        };

        // Prepare.
        let target = Target::new(&to, request, &forwarded.headers, &snapshot.credentials);
        let prepared = match prepared_for(&to) {
            Ok(prepared) => prepared,
            Err(error) => {
                let action = self.action(id, ask, Some((&way, &candidates)), Bytes::new());
                let refusal = self.gate.refuse(action, untranslatable(&error)).await;
                return Err(Failure::new(id, refusal));
            }
        };

        // Admit, for all the places the route leads to.
        let mut action = self.action(id, ask, Some((&way, &candidates)), prepared.bytes);
        let passed_on = passed_on(&forwarded.headers, candidates.iter().map(|to| to.provider.wire));
        let effect = action.effect.leaving_with(prepared.estimated_input_tokens, request, &way);
        action.effect = effect.accompanied_by(passed_on);
        action.effect.losses = inside.losses.iter().cloned().chain(prepared.losses).collect();
        action.effect.system_prompt_override = to.override_name().map(str::to_owned);
        let permit = self.gate.admit(action).await.map_err(|refusal| Failure::new(id, refusal))?;
        candidates.retain(|to| permit.is_for(&to.permit_target));

        // Begin. If the caller goes away from here on, that is what gets recorded.
        let (content, running) = permit.begin(&to.permit_target).map_err(|error| Failure::new(id, error))?;
        if let Some(reason) = passed_over {
            let (from, to) = (&way.first.provider.name, &to.provider.name);
            self.metrics.failed_over(from, to, Trouble::from(reason).reason());
        }
        let place = Place::new(to.clone(), prepared.back.provider());
        let subject = Subject {
            dialect: request.format,
            first: way.first.clone(),
            system_prompt_override: to.override_name().map(str::to_owned),
            route_match: way.route_match,
            prices: snapshot.prices,
            estimated_input_tokens: prepared.estimated_input_tokens,
            choices: request.answers,
            received: forwarded.received.unwrap_or_else(Instant::now),
            metrics: self.metrics.clone(),
            sessions: self.sessions.clone(),
            session: by.session,
            traced: Traced::begin(self.exporter.as_ref(), id, ask),
            teller: inside.teller.clone(),
        };
        let caching = way.route.cache.map(|rules| {
            let (route, headers) = (way.route.id.as_str(), &forwarded.headers);
            let asked = Asked { principal: &by.principal, request, headers, route, target: &target, content: &content };
            Box::new(Caching::of(&self.cache, rules, &asked))
        });
        Ok(Call {
            id,
            caching,
            means: Means {
                snapshot: snapshot.clone(),
                metrics: self.metrics.clone(),
                ambient: self.ambient.clone(),
                cut: self.cut.clone(),
            },
            wish,
            recording: Box::new(Recording::new(running, subject, place, request.stream)),
            here: Box::new(Here { to, target, content, back: prepared.back, pass: None }),
            others: candidates.into_iter().skip(1).collect::<VecDeque<_>>(),
            retries: 0,
            goes_on: way.route.stream_recovery == StreamRecovery::Continue,
        })
    }

    /// The way that extensions choose, and what models are told there, if they have something to say of it.
    pub(crate) async fn with_extensions(
        &self,
        snapshot: &GatewaySnapshot,
        ask: &Ask,
        mut way: Way,
    ) -> Result<Way, (Option<Way>, Denial)> {
        if self.brought.has_selectors() {
            let refined = Box::pin(self.brought.refine(&snapshot.table, ask, way)).await;
            way = refined.map_err(|no_route| (None, no_route.into()))?;
        }
        if self.brought.has_overrides()
            && let Err(denial) = Box::pin(self.brought.instruct(&ask.by.principal, &mut way)).await
        {
            return Err((Some(way), denial));
        }
        Ok(way)
    }

    /// The request as the Gate sees it. Without a way it is a request that found none.
    fn action(
        &self,
        id: ActionId,
        ask: &Ask,
        way: Option<(&Way, &[Arc<Destination>])>,
        content: Bytes,
    ) -> Action<Infer> {
        let Ask { by, request, forwarded } = ask;
        let route = way.map_or("", |(way, _)| way.route.id.as_str());
        Action {
            id,
            by: by.clone(),
            resource: Resource::entity(EntityKind::GatewayRoute, route),
            targets: way
                .iter()
                .flat_map(|(_, candidates)| candidates.iter().map(|to| to.permit_target.clone()))
                .collect(),
            content,
            effect: Infer::new(
                request,
                forwarded.conversation.as_deref(),
                forwarded.agent.as_deref(),
                way.map(|(way, _)| way),
            ),
            received_at: self.ambient.now(),
        }
    }
}

/// The places a way leads to in the order in which they are tried. If the first takes no requests at present, one that does
/// comes before it, so that its bytes are those that are judged, and why is said; it must be able to get the request at all.
fn in_order(way: &Way, can_get_it: impl Fn(&Destination) -> bool) -> (Vec<Arc<Destination>>, Option<ShutReason>) {
    let mut candidates: Vec<_> = way.candidates().cloned().collect();
    let now = Instant::now();
    let shut = |to: &Destination| to.provider.health.is_shut(&to.metric_model(), now);
    let Some(reason) = shut(&way.first) else { return (candidates, None) };
    let open = candidates.iter().skip(1).position(|to| shut(to).is_none() && can_get_it(to));
    let Some(open) = open else { return (candidates, None) };
    candidates[..=open + 1].rotate_right(1);
    (candidates, Some(reason))
}
