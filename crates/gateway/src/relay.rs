//! A streamed answer on its way to the caller: every byte as it comes, watched but not held back.
//!
//! Back-pressure is the caller's: the next piece is read from the provider when the last one was taken. Dropping the
//! body — the caller closed the connection — cancels the call upstream and records it as such.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use systemprompt_governance::{AnswerSafety, Denial, Inspection, Looked};
use systemprompt_llm::{ErrorAnswer, Format};
use systemprompt_model::ActionId;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::attempt::Trouble;
use crate::config::Timeouts;
use crate::failure::withheld;
use crate::lane::{AnswerLane, TooLarge};
use crate::metrics::StreamGuard;
use crate::recording::{End, Recording};
use crate::recovery::{Recovery, WentOn};
use crate::redacted::replacements;
use crate::upstream::{self, UpstreamBody};

/// After this long without a byte the caller gets a sign of life, so that proxies in between do not hang up.
const SILENCE: Duration = Duration::from_secs(15);
/// After its last event a provider has this long to end its answer by itself.
const LINGER: Duration = Duration::from_secs(1);
/// After the model said why it stopped, a provider has this long to say what it used and to end its answer.
const USAGE_LINGER: Duration = Duration::from_secs(30);

/// The end of a stream that is guarded, while it is looked at.
type Looking = Pin<Box<dyn Future<Output = Looked> + Send>>;

/// An answer that was held back, while policies look at it. Dropping it is giving up the call.
type Inspecting = Pin<Box<dyn Future<Output = (Box<Recording>, Inspection, Bytes)> + Send>>;

/// The tools that a model asks for at the end of a stream, while policies look at them. The same.
type Judging = Pin<Box<dyn Future<Output = (Box<Recording>, Inspection)> + Send>>;

/// What of an answer waits for policies to see its tool calls may have this size; beyond it the call fails.
const TOOLS_LIMIT: usize = 16 * 1024 * 1024;

/// The next piece for the caller.
type Polled = Poll<Option<Result<Frame<Bytes>, Infallible>>>;

/// The body of a streamed answer.
pub(crate) struct Relay {
    upstream: UpstreamBody,
    lane: AnswerLane,
    /// Present until the end is recorded, or while the answer is being inspected.
    recording: Option<Box<Recording>>,
    inspecting: Option<Inspecting>,
    /// What looks at a guarded stream as it comes.
    guard: Option<AnswerSafety>,
    looking: Option<Looking>,
    /// What comes from the first call of a tool on that a policy wants to see, until all of it is there.
    tools: Option<BytesMut>,
    judging: Option<Judging>,
    /// They said nothing against them, and the answer is at its end.
    judged: bool,
    /// The answer is at its end, of which the last is being looked at.
    ending: bool,
    /// The end is recorded once all that was said has been looked at.
    closing: Option<JoinHandle<()>>,
    /// How the stream goes on if it breaks off, where the route has it so.
    recovery: Option<Recovery>,
    request_id: ActionId,
    dialect: Format,
    idle: Duration,
    last_byte: Instant,
    last_sign: Instant,
    /// Wakes the stream up to look at its limits. It is not moved on every chunk: when it fires it is set to the next
    /// limit that can pass.
    alarm: Pin<Box<Sleep>>,
    /// The server is shutting down and its patience is over.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _active: StreamGuard,
}

impl Relay {
    /// Carries `upstream` to the caller in `lane`, under `recording`.
    pub(crate) fn new(
        upstream: UpstreamBody,
        lane: AnswerLane,
        recording: Box<Recording>,
        (request_id, dialect): (ActionId, Format),
        limits: Timeouts,
        cut: WaitForCancellationFutureOwned,
        active: StreamGuard,
    ) -> Self {
        let now = Instant::now();
        Self {
            upstream,
            lane,
            request_id,
            dialect,
            recording: Some(recording),
            inspecting: None,
            guard: None,
            looking: None,
            tools: None,
            judging: None,
            judged: false,
            ending: false,
            closing: None,
            recovery: None,
            idle: limits.idle,
            last_byte: now,
            last_sign: now,
            alarm: Box::pin(tokio::time::sleep(SILENCE.min(limits.idle))),
            cut: Box::pin(cut),
            _active: active,
        }
    }

    /// The same, and if the stream breaks off, it goes on.
    pub(crate) fn with_recovery(mut self, recovery: Option<Recovery>) -> Self {
        self.recovery = recovery;
        self
    }

    /// The same in a guarded lane, with what looks at it.
    pub(crate) fn with_guard(mut self, guard: Option<AnswerSafety>) -> Self {
        self.guard = guard;
        self
    }

    /// The provider broke off. If the caller has all of the answer, that is all; otherwise another provider goes on, or the
    /// caller is told what went wrong.
    fn broken(&mut self, trouble: Trouble, error: &ErrorAnswer, cx: &mut Context<'_>) -> Polled {
        if !self.is_complete() && self.recover(trouble, error) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.stop(error, cx)
    }

    /// Has another provider asked to go on, if that can be.
    fn recover(&mut self, trouble: Trouble, error: &ErrorAnswer) -> bool {
        let Some(recovery) = &mut self.recovery else { return false };
        let Some(recording) = self.recording.take() else { return false };
        match recovery.begin(recording, trouble, error) {
            Ok(()) => {
                // The alarm was set for a provider that is gone.
                self.alarm.as_mut().reset(Instant::now() + SILENCE);
                true
            }
            Err(recording) => {
                self.recording = Some(recording);
                false
            }
        }
    }

    /// Waits for another provider to go on, with signs of life. Nothing once it does.
    fn poll_recovery(&mut self, cx: &mut Context<'_>) -> Option<Polled> {
        let recovery = self.recovery.as_mut().filter(|recovery| recovery.is_going())?;
        match recovery.poll(cx) {
            Poll::Ready(Ok(WentOn { recording, upstream, idle, .. })) => {
                (self.recording, self.upstream, self.idle) = (Some(recording), upstream, idle);
                self.last_byte = Instant::now();
                self.alarm.as_mut().reset(self.last_byte + SILENCE.min(idle));
                None
            }
            Poll::Ready(Err((recording, error))) => {
                self.recording = Some(recording);
                Some(match recovery.take_error() {
                    // In the provider's own words.
                    Some(said) => {
                        self.closing = self.recording.take().and_then(|recording| recording.close(None));
                        Poll::Ready(Some(Ok(Frame::data(said))))
                    }
                    None => self.fail(&error, cx),
                })
            }
            Poll::Pending => {
                if self.alarm.as_mut().poll(cx).is_pending() {
                    return Some(Poll::Pending);
                }
                self.alarm.as_mut().reset(Instant::now() + SILENCE);
                Some(Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.dialect.ping()))))))
            }
        }
    }

    /// Ends the stream although the provider has not. If the caller has all of the answer, that is all; otherwise it is
    /// told what went wrong, in its dialect.
    fn stop(&mut self, error: &ErrorAnswer, cx: &mut Context<'_>) -> Polled {
        if self.is_complete() {
            return self.complete(cx);
        }
        self.fail(error, cx)
    }

    /// Ends the stream with an error.
    fn fail(&mut self, error: &ErrorAnswer, cx: &mut Context<'_>) -> Polled {
        self.end_with(error, End::Failed(error.message.clone()), cx)
    }

    /// Ends the stream because of what it says.
    fn cut(&mut self, denial: &Denial, cx: &mut Context<'_>) -> Polled {
        self.end_with(&withheld(denial), End::Cut(format!("the answer was cut: {denial}")), cx)
    }

    fn end_with(&mut self, error: &ErrorAnswer, how: End, cx: &mut Context<'_>) -> Polled {
        let Some(mut recording) = self.recording.take() else { return Poll::Ready(None) };
        recording.tells(error);
        let request = self.request_id.to_string();
        let recovers = self.recovery.is_some();
        let end = self.lane.fail(
            error,
            || (recording.error_events(error, &request), recovers || recording.at_event_boundary()),
            || error.sse_event(self.dialect, Some(&request)),
        );
        self.closing = recording.close(Some(how));
        self.last_piece(end, cx)
    }

    /// Gives what is left, or waits until the end is recorded if nothing is.
    fn last_piece(&mut self, piece: Bytes, cx: &mut Context<'_>) -> Polled {
        if piece.is_empty() { self.poll_closing(cx) } else { Poll::Ready(Some(Ok(Frame::data(piece)))) }
    }

    /// The end of the body: it is recorded.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Polled {
        if let Some(closing) = &mut self.closing {
            if let Err(error) = ready!(Pin::new(closing).poll(cx)) {
                tracing::error!(%error, request_id = %self.request_id, "looking at an answer that is over failed");
            }
            self.closing = None;
        }
        Poll::Ready(None)
    }

    /// Has what is new in a guarded stream looked at.
    fn look(&mut self, fresh: Vec<String>) {
        let Some(safety) = self.guard.clone() else { return };
        self.looking = Some(Box::pin(async move { safety.look_in_window(&fresh).await }));
    }

    /// Waits for who looks at a guarded stream, with signs of life. Nothing if it goes on and there is nothing to give.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Option<Polled> {
        let looking = self.looking.as_mut()?;
        let Poll::Ready(looked) = looking.as_mut().poll(cx) else {
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Some(Poll::Pending);
            }
            self.alarm.as_mut().reset(Instant::now() + SILENCE);
            return Some(Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.dialect.ping()))))));
        };
        self.looking = None;
        // The time it took was not the provider's silence.
        let now = Instant::now();
        if !self.is_complete() {
            self.last_byte = now;
        }
        let next = self.check_limits(now).unwrap_or(now);
        self.alarm.as_mut().reset(next);
        let denial = match looked {
            Looked::Clear => None,
            Looked::Objects(denial) => Some(denial),
            Looked::Replace(found, denial) => self.lane.replace(replacements(found)).is_err().then_some(denial),
        };
        if let Some(denial) = denial {
            return Some(self.cut(&denial, cx));
        }
        let given = self.lane.cleared(self.ending || self.is_complete() || self.has_stopped());
        if given.is_empty() {
            return None;
        }
        self.last_sign = Instant::now();
        Some(Poll::Ready(Some(Ok(Frame::data(given)))))
    }

    /// Keeps back a piece of an answer in which the model asks for a tool that a policy wants to see. Nothing if it may go on.
    fn keep_back(&mut self, piece: &[u8]) -> Result<bool, TooLarge> {
        if self.tools.is_none() && !self.recording.as_mut().is_some_and(|recording| recording.asks_for_watched_tool()) {
            return Ok(false);
        }
        let kept = self.tools.get_or_insert_default();
        if kept.len() + piece.len() > TOOLS_LIMIT {
            return Err(TooLarge);
        }
        kept.extend_from_slice(piece);
        Ok(true)
    }

    /// Waits for what policies say about the tools that the model asks for, with signs of life. Nothing if the answer goes
    /// on to its end and there is nothing to give.
    fn poll_judging(&mut self, cx: &mut Context<'_>) -> Option<Polled> {
        let judging = self.judging.as_mut()?;
        let Poll::Ready((recording, inspection)) = judging.as_mut().poll(cx) else {
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Some(Poll::Pending);
            }
            self.alarm.as_mut().reset(Instant::now() + SILENCE);
            // The caller may have half an event.
            let ping: &[u8] =
                if self.lane.at_boundary(false) { self.dialect.ping() } else { return Some(Poll::Pending) };
            return Some(Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(ping))))));
        };
        (self.judging, self.recording) = (None, Some(recording));
        let kept = self.tools.take().unwrap_or_default().freeze();
        if let Inspection::Withhold(denial) = inspection {
            return Some(self.cut(&denial, cx));
        }
        let Ok(given) = self.lane.feed(kept, true) else {
            let message = "the provider's answer is too large to be inspected";
            return Some(self.fail(&ErrorAnswer::upstream_interrupted(message), cx));
        };
        self.judged = true;
        (!given.is_empty()).then(|| Poll::Ready(Some(Ok(Frame::data(given)))))
    }

    /// An answer that arrived to its end is recorded, once policies have seen it if they want to. The provider may have
    /// ended it with an error of its own, which the caller sees.
    fn complete(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.tools.is_some()
            && let Some(mut recording) = self.recording.take()
        {
            self.judging = Some(Box::pin(async move {
                let inspection = recording.inspect_tool_calls().await;
                (recording, inspection)
            }));
            if let Some(polled) = self.poll_judging(cx) {
                return polled;
            }
        }
        if let Some(held) = self.lane.take_held()
            && let Some(mut recording) = self.recording.take()
        {
            self.inspecting = Some(Box::pin(async move {
                let mut inspection = recording.inspect(&held.stream, &held.said).await;
                if inspection == Inspection::Give {
                    inspection = recording.look_for_safety(&held.stream, &held.said).await;
                }
                let mut stream = held.stream.clone();
                if inspection == Inspection::Give {
                    match recording.replaced(&stream, true).await {
                        Ok(replaced) => stream = replaced,
                        Err(denial) => inspection = Inspection::Withhold(denial),
                    }
                }
                (recording, inspection, held.given(stream))
            }));
            return self.poll_inspection(cx);
        }
        if let Some(fresh) = self.lane.last() {
            self.ending = true;
            self.look(fresh);
            if let Some(polled) = self.poll_look(cx) {
                return polled;
            }
        }
        self.closing = self.recording.take().and_then(|recording| recording.close(None));
        let rest = match &mut self.recovery {
            Some(recovery) => recovery.finish(),
            None => self.lane.finish(),
        };
        self.last_piece(rest, cx)
    }

    /// Waits for what policies say about an answer that was held back, with signs of life.
    fn poll_inspection(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(inspecting) = &mut self.inspecting else { return Poll::Ready(None) };
        let Poll::Ready((recording, inspection, given)) = inspecting.as_mut().poll(cx) else {
            ready!(self.alarm.as_mut().poll(cx));
            // The caller has nothing yet, so any place is between two events.
            self.alarm.as_mut().reset(Instant::now() + SILENCE);
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.dialect.ping())))));
        };
        self.inspecting = None;
        let data = match inspection {
            Inspection::Give => {
                recording.finish_answer();
                given
            }
            Inspection::Withhold(denial) => {
                let error = withheld(&denial);
                recording.finish(End::Withheld(format!("the answer was withheld: {denial}")));
                error.sse_event(self.dialect, Some(&self.request_id.to_string())).into()
            }
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// Whether the caller has all of the answer, and the provider only has to say that it has no more.
    fn is_complete(&self) -> bool {
        self.recording.as_ref().is_some_and(|recording| recording.terminal_seen())
    }

    /// Whether the model said why it stopped, though the provider may have more to say.
    fn has_stopped(&self) -> bool {
        self.recording.as_ref().is_some_and(|recording| recording.has_stopped())
    }

    /// Nothing more comes of the provider: the answer is complete if the model said why it stopped.
    fn provider_is_done(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.end_of_stream();
        }
    }

    /// The limit that passed, if one did; otherwise when to look again.
    fn check_limits(&self, now: Instant) -> Result<Instant, ErrorAnswer> {
        let patience = if self.is_complete() {
            LINGER.min(self.idle)
        } else if self.has_stopped() {
            USAGE_LINGER.min(self.idle)
        } else {
            self.idle
        };
        let silence_limit = self.last_byte + patience;
        if now >= silence_limit {
            return Err(ErrorAnswer::upstream_timeout(format!("the provider fell silent for {:?}", self.idle)));
        }
        Ok(silence_limit.min(self.last_sign + SILENCE))
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        if this.inspecting.is_some() {
            return this.poll_inspection(cx);
        }
        if let Some(polled) = this.poll_recovery(cx) {
            return polled;
        }
        if let Some(polled) = this.poll_look(cx) {
            return polled;
        }
        if let Some(polled) = this.poll_judging(cx) {
            return polled;
        }
        if this.recording.is_none() {
            return this.poll_closing(cx);
        }
        if this.ending || this.judged {
            return this.complete(cx);
        }
        // The caller got the error the last time.
        if let Some(why) = this.lane.trouble() {
            return this.fail(&ErrorAnswer::upstream_interrupted(why), cx);
        }
        loop {
            match Pin::new(&mut this.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let now = Instant::now();
                    this.last_byte = now;
                    let mut stopped = false;
                    if let Some(recording) = &mut this.recording {
                        recording.feed(&data);
                        if recording.terminal_seen() {
                            this.alarm.as_mut().reset(now + LINGER.min(this.idle));
                            stopped = true;
                        } else if recording.has_stopped() {
                            this.alarm.as_mut().reset(now + USAGE_LINGER.min(SILENCE).min(this.idle));
                            stopped = true;
                        }
                    }
                    let data = match &mut this.recovery {
                        Some(recovery) => recovery.feed(&data),
                        None => data,
                    };
                    if this.recovery.as_ref().is_some_and(Recovery::has_error) {
                        let error = ErrorAnswer::upstream_interrupted("the provider reported an error in its answer");
                        let recovers = this.recover(Trouble::Broken, &error);
                        let said = if recovers { None } else { this.recovery.as_mut().and_then(Recovery::take_error) };
                        let given = [&data[..], &said.unwrap_or_default()].concat();
                        if recovers {
                            cx.waker().wake_by_ref();
                        }
                        if given.is_empty() {
                            return Poll::Pending;
                        }
                        this.last_sign = now;
                        return Poll::Ready(Some(Ok(Frame::data(given.into()))));
                    }
                    let kept_back = this.keep_back(&data);
                    if kept_back == Ok(true) {
                        continue;
                    }
                    let fed = kept_back.and_then(|_| this.lane.feed(data, stopped));
                    let Ok(data) = fed else {
                        let message = "the provider's answer is too large to be inspected";
                        return this.fail(&ErrorAnswer::upstream_interrupted(message), cx);
                    };
                    if let Some(fresh) = this.lane.fresh(stopped) {
                        this.look(fresh);
                    }
                    if data.is_empty() {
                        match this.poll_look(cx) {
                            Some(polled) => return polled,
                            None => continue,
                        }
                    }
                    this.last_sign = now;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = upstream::broken_off(&error).to_string();
                    return this.broken(Trouble::Broken, &ErrorAnswer::upstream_interrupted(error), cx);
                }
                Poll::Ready(None) => {
                    this.provider_is_done();
                    let error = ErrorAnswer::upstream_interrupted("the provider's answer ended before it was complete");
                    return this.broken(Trouble::Broken, &error, cx);
                }
                Poll::Pending => {}
            }
            if this.cut.as_mut().poll(cx).is_ready() {
                return this.stop(&ErrorAnswer::shutting_down(), cx);
            }
            if this.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match this.check_limits(now) {
                Err(error) => {
                    this.provider_is_done();
                    return this.broken(Trouble::TimedOut, &error, cx);
                }
                Ok(next) if next > now => this.alarm.as_mut().reset(next),
                // Only the sign of life is due. It must not fall into the middle of an event.
                Ok(_) => {
                    this.last_sign = now;
                    this.alarm.as_mut().reset(now + SILENCE.min(this.idle));
                    let between_events = this.recording.as_ref().is_some_and(|recording| recording.at_event_boundary());
                    let between_events = this.recovery.is_some() || this.lane.at_boundary(between_events);
                    if between_events && !this.is_complete() {
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(this.dialect.ping())))));
                    }
                }
            }
        }
    }
}

impl Drop for Relay {
    /// The caller went away, or has all it wanted: what was said may have to be looked at before that is recorded.
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.leave();
        }
    }
}
