//! Files that grow are read from where they were left; others are noticed.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;

use std::fs;

use folder::{Folder, described, parquet, record_batch, tensor, values};
use sedge_data::{Description, Growth, Part};
use serde_json::json;

fn waiting() -> Description {
    described(json!({"label": "y", "lastRow": "wait", "split": {"share": {"test": 0.3, "seed": 5}}}))
}

#[test]
fn only_new_rows_are_read_and_a_half_row_waits() {
    let folder = Folder::new();
    folder.write("d.csv", "a,y\n1,0\n2,1\n3,");
    let mut dataset = folder.open("d.csv", waiting()).unwrap();
    assert_eq!(values::<f32>(&dataset, "x"), [1., 2.]);
    assert_eq!(dataset.status().waiting_bytes, 2);
    assert!(dataset.refresh().unwrap().is_none());
    folder.append("d.csv", "7\n4,8\n5");
    assert_eq!(dataset.refresh().unwrap(), Growth { added: 2, replaced: false, problems: 0 });
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1, 7, 8]);
    assert_eq!(dataset.samples().select(Part::All, 2..4), [2, 3]);
    folder.append("d.csv", ",9\n");
    assert_eq!(dataset.refresh().unwrap().added, 1);
    assert_eq!(values::<f32>(&dataset, "x"), [1., 2., 3., 4., 5.]);
    assert_eq!(dataset.status().stats[0].mean, Some(3.0));
}

#[test]
fn rows_keep_their_side_and_readers_their_samples_while_a_file_grows() {
    let folder = Folder::new();
    let rows = |range: std::ops::Range<u32>| range.map(|row| format!("{row},{row}\n")).collect::<String>();
    folder.write("d.csv", format!("a,y\n{}", rows(0..73)));
    let mut grown = folder.open("d.csv", waiting()).unwrap();
    let before = grown.samples();
    for step in 0..30 {
        folder.append("d.csv", &rows(73 + step * 9..73 + (step + 1) * 9));
        assert_eq!(grown.refresh().unwrap().added, 9);
    }
    assert_eq!(before.len(Part::All), 73);
    let fresh = folder.open("d.csv", waiting()).unwrap();
    let side = |dataset: &sedge_data::Dataset, part| dataset.samples().select(part, 0..1000);
    assert_eq!(side(&grown, Part::Test), side(&fresh, Part::Test));
    assert!(before.select(Part::Test, 0..73).iter().all(|row| side(&fresh, Part::Test).contains(row)));
    assert_eq!(grown.samples().digest(0..343), fresh.samples().digest(0..343));
    assert_ne!(grown.samples().digest(0..342), fresh.samples().digest(0..343));
    assert_eq!(grown.status().stats[0].count, 343);
}

#[test]
fn a_file_that_is_cut_off_rewritten_or_replaced_is_read_anew() {
    let folder = Folder::new();
    let changes: [&dyn Fn(); 4] = [
        // Shorter.
        &|| folder.write("d.csv", "a,y\n9,1\n"),
        // As long, other content.
        &|| folder.write("d.csv", "a,y\n9,0\n2,1\n3,2\n"),
        // Longer, other content.
        &|| folder.write("d.csv", "a,y\n9,0\n2,1\n3,2\n4,3\n"),
        // Another file, with the old rows in front.
        &|| {
            folder.write("new.csv", "a,y\n1,0\n2,1\n3,2\n9,3\n");
            fs::rename(folder.path("new.csv"), folder.path("d.csv")).unwrap();
        },
    ];
    for (case, change) in changes.iter().enumerate() {
        folder.write("d.csv", "a,y\n1,0\n2,1\n3,2\n");
        let mut dataset = folder.open("d.csv", waiting()).unwrap();
        // The clock of file systems ticks slowly; a change within one tick that keeps the size is the next one's to see.
        let before = fs::metadata(folder.path("d.csv")).unwrap().modified().unwrap();
        change();
        let file = fs::File::options().append(true).open(folder.path("d.csv")).unwrap();
        file.set_modified(before + std::time::Duration::from_secs(1)).unwrap();
        let growth = dataset.refresh().unwrap();
        assert!(growth.replaced, "case {case}");
        assert!(values::<f32>(&dataset, "x").contains(&9.0), "case {case}");
        assert_eq!(growth.added, dataset.samples().len(Part::All));
    }
}

#[test]
fn a_last_row_without_its_end_is_taken_and_read_anew_should_it_go_on() {
    let folder = Folder::new();
    folder.write("d.csv", "a,y\n1,0\n2,1");
    let mut dataset = folder.open("d.csv", described(json!({"label": "y", "lastRow": "take"}))).unwrap();
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1]);
    folder.append("d.csv", "\n3,2");
    assert_eq!(dataset.refresh().unwrap(), Growth { added: 1, replaced: false, problems: 0 });
    folder.append("d.csv", "5\nx,0\n");
    let error = dataset.refresh().unwrap_err();
    assert!(error.to_string().starts_with("d.csv:5: "), "{error}");
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1, 2], "a failed reading changes nothing");
    folder.write("d.csv", "a,y\n1,0\n2,1\n3,25\n");
    assert!(dataset.refresh().unwrap().replaced);
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1, 25]);
}

#[test]
fn a_file_that_is_seen_to_grow_has_its_last_row_wait() {
    let folder = Folder::new();
    folder.write("d.csv", "a,y\n1,0\n2,1");
    let mut dataset = folder.open("d.csv", described(json!({"label": "y"}))).unwrap();
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1], "a finished file may end so");
    folder.append("d.csv", "7\n3,2\n4");
    assert!(dataset.refresh().unwrap().replaced);
    assert_eq!(values::<i64>(&dataset, "y"), [0, 17, 2]);
    let edition = |dataset: &sedge_data::Dataset| dataset.samples().spans().next().unwrap().edition;
    assert_eq!(edition(&dataset), 0, "its other rows are what they were");
    folder.append("d.csv", ",3\n5,");
    assert_eq!(dataset.refresh().unwrap(), Growth { added: 1, replaced: false, problems: 0 });
    assert_eq!(values::<i64>(&dataset, "y"), [0, 17, 2, 3]);
}

#[test]
fn classes_keep_their_numbers_over_growth_replacement_and_restart() {
    let folder = Folder::new();
    let description = described(json!({"label": "c", "classes": {}, "lastRow": "wait"}));
    folder.write("d.csv", "a,c\n1,pear\n2,fig\n");
    let mut dataset = folder.open("d.csv", description).unwrap();
    folder.append("d.csv", "3,plum\n4,pear\n");
    dataset.refresh().unwrap();
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1, 2, 0]);
    folder.write("d.csv", "a,c\n1,plum\n2,kiwi\n");
    assert!(dataset.refresh().unwrap().replaced);
    assert_eq!(values::<i64>(&dataset, "y"), [2, 3]);
    let kept = serde_json::to_string(dataset.description()).unwrap();
    let again = folder.open("d.csv", serde_json::from_str(&kept).unwrap()).unwrap();
    assert_eq!(values::<i64>(&again, "y"), [2, 3]);
    let counts =
        again.status().stats.into_iter().find(|stats| stats.tensor == "y").unwrap().distinct.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(2, 1), (3, 1)]);
}

#[test]
fn json_lines_grow_and_folders_gain_and_lose_files() {
    let folder = Folder::new();
    folder.write("d.jsonl", "{\"a\": 1}\n{\"a\": 2}\n{\"a\"");
    let mut dataset =
        folder.open("d.jsonl", described(json!({"format": "json-lines", "lastRow": "wait"}))).unwrap();
    folder.append("d.jsonl", ": 3}\n");
    assert_eq!(dataset.refresh().unwrap().added, 1);
    assert_eq!(values::<f32>(&dataset, "x"), [1., 2., 3.]);

    folder.write("p/1.parquet", parquet(&record_batch(2)));
    let tensors = json!([{"name": "a", "columns": {"one": "a"}}]);
    let mut dataset = folder.open("p", described(json!({"format": "parquet", "tensors": tensors}))).unwrap();
    folder.write("p/2.parquet", parquet(&record_batch(3)));
    assert_eq!(dataset.refresh().unwrap(), Growth { added: 3, replaced: false, problems: 0 });
    fs::remove_file(folder.path("p/1.parquet")).unwrap();
    assert_eq!(dataset.refresh().unwrap(), Growth { added: 3, replaced: true, problems: 0 });
    fs::remove_dir_all(folder.path("p")).unwrap();
    assert_eq!(dataset.refresh().unwrap_err().reason(), "NotFound");
    assert_eq!(values::<f32>(&dataset, "a").len(), 3, "what was read stays");
}

#[test]
fn batches_are_shuffled_by_their_seed_and_read_ahead() {
    let folder = Folder::new();
    let rows: String = (0..5000).map(|row| format!("{row}.5,{row}\n")).collect();
    folder.write("d.csv", format!("a,y\n{rows}"));
    let dataset = folder.open("d.csv", described(json!({"label": "y"}))).unwrap();
    let samples = dataset.samples();
    let read = |seed| {
        let mut queue = samples.batches(Part::All, 64, seed).prefetch(2);
        let mut labels = Vec::new();
        while let Some(batch) = queue.next_blocking() {
            let batch = batch.unwrap();
            let y = tensor::<i64>(&batch, "y");
            assert!(tensor::<f32>(&batch, "x").iter().zip(&y).all(|(x, y)| *x == *y as f32 + 0.5));
            labels.extend(y);
        }
        labels
    };
    assert_eq!(read(None), (0..5000).collect::<Vec<i64>>());
    assert_eq!(read(Some(1)), read(Some(1)));
    assert_ne!(read(Some(1)), read(Some(2)));
    let mut sorted = read(Some(3));
    sorted.sort_unstable();
    assert_eq!(sorted, read(None));
    // Left in the middle, it ends.
    let mut queue = samples.batches(Part::All, 64, None).prefetch(1);
    queue.next_blocking().unwrap().unwrap();
    drop(queue);
    let replayed = samples.batches_of(vec![3, 3, 4999, 6000], 10, None).next().unwrap().unwrap();
    assert_eq!(tensor::<i64>(&replayed, "y"), [3, 3, 4999]);
}

#[test]
fn samples_are_told_by_their_file_and_a_file_that_was_rewritten_by_its_edition() {
    let folder = Folder::new();
    folder.write("d/a.csv", "v,y\n1,0\n2,1\n");
    folder.write("d/b.csv", "v,y\n3,0\n");
    let description = described(json!({"label": "y"}));
    let mut dataset = folder.open("d", description.clone()).unwrap();
    let spans = |dataset: &sedge_data::Dataset| -> Vec<(String, u64, u64, std::ops::Range<u32>)> {
        let samples = dataset.samples();
        samples.spans().map(|span| (span.source.to_owned(), span.edition, span.first, span.rows)).collect()
    };
    let of = |name: &str, edition, first, rows| (name.to_owned(), edition, first, rows);
    folder.append("d/a.csv", "4,1\n");
    dataset.refresh().unwrap();
    assert_eq!(spans(&dataset), [of("a.csv", 0, 0, 0..2), of("b.csv", 0, 0, 2..3), of("a.csv", 0, 2, 3..4)]);
    let again = folder.open("d", description).unwrap();
    assert_eq!(spans(&again), [of("a.csv", 0, 0, 0..3), of("b.csv", 0, 0, 3..4)]);

    // Written anew with more rows, and with others.
    let replace = |content: &str| {
        folder.write("new", content);
        fs::rename(folder.path("new"), folder.path("d/a.csv")).unwrap();
    };
    replace("v,y\n1,0\n2,1\n4,1\n5,0\n");
    assert!(dataset.refresh().unwrap().replaced);
    assert_eq!(spans(&dataset), [of("a.csv", 0, 0, 0..4), of("b.csv", 0, 0, 4..5)]);
    replace("v,y\n1,0\n2,7\n4,1\n5,0\n6,0\n");
    assert!(dataset.refresh().unwrap().replaced);
    assert_eq!(spans(&dataset), [of("a.csv", 1, 0, 0..5), of("b.csv", 0, 0, 5..6)]);
    // One that goes leaves the others as they are.
    fs::remove_file(folder.path("d/b.csv")).unwrap();
    assert!(dataset.refresh().unwrap().replaced);
    assert_eq!(spans(&dataset), [of("a.csv", 1, 0, 0..5)]);
}
