//! Tests of opening, splitting and batching; the crate that reads has its own.

use super::*;

fn described(test: f64) -> Description {
    let split = serde_json::json!({"share": {"test": test, "seed": 7}});
    serde_json::from_value(serde_json::json!({"label": "y", "split": split})).unwrap()
}

fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Dir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
    (folder, dir)
}

fn numbers(rows: usize) -> String {
    (0..rows).fold("a,y\n".to_owned(), |text, row| format!("{text}{row}.5,{row}\n"))
}

fn labels(batches: Batches) -> Vec<i64> {
    batches.flat_map(|batch| batch[1].1.as_slice::<i64>().unwrap().to_vec()).collect()
}

#[test]
fn a_split_holds_out_its_share_and_is_always_the_same() {
    let (_folder, dir) = folder(&[("d.csv", &numbers(40))]);
    let open = || Arc::new(Dataset::open(&dir, "d.csv", described(0.25)).unwrap());
    let dataset = open();
    // A quarter of any twenty rows.
    assert_eq!(
        (dataset.size(Split::Train), dataset.size(Split::Test), dataset.size(Split::All)),
        (30, 10, 40)
    );
    let test = labels(dataset.batches(Split::Test, 2, None));
    let train = labels(dataset.batches(Split::Train, 2, None));
    assert!(test.is_sorted() && train.is_sorted(), "file order");
    let mut both = [test.clone(), train].concat();
    both.sort_unstable();
    assert_eq!(both, (0..40).collect::<Vec<_>>());
    assert_eq!(labels(open().batches(Split::Test, 3, None)), test);
}

#[test]
fn batches_are_full_but_for_the_last() {
    let (_folder, dir) = folder(&[("d.csv", &numbers(10))]);
    let dataset = Arc::new(Dataset::open(&dir, "d.csv", described(0.25)).unwrap());
    let sizes: Vec<_> =
        dataset.batches(Split::All, 4, None).map(|batch| batch[0].1.shape().to_vec()).collect();
    assert_eq!(sizes, [[4, 1], [4, 1], [2, 1]]);
    assert_eq!(dataset.batches(Split::All, usize::MAX, None).count(), 1);
    assert_eq!(dataset.batches(Split::All, 0, None).count(), 10);
}

#[test]
fn a_shuffle_depends_on_its_seed_alone() {
    let (_folder, dir) = folder(&[("d.csv", &numbers(10))]);
    let dataset = Arc::new(Dataset::open(&dir, "d.csv", described(0.25)).unwrap());
    let shuffled = |seed| labels(dataset.batches(Split::All, 3, Some(seed)));
    assert_eq!(shuffled(1), shuffled(1));
    assert_ne!(shuffled(1), shuffled(2));
    let rows = dataset.batches(Split::All, 3, Some(1)).flat_map(|batch| {
        let x = batch[0].1.as_slice::<f32>().unwrap().to_vec();
        x.into_iter().zip(batch[1].1.as_slice::<i64>().unwrap().to_vec()).collect::<Vec<_>>()
    });
    assert!(rows.into_iter().all(|(x, y)| x == y as f32 + 0.5), "rows stay together");
}

#[test]
fn what_cannot_be_opened_is_said() {
    let (_folder, dir) = folder(&[("d.csv", "a,y\n1,2\n")]);
    let reason = |path: &str| Dataset::open(&dir, path, described(0.0)).unwrap_err().reason();
    assert_eq!(reason("absent.csv"), "NotFound");
    assert_eq!(reason("/etc/passwd"), "Unreadable");
    assert_eq!(reason("../d.csv"), "Unreadable");
    assert_eq!(Dataset::open(&dir, "d.csv", described(1.0)).unwrap_err().reason(), "InvalidDescription");
    std::fs::write(_folder.path().join("empty.csv"), "a,y\n").unwrap();
    let error = Dataset::open(&dir, "empty.csv", described(0.0)).unwrap_err();
    assert_eq!(error.to_string(), "cannot read empty.csv: no samples yet");
}

#[test]
fn batches_that_are_read_ahead_are_the_same() {
    let (_folder, dir) = folder(&[("d.csv", &numbers(3000))]);
    let dataset = Arc::new(Dataset::open(&dir, "d.csv", described(0.25)).unwrap());
    let read = |ahead: bool| {
        let batches = dataset.batches(Split::Train, 64, Some(3));
        assert_eq!(batches.ahead_byte_len(), None, "too few for a thread");
        let mut batches = if ahead { batches.read_ahead() } else { batches };
        let mut all = Vec::new();
        while let Some(batch) = batches.try_next().unwrap() {
            let y = batch[1].1.as_slice::<i64>().unwrap();
            all.extend_from_slice(y);
        }
        assert_eq!(batches.next_byte_len(), 0);
        all
    };
    assert_eq!(read(true), read(false));
}
