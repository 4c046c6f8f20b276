//! What a job has come to, on disk: its rounds, and the models that its versions are. One file, replaced as a whole before
//! anything is done that it speaks of. Called by `worker::learn`.

use std::collections::{BTreeMap, HashSet};
use std::io;

use cap_std::fs::Dir;
use sedge_api::Digest;
use sedge_learning::{DamagedState, LARGEST_STATE, Rounds};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::artifacts::durable;

/// Below the node's data directory, a folder for each job by its uid.
pub(super) const FOLDER: &str = "learning";
const FILE: &str = "rounds.json";
/// Beside the rounds there is little.
const MAX_BYTES: u64 = LARGEST_STATE as u64 + (1 << 20);

/// What a job has come to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub rounds: Rounds,
    /// By version; version 0 is the job's model, and not among them.
    pub models: BTreeMap<u32, Kept>,
}

/// The model that a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Of its manifest.
    pub manifest: Digest,
    /// The registry has it.
    #[serde(default)]
    pub uploaded: bool,
}

/// Why there is no record to go on with.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    /// The disk.
    #[error("{FOLDER}/{job}/{FILE}: {source}")]
    Disk {
        /// uid of the job.
        job: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is there is not what was written.
    #[error("{FOLDER}/{job}/{FILE}: {source}")]
    Damaged {
        /// uid of the job.
        job: String,
        /// What is wrong with it, and what to do.
        source: DamagedState,
    },
    /// Likewise.
    #[error(
        "{FOLDER}/{job}/{FILE} does not read as it was written ({source}): put a copy back, or remove it to begin anew from \
         the job's first model"
    )]
    Unreadable {
        /// uid of the job.
        job: String,
        /// Where.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    models: BTreeMap<u32, Kept>,
    #[serde(borrow)]
    rounds: &'a RawValue,
}

impl Record {
    /// Models that records of other jobs name: where training is the same to the bit, jobs share what they made. Blocking.
    pub fn models_of_others(data: &Dir, job: &str) -> io::Result<HashSet<Digest>> {
        let mut models = HashSet::new();
        for entry in data.read_dir(FOLDER)? {
            let other = entry?.file_name().to_string_lossy().into_owned();
            if other == job {
                continue;
            }
            // What nobody can read nobody uses.
            let record = Self::read(&data.open_dir(format!("{FOLDER}/{other}"))?, &other).ok().flatten();
            models.extend(
                record.into_iter().flat_map(|record| record.models.into_values()).map(|kept| kept.manifest),
            );
        }
        Ok(models)
    }

    /// The folder of the job's record, made where there is none; `job` is a uid that is safe as a name. Blocking.
    pub fn folder(data: &Dir, job: &str) -> Result<Dir, RecordError> {
        let path = format!("{FOLDER}/{job}");
        let made = data.create_dir_all(&path).and_then(|()| data.open_dir(&path));
        made.map_err(|source| RecordError::Disk { job: job.to_owned(), source })
    }

    /// What is in the job's folder; None: it has not begun. Blocking.
    pub fn read(folder: &Dir, job: &str) -> Result<Option<Self>, RecordError> {
        let job = || job.to_owned();
        let read = durable::read(folder, FILE, MAX_BYTES);
        let Some(bytes) = read.map_err(|source| RecordError::Disk { job: job(), source })? else {
            return Ok(None);
        };
        let File { models, rounds } = serde_json::from_slice(&bytes)
            .map_err(|source| RecordError::Unreadable { job: job(), source })?;
        let rounds = Rounds::from_json(rounds.get().as_bytes())
            .map_err(|source| RecordError::Damaged { job: job(), source })?;
        Ok(Some(Self { rounds, models }))
    }

    /// Replace what is in the job's folder. Blocking.
    pub fn write(&self, folder: &Dir) -> io::Result<()> {
        let rounds = self.rounds.to_json();
        let rounds: &RawValue = serde_json::from_slice(&rounds)?;
        let bytes = serde_json::to_vec(&File { models: self.models.clone(), rounds })?;
        durable::replace(folder, FILE, &[bytes])
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn record() -> Record {
        let weights = Digest::of(b"weights").to_string().parse().unwrap();
        Record {
            rounds: Rounds::begin(weights, 7, Timestamp::UNIX_EPOCH),
            models: [(1, Kept { manifest: Digest::of(b"model"), uploaded: true })].into(),
        }
    }

    #[test]
    fn what_is_written_reads_back_and_damage_is_told() {
        let root = tempfile::tempdir().unwrap();
        let data = Dir::open_ambient_dir(root.path(), cap_std::ambient_authority()).unwrap();
        let folder = Record::folder(&data, "0a-1b").unwrap();
        assert_eq!(Record::read(&folder, "0a-1b").unwrap(), None);
        record().write(&folder).unwrap();
        assert_eq!(Record::read(&folder, "0a-1b").unwrap(), Some(record()));
        assert!(Record::models_of_others(&data, "0a-1b").unwrap().is_empty());
        Record::folder(&data, "2c").unwrap();
        assert_eq!(Record::models_of_others(&data, "2c").unwrap(), [Digest::of(b"model")].into());

        let path = root.path().join("learning/0a-1b/rounds.json");
        let whole = std::fs::read_to_string(&path).unwrap();
        for (damaged, word) in [
            (whole[..whole.len() / 2].to_owned(), "does not read as it was written"),
            (whole.replace("\"deployed\":0", "\"deployed\":9"), "contradicts itself"),
        ] {
            std::fs::write(&path, damaged).unwrap();
            let error = Record::read(&folder, "0a-1b").unwrap_err().to_string();
            assert!(error.starts_with("learning/0a-1b/rounds.json") && error.contains(word), "{error}");
            assert!(error.contains("begin anew"), "{error}");
        }
    }
}
