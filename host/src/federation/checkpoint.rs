//! The last finished round on disk: weights and state, a pair that a kill at any moment leaves consistent.
//!
//! ```text
//!  1. weights-N.safetensors   written whole, renamed into place, folder synced
//!  2. state.json              names weights-N; replaced the same way: from here on round N is finished
//!  3. older weights           removed
//! ```
//! Killed before 2, the old state and its weights stand; after it, the new. All calls block.

use std::io;

use bytes::Bytes;
use cap_std::fs::Dir;
use sedge_api::node;
use serde::{Deserialize, Serialize};

use crate::artifacts::durable;
use crate::model::Weights;

const STATE: &str = "state.json";
/// A hundred rounds with dozens of metrics each need far less.
const MAX_STATE_BYTES: u64 = 16 << 20;

/// What is known at the end of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// The last finished round.
    pub(super) round: u32,
    /// Its weights, beside this file.
    pub(super) weights: String,
    /// Latest rounds, oldest first, at most [`HISTORY`].
    pub(super) history: Vec<Record>,
}

/// Rounds that are kept.
pub(super) const HISTORY: usize = 100;

/// What one round came to, as the node protocol's `Round`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) number: u32,
    pub(super) updates: u32,
    pub(super) refused: u32,
    pub(super) missing: u32,
    pub(super) samples: u64,
    pub(super) metrics: Vec<(String, f64)>,
    pub(super) duration_millis: u64,
    pub(super) finished_unix_millis: u64,
}

impl From<&Record> for node::Round {
    fn from(record: &Record) -> Self {
        Self {
            number: record.number,
            updates: record.updates,
            refused: record.refused,
            missing: record.missing,
            samples: record.samples,
            metrics: record
                .metrics
                .iter()
                .map(|(name, value)| node::Metric { name: name.clone(), value: *value })
                .collect(),
            duration_millis: record.duration_millis,
            finished_unix_millis: record.finished_unix_millis,
        }
    }
}

/// The name of the file with a round's weights.
pub(super) fn weights_name(round: u32) -> String {
    format!("weights-{round}.safetensors")
}

/// Keep the end of a round; `weights` are the parts of its safetensors.
pub(super) fn save(dir: &Dir, weights: &[Bytes], state: &State) -> io::Result<()> {
    durable::replace(dir, &state.weights, weights)?;
    durable::replace(dir, STATE, &[serde_json::to_vec(state)?])?;
    for entry in dir.entries()? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("weights-") && *text != state.weights {
            dir.remove_file(&name)?;
        }
    }
    Ok(())
}

/// The last finished round, if there is one.
pub(super) fn state(dir: &Dir) -> io::Result<Option<State>> {
    let Some(bytes) = durable::read(dir, STATE, MAX_STATE_BYTES)? else { return Ok(None) };
    let state: State = serde_json::from_slice(&bytes)?;
    if state.weights != weights_name(state.round) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{STATE} names {}", state.weights)));
    }
    Ok(Some(state))
}

/// The last finished round with its weights, mapped.
pub(super) fn load(dir: &Dir) -> io::Result<Option<(State, Weights)>> {
    let Some(state) = state(dir)? else { return Ok(None) };
    let weights = Weights::map(dir, &state.weights)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", state.weights)))?;
    Ok(Some((state, weights)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(round: u32) -> State {
        let record = Record {
            number: round,
            updates: 2,
            refused: 0,
            missing: 1,
            samples: 30,
            metrics: vec![("accuracy".to_owned(), 0.5)],
            duration_millis: 7,
            finished_unix_millis: 9,
        };
        State { round, weights: weights_name(round), history: vec![record] }
    }

    fn pair(dir: &Dir) -> (State, Vec<u8>) {
        let state = state(dir).unwrap().unwrap();
        let weights = dir.read(&state.weights).unwrap();
        (state, weights)
    }

    /// What the disk holds after each step of saving round 2 over round 1, as a kill there leaves it.
    #[test]
    fn a_kill_at_any_step_leaves_a_pair_that_belongs_together() {
        let next = serde_json::to_vec(&at(2)).unwrap();
        let steps: [(&str, Vec<u8>, Option<&str>); 4] = [
            ("weights-2.safetensors.tmp", b"hal".to_vec(), None),
            ("weights-2.safetensors.tmp", b"two".to_vec(), Some("weights-2.safetensors")),
            ("state.json.tmp", next[..next.len() / 2].to_vec(), None),
            ("state.json.tmp", next.clone(), Some("state.json")),
        ];
        for killed_after in 0..=steps.len() {
            let folder = tempfile::tempdir().unwrap();
            let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
            save(&dir, &[Bytes::from_static(b"one")], &at(1)).unwrap();
            for (name, content, renamed) in &steps[..killed_after] {
                dir.write(name, content).unwrap();
                if let Some(to) = renamed {
                    dir.rename(name, &dir, to).unwrap();
                }
            }
            let expected = if killed_after < steps.len() { (at(1), b"one") } else { (at(2), b"two") };
            assert_eq!(pair(&dir), (expected.0, expected.1.to_vec()), "killed after step {killed_after}");
            save(&dir, &[Bytes::from_static(b"th"), Bytes::from_static(b"ree")], &at(3)).unwrap();
            assert_eq!(pair(&dir), (at(3), b"three".to_vec()));
            let weights = dir.entries().unwrap().filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("weights-")
            });
            assert_eq!(weights.count(), 1, "older weights are removed");
        }
    }

    #[test]
    fn a_state_that_names_a_file_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let state_elsewhere = State { weights: "../x".to_owned(), ..at(1) };
        dir.write(STATE, serde_json::to_vec(&state_elsewhere).unwrap()).unwrap();
        assert!(state(&dir).is_err());
    }
}
