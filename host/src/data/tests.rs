//! Tests of opening, splitting and batching; the formats have their own.

use super::*;

fn source(path: &str) -> Source {
    Source {
        path: path.into(),
        format: Format::Csv,
        label: Some("y".into()),
        test_share: 0.25,
        split_seed: 7,
    }
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
    let (_folder, dir) = folder(&[("d.csv", &numbers(10))]);
    let open = || Arc::new(Dataset::open(&dir, &source("d.csv")).unwrap());
    let dataset = open();
    // A quarter of ten, rounded.
    assert_eq!((dataset.size(Split::Train), dataset.size(Split::Test), dataset.size(Split::All)), (7, 3, 10));
    let test = labels(dataset.batches(Split::Test, 2, None));
    let train = labels(dataset.batches(Split::Train, 2, None));
    assert!(test.is_sorted() && train.is_sorted(), "file order");
    let mut both = [test.clone(), train].concat();
    both.sort_unstable();
    assert_eq!(both, (0..10).collect::<Vec<_>>());
    assert_eq!(labels(open().batches(Split::Test, 3, None)), test);
}

#[test]
fn batches_are_full_but_for_the_last() {
    let (_folder, dir) = folder(&[("d.csv", &numbers(10))]);
    let dataset = Arc::new(Dataset::open(&dir, &source("d.csv")).unwrap());
    let sizes: Vec<_> =
        dataset.batches(Split::All, 4, None).map(|batch| batch[0].1.shape().to_vec()).collect();
    assert_eq!(sizes, [[4, 1], [4, 1], [2, 1]]);
    assert_eq!(dataset.batches(Split::All, usize::MAX, None).count(), 1);
    assert_eq!(dataset.batches(Split::All, 0, None).count(), 10);
}

#[test]
fn a_shuffle_depends_on_its_seed_alone() {
    let (_folder, dir) = folder(&[("d.csv", &numbers(10))]);
    let dataset = Arc::new(Dataset::open(&dir, &source("d.csv")).unwrap());
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
    let reason = |source: &Source| Dataset::open(&dir, source).unwrap_err().reason;
    assert_eq!(reason(&source("absent.csv")), "NotFound");
    assert_eq!(reason(&source(".")), "Unreadable");
    assert_eq!(reason(&source("/etc/passwd")), "Unreadable");
    assert_eq!(reason(&source("../d.csv")), "Unreadable");
    for test_share in [-0.1, 1.0, f64::NAN] {
        assert_eq!(reason(&Source { test_share, ..source("d.csv") }), "InvalidSplit");
    }
    let dataset = Dataset::open(&dir, &Source { test_share: 0.9, ..source("d.csv") }).unwrap();
    assert_eq!(dataset.size(Split::Train), 1, "one sample at least is left to train");
}
