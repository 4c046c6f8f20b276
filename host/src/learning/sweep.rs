//! Records of jobs that no Worker of this node is of any more. A job's learner may be declared anew within moments, and what
//! it has come to is all there is of it: a record stays for a day after its last Worker is gone.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::record::{FOLDER, Record};
use crate::artifacts::{Artifact, Artifacts, durable};

/// Since when no Worker is of the job: seconds since 1970.
const ORPHAN: &str = "orphan";
const PATIENCE: Duration = Duration::from_secs(86_400);

/// Remove records, and the models that they name, of jobs that were not among `jobs` for a day.
pub(crate) async fn sweep(
    data: &Arc<Dir>,
    artifacts: &Arc<Artifacts>,
    jobs: HashSet<String>,
) -> io::Result<()> {
    let (folder, now) = (Arc::clone(data), Timestamp::now().as_second());
    let gone = spawn_blocking(move || orphans(&folder, &jobs, now)).await.map_err(io::Error::other)??;
    for (job, record) in gone {
        let (folder, this) = (Arc::clone(data), job.clone());
        let shared = spawn_blocking(move || Record::models_of_others(&folder, &this)).await;
        let shared = shared.map_err(io::Error::other)??;
        let models = record.map(|record| record.models).unwrap_or_default();
        for kept in models.into_values().filter(|kept| !shared.contains(&kept.manifest)) {
            // The repository is a word in messages alone here: blobs are found by digest.
            let model = Artifact { repository: format!("models of job {job}"), digest: kept.manifest };
            artifacts.forget_model(&model).await.map_err(io::Error::other)?;
        }
        let data = Arc::clone(data);
        let path = format!("{FOLDER}/{job}");
        spawn_blocking(move || data.remove_dir_all(path)).await.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Jobs whose time is over, with what is known of them.
fn orphans(data: &Dir, jobs: &HashSet<String>, now: i64) -> io::Result<Vec<(String, Option<Record>)>> {
    let entries = match data.read_dir(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut gone = Vec::new();
    for entry in entries {
        let job = entry?.file_name().to_string_lossy().into_owned();
        let folder = data.open_dir(format!("{FOLDER}/{job}"))?;
        let marked = durable::read(&folder, ORPHAN, 64)?;
        if jobs.contains(&job) {
            if marked.is_some() {
                folder.remove_file(ORPHAN)?;
            }
            continue;
        }
        let since = marked.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<i64>().ok());
        // A clock that was set back begins the day anew.
        match since.filter(|since| *since <= now) {
            None => durable::replace(&folder, ORPHAN, &[now.to_string()])?,
            Some(since) if now - since >= PATIENCE.as_secs() as i64 => {
                // One that cannot be read is removed as well; its models stay, for nobody knows them.
                let record = Record::read(&folder, &job).ok().flatten();
                gone.push((job, record));
            }
            Some(_) => {}
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_for_a_day_after_its_last_worker() {
        let root = tempfile::tempdir().unwrap();
        let data = Dir::open_ambient_dir(root.path(), cap_std::ambient_authority()).unwrap();
        let none = HashSet::new();
        assert!(orphans(&data, &none, 0).unwrap().is_empty(), "there is no folder yet");
        Record::folder(&data, "0a-1b").unwrap();
        let gone = |jobs: &HashSet<String>, now| {
            orphans(&data, jobs, now).unwrap().into_iter().map(|(job, _)| job).collect::<Vec<_>>()
        };
        let day = 86_400;
        let of_job = HashSet::from(["0a-1b".to_owned()]);
        assert!(gone(&none, 1_000).is_empty() && gone(&none, 1_000 + day - 1).is_empty());
        assert!(gone(&of_job, 1_000 + day).is_empty(), "it is wanted again");
        assert!(gone(&none, 2_000 + day).is_empty(), "its day begins anew");
        assert!(gone(&none, 500).is_empty(), "a clock that was set back removes nothing");
        assert_eq!(gone(&none, 500 + day), ["0a-1b"]);
    }
}
