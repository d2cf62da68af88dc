//! A breaker: after enough failures in a row nothing is sent for a while, and then a few requests try it out.

use std::time::{Duration, Instant};

/// How long to wait where it is only known that somebody else is trying it out.
const WHILE_TRIED: Duration = Duration::from_secs(1);

/// When a breaker opens, and how it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BreakerSettings {
    /// Failures in a row after which it opens.
    pub threshold: u32,
    /// How long it stays open.
    pub cooldown: Duration,
    /// How many requests try it out at a time, and how many successes close it; 1 or more.
    pub probes: u32,
}

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// Everything passes.
    Closed,
    /// A few requests pass.
    HalfOpen,
    /// Nothing passes.
    Open,
}

/// The breaker of one model of a provider.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    /// Counts the changes of phase: what was admitted before the last one says nothing about the present.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { trying: u32, succeeded: u32 },
}

/// A request that was let through. What became of it is told to the breaker.
#[derive(Debug)]
pub(super) struct Admitted {
    generation: u64,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self { settings, phase: Phase::Closed { failures: 0 }, generation: 0 }
    }

    /// How it stands. One whose time is over is half open, whether or not anybody asked since.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Lets a request through, or says how long nothing will pass.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Admitted, Duration> {
        if let Phase::Open { until } = self.phase {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                return Err(left);
            }
            self.turn(Phase::HalfOpen { trying: 0, succeeded: 0 });
        }
        if let Phase::HalfOpen { trying, .. } = &mut self.phase {
            if *trying >= self.settings.probes {
                return Err(WHILE_TRIED);
            }
            *trying += 1;
        }
        Ok(Admitted { generation: self.generation })
    }

    /// Whether a request would not be let through now.
    pub(super) fn is_shut(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { .. } => false,
            Phase::Open { until } => now < until,
            Phase::HalfOpen { trying, .. } => trying >= self.settings.probes,
        }
    }

    /// The provider answered.
    pub(super) fn succeeded(&mut self, admitted: &Admitted) {
        if admitted.generation != self.generation {
            return;
        }
        match &mut self.phase {
            Phase::Closed { failures } => *failures = 0,
            Phase::HalfOpen { trying, succeeded } => {
                *trying -= 1;
                *succeeded += 1;
                if *succeeded >= self.settings.probes {
                    self.turn(Phase::Closed { failures: 0 });
                }
            }
            Phase::Open { .. } => {}
        }
    }

    /// The provider failed.
    pub(super) fn failed(&mut self, admitted: &Admitted, now: Instant) {
        if admitted.generation != self.generation {
            return;
        }
        let opens = match &mut self.phase {
            Phase::Closed { failures } => {
                *failures += 1;
                *failures >= self.settings.threshold
            }
            Phase::HalfOpen { .. } => true,
            Phase::Open { .. } => false,
        };
        if opens {
            self.turn(Phase::Open { until: now + self.settings.cooldown });
        }
    }

    /// It is not known what became of the request: the caller went away.
    pub(super) fn abandoned(&mut self, admitted: &Admitted) {
        if admitted.generation == self.generation
            && let Phase::HalfOpen { trying, .. } = &mut self.phase
        {
            *trying -= 1;
        }
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use systemprompt_model::{Entropy, SeededEntropy};

    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings { threshold: 3, cooldown: Duration::from_secs(30), probes: 2 };

    fn second(number: u64, start: Instant) -> Instant {
        start + Duration::from_secs(number)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_when_it_was_tried_out() {
        let start = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        for outcome in [false, false, true, false, false, false] {
            assert_eq!(breaker.state(start), BreakerState::Closed);
            let admitted = breaker.admit(start).expect("it is closed");
            if outcome { breaker.succeeded(&admitted) } else { breaker.failed(&admitted, start) }
        }
        assert_eq!(breaker.state(start), BreakerState::Open);
        assert_eq!(breaker.admit(second(29, start)).unwrap_err(), Duration::from_secs(1));

        let now = second(30, start);
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        let (first, second_one) = (breaker.admit(now).expect("a probe"), breaker.admit(now).expect("a probe"));
        assert!(breaker.is_shut(now) && breaker.admit(now).is_err(), "no more than two at a time");
        breaker.abandoned(&first);
        let third = breaker.admit(now).expect("a place is free again");
        breaker.succeeded(&second_one);
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        breaker.succeeded(&third);
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_fails_opens_it_again() {
        let start = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings { threshold: 1, ..SETTINGS });
        let admitted = breaker.admit(start).expect("it is closed");
        breaker.failed(&admitted, start);
        let now = second(31, start);
        let (probe, other) = (breaker.admit(now).expect("a probe"), breaker.admit(now).expect("a probe"));
        breaker.failed(&probe, now);
        assert_eq!(breaker.admit(now).unwrap_err(), SETTINGS.cooldown);
        breaker.succeeded(&other);
        assert_eq!(breaker.state(now), BreakerState::Open, "what began before says nothing any more");
    }

    /// Whatever comes in whatever order: never more probes than allowed, never closed while the last words were failures,
    /// and always open for no longer than the cooldown.
    #[test]
    fn it_keeps_its_promises_whatever_happens() {
        for seed in 0..200 {
            let entropy = SeededEntropy::new(seed);
            let draw = || {
                let mut byte = [0];
                entropy.fill(&mut byte);
                byte[0]
            };
            let settings = BreakerSettings {
                threshold: u32::from(draw() % 4) + 1,
                cooldown: Duration::from_secs(u64::from(draw() % 20)),
                probes: u32::from(draw() % 3) + 1,
            };
            let mut breaker = Breaker::new(settings);
            let mut now = Instant::now();
            let mut running: Vec<Admitted> = Vec::new();
            // Failures since the last success of a closed breaker.
            let mut in_a_row = 0;
            for _ in 0..400 {
                match draw() % 6 {
                    0 => now += Duration::from_secs(u64::from(draw() % 8)),
                    1 | 2 => {
                        let was_shut = breaker.is_shut(now);
                        let admitted = breaker.admit(now);
                        assert_eq!(was_shut, admitted.is_err());
                        match admitted {
                            Ok(admitted) => running.push(admitted),
                            Err(wait) => assert!(wait <= settings.cooldown.max(WHILE_TRIED)),
                        }
                    }
                    what if !running.is_empty() => {
                        let admitted = running.swap_remove(usize::from(draw()) % running.len());
                        let counts = admitted.generation == breaker.generation;
                        let closed = breaker.state(now) == BreakerState::Closed;
                        match what {
                            3 => {
                                breaker.succeeded(&admitted);
                                in_a_row = 0;
                            }
                            4 => {
                                breaker.failed(&admitted, now);
                                in_a_row += u32::from(counts && closed);
                                assert!(
                                    !counts
                                        || !closed
                                        || in_a_row < settings.threshold
                                        || !matches!(breaker.phase, Phase::Closed { .. })
                                );
                            }
                            _ => breaker.abandoned(&admitted),
                        }
                    }
                    _ => {}
                }
                if !matches!(breaker.phase, Phase::Closed { .. }) {
                    in_a_row = 0;
                }
                if let Phase::HalfOpen { trying, succeeded } = breaker.phase {
                    let probing = running.iter().filter(|admitted| admitted.generation == breaker.generation).count();
                    assert_eq!(trying as usize, probing);
                    assert!(trying <= settings.probes && succeeded < settings.probes);
                }
                if let Phase::Open { until } = breaker.phase {
                    assert!(until <= now + settings.cooldown);
                }
            }
        }
    }
}
