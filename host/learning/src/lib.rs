//! The rounds of an incremental learning job: what is to be done next, and what came of it.
//!
//! ```text
//!            Plan (triggers, replay, retries, keep)   Figures (rows, drift, hard share)   the caller's clock
//!                                  │                         │                                   │
//!                                  ▼                         ▼                                   ▼
//!  ┌─ Rounds ─────────────────── next ─▶ Step: Wait │ Train │ Evaluate │ Deploy │ Forget ──▶ the caller does it
//!  │  versions, rounds, triggers                                                                  │
//!  └──◀── trained, evaluated, deployed_now, forgotten, failed, ask_rollback, replaced ◀───────────────┘
//! ```
//!
//! The node that trains holds one [`Rounds`] for each job and does what it says. Nothing here reads a clock, waits or
//! does I/O, so a whole year of a job is a test of milliseconds.
//!
//! # How a caller goes
//!
//! 1. Read the state with [`Rounds::from_json`], or [`Rounds::begin`] where there is none. A stage that its own node was
//!    at when it stopped is told with [`Rounds::interrupted`].
//! 2. Ask [`Rounds::next`] whenever a figure has changed, an event was told, or a [`Step::Wait`] has run out. If
//!    [`Rounds::revision`] is another than was last written, write [`Rounds::to_json`] **before** doing what the step says:
//!    to another file, synchronised, then renamed over the old.
//! 3. Do the step; or go on doing it, if it equals the one that is under way; end what is under way and is not the step any
//!    more (a rollback ends the round in progress).
//! 4. Tell what came of it, with the step itself: [`trained`](Rounds::trained), [`evaluated`](Rounds::evaluated),
//!    [`deployed_now`](Rounds::deployed_now), [`forgotten`](Rounds::forgotten) or [`failed`](Rounds::failed)
//!    (which is tried again) or [`refused`](Rounds::refused) (which is not); then 2.
//!
//! A step is the same until it is told to be done, whatever happens in between, so a stop between any two of these lines
//! costs at most the step that was under way. An event that is not of the present step is refused as
//! [`OutOfTurn`] and changes nothing: words that arrive twice or late do no harm.
//!
//! What a step needs of other nodes (an evaluation or a deployment elsewhere) is no matter of this crate: the caller asks
//! for it as long as the step is that one, for days if need be, and tells what came of it.
//!
//! # A round
//!
//! | stage | ends `completed` | ends `skipped` | ends `failed` |
//! | --- | --- | --- | --- |
//! | train | a candidate is there | a version was rolled back | every try failed |
//! | evaluate | candidate and deployed model were measured on the same data | likewise | likewise |
//! | deploy | the candidate serves | its figures do not hold: it is kept out; or likewise | likewise |
//!
//! A round begins when the train trigger fires, and fixes its data then: of each source the rows from where the data of
//! the version that it starts from ended, up to what there was. It always starts from the deployed version. So what a
//! failed round, a candidate that was kept out or a version that was rolled back was to teach is taught by the next round;
//! and a trigger's `newSamples` counts what came since the latest round's data, whatever became of that round. No round
//! begins as long as that is nothing, or a trigger on age or drift would train on the same rows again and again.
//!
//! A candidate whose figures do not hold, or are not known, is kept out at once, with the figures; outside of the deploy
//! trigger's window, in its cool-down or check period it waits.
//!
//! A try that failed is made again after 1 s, 2 s, 4 s (see [`Retries`]); then the round has failed, the deployed version
//! goes on serving, and the next round waits for its trigger.
//!
//! # Rows
//!
//! A source is one file or stream of a dataset, by a name that stays ([`Rows`]); a dataset of one file has one source.
//! Rows are counted from 0 in the order in which they were appended, those that the split holds out included, so that
//! ranges mean the same after a restart. A source whose rows were replaced is told with [`Rounds::replaced`]; one that has
//! become shorter is noticed.
//!
//! # Replay
//!
//! Against forgetting, a round mixes in a share of earlier rows: a uniform sample of all rows before its data, by
//! algorithm R of J. S. Vitter, *Random Sampling with a Reservoir*, ACM Transactions on Mathematical Software 11 (1985).
//! [`Rounds::replay`] works it out anew from the job's seed and the round's number: indices alone, no more than the
//! reservoir holds, the same at each asking.
//!
//! Evaluations report on earlier data too: [`Evaluate::earlier`] says how many rows of each source the evaluation before
//! it saw; rows below that are what the model is not to forget. Metrics of the rows from there on alone, where the world is as it is
//! now, come among the others with the prefix `recent.`.
//!
//! # Drift
//!
//! [`Figures::drift`] is the score of what came since the deployed version was trained. Who measures it begins a new
//! reference after each `trained` (`sedge_drift::Detector::learn` with the round's rows, or `restart`), or a drift that has
//! been learnt would fire again.
//!
//! # Versions
//!
//! Version 0 is the model that the job began with. Each round makes one more, whose parent is the version that it started
//! from. `keep` of them have their weights kept, at least two; the deployed one, its parent, and what a rollback would go
//! back to are among them, however old. The records of others stay, up to [`MOST_VERSIONS`].

#![forbid(unsafe_code)]

mod digest;
mod events;
mod metrics;
mod next;
mod plan;
mod replay;
mod rollback;
mod round;
mod rounds;
mod rows;
mod saved;
mod step;
#[cfg(test)]
mod tests;
mod version;

pub use digest::{Digest, InvalidDigest};
pub use events::{Evaluated, Failed, OutOfTurn, Trained};
pub use metrics::{MOST_METRICS, Metrics};
pub use plan::{Figures, Plan, Replay, Retries};
pub use rollback::{Rollback, RollbackState};
pub use round::{Outcome, Round, Stage, StageRecord, StageState};
pub use rounds::{MOST_ROUNDS, MOST_VERSIONS, Rounds};
pub use rows::{DataRange, InvalidRows, MOST_ROWS, MOST_SOURCES, RowRange, Rows};
pub use saved::{DamagedState, LARGEST_STATE};
pub use step::{Deploy, DeployCause, Evaluate, Forget, Step, Train, VersionRef};
pub use version::{Evaluation, Version, VersionState};

/// Characters of a reason that are kept.
const LONGEST_TEXT: usize = 1_024;

/// The beginning of a text that may be of any length.
fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}
