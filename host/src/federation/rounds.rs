//! When a round begins and when it closes: pure decisions over who is there and who has answered.
//!
//! No clock, no I/O: [`super::aggregation`] feeds in what happened and the time, and does what comes out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Rounds in a row that may fail before the job does.
pub(super) const TRIES: u32 = 3;
/// The longest wait for expected participants once the minimum is there.
const LONGEST_GRACE: Duration = Duration::from_secs(10);

/// Who must take part, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Terms {
    /// No round starts or closes with fewer; at least 1.
    pub(crate) minimum: usize,
    /// Share of those invited that closes a round, (0, 1].
    pub(crate) fraction: f64,
    /// Of one round.
    pub(crate) deadline: Duration,
}

impl Terms {
    /// How long the first round waits for all that are expected, once the minimum is there.
    fn grace(&self) -> Duration {
        (self.deadline / 4).min(LONGEST_GRACE)
    }
}

/// Whether a round may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Now.
    Now,
    /// At this time, if nothing changes.
    At(Instant),
    /// Not before more participants are there.
    Wait,
    /// Never: too many have failed for good.
    Never,
}

/// Waiting for participants before a round.
#[derive(Debug, Clone)]
pub(super) struct Gathering {
    terms: Terms,
    /// The first round of a process waits for all; later ones go on with who is there.
    patient: bool,
    minimum_since: Option<Instant>,
}

impl Gathering {
    pub(super) const fn new(terms: Terms, patient: bool) -> Self {
        Self { terms, patient, minimum_since: None }
    }

    /// `connected` of `expected` trainers, which do not count those that failed for good, are there at `now`.
    pub(super) fn start(&mut self, connected: usize, expected: usize, now: Instant) -> Start {
        if expected < self.terms.minimum {
            return Start::Never;
        }
        if connected < self.terms.minimum {
            self.minimum_since = None;
            return Start::Wait;
        }
        let since = *self.minimum_since.get_or_insert(now);
        let at = since + self.terms.grace();
        if !self.patient || connected >= expected || now >= at { Start::Now } else { Start::At(at) }
    }
}

/// What an invited participant has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Awaited,
    Folded { samples: u64 },
    Refused,
    Failed,
}

/// What is to be done with a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing before the deadline, unless an answer comes.
    Wait,
    /// Close it: enough updates are folded.
    Close,
    /// Do it again: too few will come or came.
    Again,
}

/// Counts of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) folded: u32,
    pub(super) refused: u32,
    /// Invited, and neither folded nor refused.
    pub(super) missing: u32,
    pub(super) samples: u64,
}

/// One round under way.
#[derive(Debug, Clone)]
pub(super) struct Round {
    terms: Terms,
    deadline: Instant,
    answers: BTreeMap<String, Answer>,
}

impl Round {
    pub(super) fn new(terms: Terms, invited: impl IntoIterator<Item = String>, now: Instant) -> Self {
        let answers = invited.into_iter().map(|name| (name, Answer::Awaited)).collect();
        Self { terms, deadline: now + terms.deadline, answers }
    }

    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether an answer of `name` is wanted.
    pub(super) fn awaits(&self, name: &str) -> bool {
        self.answers.get(name) == Some(&Answer::Awaited)
    }

    pub(super) fn folded(&mut self, name: &str, samples: u64) {
        self.answer(name, Answer::Folded { samples });
    }

    pub(super) fn refused(&mut self, name: &str) {
        self.answer(name, Answer::Refused);
    }

    pub(super) fn failed(&mut self, name: &str) {
        self.answer(name, Answer::Failed);
    }

    /// The first answer counts; an answer of somebody not invited does not.
    fn answer(&mut self, name: &str, answer: Answer) {
        if let Some(slot) = self.answers.get_mut(name)
            && *slot == Answer::Awaited
        {
            *slot = answer;
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.answers.values().fold(Tally::default(), |mut tally, answer| {
            match answer {
                Answer::Folded { samples } => {
                    tally.folded += 1;
                    tally.samples = tally.samples.saturating_add(*samples);
                }
                Answer::Refused => tally.refused += 1,
                Answer::Awaited | Answer::Failed => tally.missing += 1,
            }
            tally
        })
    }

    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let invited = self.answers.len();
        let answered = self.answers.values().filter(|answer| **answer != Answer::Awaited).count();
        let enough = self.tally().folded as usize >= self.terms.minimum;
        // A share of few is rounded up: half of three is two.
        let wanted = ((invited as f64 * self.terms.fraction).ceil() as usize).clamp(1, invited.max(1));
        if enough && (answered >= wanted || now >= self.deadline) {
            Verdict::Close
        } else if answered == invited || now >= self.deadline {
            Verdict::Again
        } else {
            Verdict::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms(minimum: usize, fraction: f64) -> Terms {
        Terms { minimum, fraction, deadline: 20 * SECOND }
    }

    #[test]
    fn a_round_begins_with_all_or_with_the_minimum_after_a_grace() {
        let t0 = Instant::now();
        let grace = 5 * SECOND;
        // (connected, expected, seconds) by turns, and what comes of each
        let cases: [(&str, bool, &[(usize, usize, u32)], &[Start]); 6] = [
            ("all there", true, &[(3, 3, 0)], &[Start::Now]),
            ("minimum, then grace", true, &[(2, 3, 0), (2, 3, 5)], &[Start::At(t0 + grace), Start::Now]),
            ("minimum, then all", true, &[(2, 3, 0), (3, 3, 1)], &[Start::At(t0 + grace), Start::Now]),
            (
                "one leaves and comes back: the grace begins anew",
                true,
                &[(2, 3, 0), (1, 3, 1), (2, 3, 4)],
                &[Start::At(t0 + grace), Start::Wait, Start::At(t0 + 4 * SECOND + grace)],
            ),
            (
                "a later round does not wait for all",
                false,
                &[(1, 3, 0), (2, 3, 1)],
                &[Start::Wait, Start::Now],
            ),
            ("too many failed for good", true, &[(1, 1, 0)], &[Start::Never]),
        ];
        for (name, patient, steps, outcomes) in cases {
            let mut gathering = Gathering::new(terms(2, 1.0), patient);
            for ((connected, expected, seconds), outcome) in steps.iter().zip(outcomes) {
                assert_eq!(
                    gathering.start(*connected, *expected, t0 + *seconds * SECOND),
                    *outcome,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_grace_is_at_most_ten_seconds() {
        let terms = Terms { minimum: 1, fraction: 1.0, deadline: 3600 * SECOND };
        assert_eq!(terms.grace(), 10 * SECOND);
    }

    #[test]
    fn a_round_closes_when_enough_have_answered_or_at_its_deadline() {
        use Verdict::{Again, Close, Wait};
        // minimum, fraction, answers of four invited (f folded, r refused, x failed, . nothing), seconds
        let cases = [
            (2, 1.0, "....", 0, Wait),
            (2, 1.0, "fff.", 1, Wait),
            (2, 1.0, "ffff", 1, Close),
            (2, 0.5, "ff..", 1, Close),
            (2, 0.6, "ff..", 1, Wait),
            (2, 0.5, "fr..", 1, Wait),
            (2, 0.5, "ffr.", 1, Close),
            (1, 1.0, "frxr", 1, Close),
            (2, 1.0, "frxx", 1, Again),
            (2, 1.0, "ff..", 20, Close),
            (2, 1.0, "f...", 20, Again),
            (2, 1.0, "....", 20, Again),
            (1, 0.000_001, "f...", 1, Close),
        ];
        for (minimum, fraction, answers, seconds, verdict) in cases {
            let t0 = Instant::now();
            let names: Vec<_> = (0..4).map(|n| n.to_string()).collect();
            let mut round = Round::new(terms(minimum, fraction), names.clone(), t0);
            for (name, answer) in names.iter().zip(answers.chars()) {
                match answer {
                    'f' => round.folded(name, 10),
                    'r' => round.refused(name),
                    'x' => round.failed(name),
                    _ => {}
                }
            }
            let case = format!("minimum {minimum}, fraction {fraction}, {answers} at {seconds} s");
            assert_eq!(round.verdict(t0 + seconds * SECOND), verdict, "{case}");
        }
    }

    #[test]
    fn only_the_first_answer_of_an_invited_participant_counts() {
        let mut round = Round::new(terms(1, 1.0), ["a".to_owned(), "b".to_owned()], Instant::now());
        round.folded("a", 10);
        round.refused("a");
        round.folded("stranger", 99);
        assert!(!round.awaits("a") && round.awaits("b") && !round.awaits("stranger"));
        assert_eq!(round.tally(), Tally { folded: 1, refused: 0, missing: 1, samples: 10 });
    }
}
