//! Tables of every format become the same tensors, and what is wrong with them is said.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;

use folder::{
    Folder, all, arrow_file, arrow_stream, described, npy, npz, parquet, record_batch, tensor, values,
};
use half::{bf16, f16};
use proptest::prelude::*;
use sedge_data::{Description, Format, Part, Place};
use serde_json::json;

fn mapped(format: &str) -> Description {
    described(json!({
        "format": format,
        "tensors": [
            {"name": "features", "columns": {"many": ["b", "a"]}},
            {"name": "list", "columns": {"one": "v"}, "dtype": "f16"},
            {"name": "label", "columns": {"one": "class"}, "dtype": "i64", "classes": {}},
        ],
    }))
}

#[test]
fn columns_become_named_tensors_in_every_format_with_types() {
    let folder = Folder::new();
    let batch = record_batch(3);
    folder.write("d.parquet", parquet(&batch));
    folder.write("d.arrow", arrow_file(&batch));
    folder.write("d.arrows", arrow_stream(&batch, false));
    folder.write("d.ipc", arrow_stream(&batch, true));
    let lines: String = (0..3)
        .map(|row| {
            let (a, b, class, v) =
                (row as f64 + 0.5, row * 10, ["red", "green"][row % 2], [2 * row, 2 * row + 1]);
            json!({"a": a, "b": b, "class": class, "v": v}).to_string() + "\n"
        })
        .collect();
    folder.write("d.jsonl", lines);
    for (file, format) in [
        ("d.parquet", "parquet"),
        ("d.arrow", "arrow"),
        ("d.arrows", "arrow"),
        ("d.ipc", "arrow"),
        ("d.jsonl", "json-lines"),
    ] {
        let dataset = folder.open(file, mapped(format)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let batch = all(&dataset);
        assert_eq!(
            format!("{batch:?}"),
            r#"[("features", f32[3, 2]), ("list", f16[3, 2]), ("label", i64[3])]"#
        );
        assert_eq!(tensor::<f32>(&batch, "features"), [0., 0.5, 10., 1.5, 20., 2.5], "{file}");
        let list: Vec<f32> = tensor::<f16>(&batch, "list").into_iter().map(f16::to_f32).collect();
        assert_eq!(list, [0., 1., 2., 3., 4., 5.], "{file}");
        assert_eq!(tensor::<i64>(&batch, "label"), [0, 1, 0], "{file}");
        let learnt = dataset.description().tensors[2].classes.clone().unwrap();
        assert_eq!(learnt.names, ["red", "green"], "{file}");
    }
}

#[test]
fn elements_are_of_any_type() {
    let folder = Folder::new();
    folder.write("d.csv", "a,b\n1,2\n3,200\n");
    for dtype in ["f32", "f64", "f16", "bf16", "i64", "i32", "u8"] {
        let tensors = json!([{"name": "t", "columns": "rest", "dtype": dtype}]);
        let dataset = folder.open("d.csv", described(json!({"tensors": tensors}))).unwrap();
        let batch = all(&dataset);
        assert_eq!(format!("{batch:?}"), format!("[(\"t\", {dtype}[2, 2])]"));
        if dtype == "bf16" {
            assert_eq!(tensor::<bf16>(&batch, "t")[3].to_f32(), 200.0);
        }
    }
}

#[test]
fn labels_by_name_or_index_with_or_without_heading() {
    let folder = Folder::new();
    for (text, label) in [
        ("a,digit,b\n1,7,2\n3,8,4\n", "digit"),
        ("a,digit,b\n1,7,2\n3,8,4\n", "1"),
        ("1,7,2\n3,8,4\n", "1"),
        ("\u{feff}a, digit ,b\r\n1, 7 ,2\r\n\r\n3,8.0,4", "digit"),
        ("\"a\",\"digit\",\"b\"\n\"1\",7,2\n3,\"8\",\" 4\"\n", "digit"),
    ] {
        folder.write("d.csv", text);
        let dataset = folder.open("d.csv", described(json!({"label": label}))).unwrap();
        assert_eq!(values::<f32>(&dataset, "x"), [1., 2., 3., 4.], "{text}");
        assert_eq!(values::<i64>(&dataset, "y"), [7, 8], "{text}");
    }
}

#[test]
fn text_may_have_delimiters_quotes_and_line_ends() {
    let folder = Folder::new();
    folder.write("d.csv", "n;class\n1;\"a;\"\"b\"\"\nc\"\n2;d\n");
    let tensors = json!([
        {"name": "n", "columns": {"one": "n"}},
        {"name": "y", "columns": {"one": "class"}, "dtype": "i64", "classes": {}},
    ]);
    let dataset =
        folder.open("d.csv", described(json!({"csv": {"delimiter": ";"}, "tensors": tensors}))).unwrap();
    assert_eq!(values::<f32>(&dataset, "n"), [1., 2.]);
    assert_eq!(dataset.description().tensors[1].classes.clone().unwrap().names, ["a;\"b\"\nc", "d"]);
}

#[test]
fn missing_cells_are_filled_kept_or_refused_and_counted() {
    let folder = Folder::new();
    folder.write("d.csv", "a,b,c\n1,,5\n3,2,NA\n");
    let description = |missing| {
        let tensors = json!([
            {"name": "t", "columns": {"many": ["c", "b"]}, "missing": missing},
            {"name": "a", "columns": "rest"},
        ]);
        described(json!({"tensors": tensors}))
    };
    let dataset = folder.open("d.csv", description(json!({"fill": -1.0}))).unwrap();
    assert_eq!(values::<f32>(&dataset, "t"), [5., -1., -1., 2.]);
    let stats = dataset.status().stats;
    let shown: Vec<_> = stats.iter().map(|s| (s.column.as_str(), s.count, s.missing, s.mean)).collect();
    assert_eq!(shown, [("c", 1, 1, Some(5.0)), ("b", 1, 1, Some(2.0)), ("a", 2, 0, Some(2.0))]);

    let dataset = folder.open("d.csv", description(json!("nan"))).unwrap();
    assert!(values::<f32>(&dataset, "t")[1].is_nan());
    let error = folder.open("d.csv", description(json!("refuse"))).unwrap_err();
    let what = "d.csv:2: column 2 (\"b\"): the cell is empty; expected a finite number of type f32";
    assert_eq!(error.to_string(), what);
}

#[test]
fn bad_rows_are_left_out_where_that_is_allowed() {
    let folder = Folder::new();
    folder.write("d.csv", "a,y\n1,0\nx,1\n3,2\n4\n5,0.5\n6,7\n");
    let description = described(json!({"label": "y", "badRows": "skip", "limits": {"problems": 2}}));
    let dataset = folder.open("d.csv", description).unwrap();
    assert_eq!(values::<f32>(&dataset, "x"), [1., 3., 6.]);
    assert_eq!(values::<i64>(&dataset, "y"), [0, 2, 7]);
    let problems = dataset.status().problems;
    assert_eq!(problems.count, 3);
    let shown: Vec<String> = problems.first.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "d.csv:3: column 1 (\"a\"): \"x\" is not a finite number of type f32",
            "d.csv:5: expected 2 cells, as in the first row, got 1",
        ]
    );
    assert_eq!(problems.first[1].place, Place::Line(5));
}

#[test]
fn numpy_arrays_keep_their_shape_or_become_a_table() {
    let folder = Folder::new();
    folder.write("d.npy", npy());
    folder.write("d.npz", npz());
    let dataset = folder.open("d.npy", described(json!({"format": "npy"}))).unwrap();
    assert_eq!(format!("{:?}", all(&dataset)), r#"[("x", f32[3, 2])]"#);
    let dataset = folder.open("d.npy", described(json!({"format": "npy", "label": "1"}))).unwrap();
    assert_eq!(values::<f32>(&dataset, "x"), [1.5, 2.5, 3.5]);
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1, 0]);
    let dataset = folder.open("d.npz", described(json!({"format": "npz", "label": "y"}))).unwrap();
    assert_eq!(format!("{:?}", all(&dataset)), r#"[("x", f32[3, 2]), ("y", i64[3])]"#);
    let tensors = json!([{"name": "z", "columns": {"one": "x"}, "dtype": "f64"}]);
    let dataset = folder.open("d.npz", described(json!({"format": "npz", "tensors": tensors}))).unwrap();
    assert_eq!(values::<f64>(&dataset, "z"), [1., 2., 3., 4., 5., 6.]);
}

#[test]
fn splits_hold_out_what_they_say() {
    let folder = Folder::new();
    let rows: String =
        (0..100).map(|row| format!("{row},{},2026-01-{:02}\n", ["a", "b"][row % 2], row / 10 + 1)).collect();
    folder.write("d.csv", format!("n,site,day\n{rows}"));
    let open = |split| {
        let tensors = json!([{"name": "n", "columns": {"one": "n"}, "dtype": "i64"}]);
        folder.open("d.csv", described(json!({"tensors": tensors, "split": split}))).unwrap()
    };
    let test = |split| {
        let samples = open(split).samples();
        let batch = samples.batches(Part::Test, 100, None).next().unwrap().unwrap();
        tensor::<i64>(&batch, "n")
    };
    assert_eq!(test(json!({"share": {"test": 0.2, "seed": 1}})).len(), 20);
    assert!(test(json!({"column": {"column": "site", "test": ["b"]}})).iter().all(|n| n % 2 == 1));
    assert_eq!(
        test(json!({"time": {"column": "day", "from": "2026-01-09"}})),
        (80..100).collect::<Vec<i64>>()
    );
}

#[test]
fn what_is_wrong_with_a_description_or_a_file_is_said() {
    let folder = Folder::new();
    folder.write("d.csv", "a,b\n1,2\n");
    folder.write("e.csv", "1,2\n");
    let y = || described(json!({"label": "y"}));
    for (file, description, reason, message) in [
        ("d.csv", y(), "NoSuchColumn", "d.csv: no column is called \"y\"; there are \"a\", \"b\""),
        (
            "e.csv",
            y(),
            "NoSuchColumn",
            "e.csv: the file has no heading, so the column \"y\" must be given by its zero-based index",
        ),
        ("absent.csv", y(), "NotFound", "cannot read absent.csv: there is none"),
        ("../d.csv", y(), "Unreadable", "cannot read ../d.csv"),
        ("/etc/passwd", y(), "Unreadable", "cannot read /etc/passwd"),
        (
            "d.csv",
            described(json!({"split": {"share": {"test": 1.0}}})),
            "InvalidDescription",
            "the description of the dataset: a test share of 1",
        ),
        ("d.csv", described(json!({"limits": {"columns": 1}})), "TooLarge", "d.csv: 2 columns; at most 1"),
        ("d.csv", described(json!({"limits": {"bytes": 8}})), "TooLarge", "d.csv: its samples take more"),
        (
            "d.csv",
            described(json!({"limits": {"bytes": 7}})),
            "TooLarge",
            "d.csv: a sample of 8 bytes; at most 7",
        ),
        ("d.csv", described(json!({"format": "parquet"})), "Malformed", "d.csv: not a complete Parquet file"),
    ] {
        let error = folder.open(file, description).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn files_of_a_folder_are_one_dataset_and_a_broken_one_is_named() {
    let folder = Folder::new();
    folder.write("d/b.csv", "a,c\n3,4\n");
    folder.write("d/a.csv", "c,a\n2,1\n");
    folder.write("d/.hidden.csv", "x");
    folder.write("d/notes.txt", "x");
    let tensors = json!([{"name": "t", "columns": {"many": ["a", "c"]}}]);
    let description = described(json!({"tensors": tensors, "badRows": "skip"}));
    let mut dataset = folder.open("d", description).unwrap();
    assert_eq!(values::<f32>(&dataset, "t"), [1., 2., 3., 4.]);
    folder.write("d/c.csv", "a,c\n5\0,,\"");
    folder.write("d/e.csv", "a,c\n5,6\n");
    assert_eq!(dataset.refresh().unwrap().added, 1);
    assert_eq!(values::<f32>(&dataset, "t"), [1., 2., 3., 4., 5., 6.]);
    assert!(dataset.status().problems.first[0].to_string().starts_with("d/c.csv:2: "));
    assert_eq!(Format::Csv.extensions(), ["csv"]);
}

proptest! {
    #[test]
    fn csv_is_read_as_the_reference_parser_reads_numbers(
        rows in proptest::collection::vec(proptest::array::uniform3(any::<f32>().prop_filter("finite", |v| v.is_finite())), 1..40),
        crlf in any::<bool>(),
    ) {
        let folder = Folder::new();
        let end = if crlf { "\r\n" } else { "\n" };
        let text: String = rows.iter().map(|[a, b, c]| format!("{a},{b:e}, {c} {end}")).collect();
        folder.write("d.csv", text);
        let dataset = folder.open("d.csv", Description::default()).unwrap();
        prop_assert_eq!(values::<f32>(&dataset, "x"), rows.concat());
    }
}
