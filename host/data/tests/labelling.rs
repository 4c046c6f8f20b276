//! Samples go out with an empty label, and labelled rows come back.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;

use std::fs::File;
use std::io::Cursor;

use folder::{Folder, described, tensor, values};
use sedge_data::{
    Dataset, Description, Export, ExportError, Fingerprints, Form, Import, Imported, Tensor, Values, export,
    import, write_npz,
};
use serde_json::json;

fn npz(arrays: &[(&str, Vec<usize>, Values)]) -> Vec<u8> {
    let arrays: Vec<_> = arrays
        .iter()
        .map(|(name, shape, values)| {
            ((*name).to_owned(), Tensor { shape: shape.clone(), values: values.clone() })
        })
        .collect();
    let mut file = Cursor::new(Vec::new());
    write_npz(&mut file, &arrays).unwrap();
    file.into_inner()
}

/// Two samples of three values.
fn hard(folder: &Folder) -> Dataset {
    let x = Values::F32(vec![1., 0.5, 3., 4., 5., 6.25]);
    folder.write("hard/1.npz", npz(&[("x", vec![2, 3], x)]));
    folder.open("hard", described(json!({"format": "npz"}))).unwrap()
}

fn stream(folder: &Folder) -> Dataset {
    folder.write("stream/a.csv", "p0,digit,p1,p2\n7,1,8,9\n9,2,8,7\n");
    folder.open("stream", described(json!({"label": "digit"}))).unwrap()
}

fn exported(
    samples: &Dataset,
    like: Option<&Dataset>,
    form: Form,
    more: impl FnOnce(&mut Export<'_>),
) -> Result<Vec<u8>, ExportError> {
    let (samples_of, like) = (samples.samples(), like.map(Dataset::samples));
    let like = like.as_ref().map(|like| like.layout().unwrap().as_ref());
    let mut wanted = Export { form, like, latest: None, limit: 1 << 20 };
    more(&mut wanted);
    let mut file = Cursor::new(Vec::new());
    export(&samples_of, samples.description(), &wanted, &mut file)?;
    Ok(file.into_inner())
}

fn text(samples: &Dataset, like: Option<&Dataset>) -> String {
    String::from_utf8(exported(samples, like, Form::Csv, |_| ()).unwrap()).unwrap()
}

/// What is taken of `content`, as the next file of the dataset's folder; and what came of it.
fn imported(
    folder: &Folder,
    into: &Dataset,
    content: impl AsRef<[u8]>,
    form: Form,
    new_labels: bool,
    earlier: &Fingerprints,
) -> Result<Imported, String> {
    folder.write("received", content);
    let path = folder.path(&format!("{}/labelled.{}", into.origin().name(), form.extension()));
    let samples = into.samples();
    let wanted = Import {
        form,
        shown: "mine",
        description: into.description(),
        known: (!samples.is_empty()).then_some(&samples),
        earlier,
        new_labels,
        limit: 1 << 20,
    };
    let done = import(&folder.origin("received"), &wanted, File::create(&path).unwrap());
    if !matches!(done, Ok(done) if done.taken > 0) {
        std::fs::remove_file(path).unwrap();
    }
    done.map_err(|error| error.to_string())
}

fn come(folder: &Folder, into: &Dataset, content: &str) -> Result<Imported, String> {
    imported(folder, into, content, Form::Csv, false, &Fingerprints::default())
}

#[test]
fn hard_examples_are_written_as_another_datasets_files_are() {
    let folder = Folder::new();
    let (hard, stream) = (hard(&folder), stream(&folder));
    assert_eq!(text(&hard, Some(&stream)), "p0,digit,p1,p2\n1,,0.5,3\n4,,5,6.25\n");
    assert_eq!(text(&hard, None), "x[0],x[1],x[2],label\n1,0.5,3,\n4,5,6.25,\n");
    // What has labels keeps them.
    assert_eq!(text(&stream, None), "p0,digit,p1,p2\n7,1,8,9\n9,2,8,7\n");
    let latest = exported(&hard, Some(&stream), Form::Csv, |wanted| wanted.latest = Some(1)).unwrap();
    assert_eq!(String::from_utf8(latest).unwrap(), "p0,digit,p1,p2\n4,,5,6.25\n");
}

#[test]
fn arrays_keep_their_shape_and_a_label_that_is_not_there_is_minus_one() {
    let folder = Folder::new();
    let hard = hard(&folder);
    folder.write("out.npz", exported(&hard, None, Form::Npz, |_| ()).unwrap());
    let out = folder.open("out.npz", described(json!({"format": "npz", "label": "label"}))).unwrap();
    assert_eq!(values::<f32>(&out, "x"), [1., 0.5, 3., 4., 5., 6.25]);
    assert_eq!(values::<i64>(&out, "label"), [-1, -1]);
    // Under the names of a dataset whose arrays are called otherwise.
    let arrays =
        [("pixels", vec![1, 1, 3], Values::F32(vec![0.; 3])), ("digit", vec![1], Values::I64(vec![3]))];
    folder.write("known/a.npz", npz(&arrays));
    let known = folder.open("known", described(json!({"format": "npz", "label": "digit"}))).unwrap();
    folder.write("like.npz", exported(&hard, Some(&known), Form::Npz, |_| ()).unwrap());
    let like = folder.open("like.npz", described(json!({"format": "npz", "label": "digit"}))).unwrap();
    assert_eq!(like.samples().columns(), known.samples().columns());
}

#[test]
fn what_fits_no_file_is_said() {
    let folder = Folder::new();
    let (hard, stream) = (hard(&folder), stream(&folder));
    let refused = |like: &Dataset, form, limit| {
        exported(&hard, Some(like), form, |wanted| wanted.limit = limit).unwrap_err().to_string()
    };
    assert_eq!(refused(&stream, Form::Npz, 1 << 20), "its files are csv; write a file that ends with .csv");
    assert!(
        refused(&stream, Form::Csv, 24).contains("about 1 samples fit"),
        "{}",
        refused(&stream, Form::Csv, 24)
    );
    folder.write("wide.csv", "a,b,digit\n1,2,3\n");
    let wide = folder.open("wide.csv", described(json!({"label": "digit"}))).unwrap();
    assert_eq!(refused(&wide, Form::Csv, 1 << 20), "\"x\" has 3 values a sample, the other dataset's has 2");
    let other = json!({"tensors": [{"name": "a", "columns": {"many": ["a", "b"]}}]});
    let other = folder.open("wide.csv", described(other)).unwrap();
    assert!(refused(&other, Form::Csv, 1 << 20).contains("none of that is in a f32[2]"));
    let large = exported(&hard, None, Form::Npz, |wanted| wanted.limit = 20).unwrap_err();
    assert!(matches!(large, ExportError::TooLarge { fit: 1, .. }), "{large}");
}

#[test]
fn labelled_rows_come_in_and_others_are_counted() {
    let folder = Folder::new();
    let mut stream = stream(&folder);
    let labelled = "p0,digit,p1,p2\r\n1,2,0.5,3\n\n4,,5,6\n5, NA ,5,6\n\"4\",\"1\",5,6";
    let done = come(&folder, &stream, labelled).unwrap();
    assert_eq!(done, Imported { samples: 4, taken: 2, unlabelled: 2, repeated: 0 });
    assert_eq!(stream.refresh().unwrap().added, 2);
    assert_eq!(values::<i64>(&stream, "y"), [1, 2, 2, 1]);
    assert_eq!(values::<f32>(&stream, "x")[6..], [1., 0.5, 3., 4., 5., 6.]);

    // More of them are labelled later: those that came in do not come in again.
    let mut earlier = Fingerprints::default();
    earlier.add(&folder.open("stream/labelled.csv", stream.description().clone()).unwrap().samples());
    let more = labelled.replace(" NA ", "2");
    let done = imported(&folder, &stream, more, Form::Csv, false, &earlier).unwrap();
    assert_eq!(done, Imported { samples: 4, taken: 1, unlabelled: 1, repeated: 2 });
}

#[test]
fn what_is_wrong_with_a_row_refuses_all_of_them() {
    let folder = Folder::new();
    let stream = stream(&folder);
    let heading = "p0,digit,p1,p2\n1,2,0.5,3\n";
    for (content, why) in [
        (
            format!("{heading}1,2,many,3\n"),
            "mine:3: column 3 (\"p1\"): \"many\" is not a finite number of type f32",
        ),
        (format!("{heading}1,two,1,3\n"), "mine:3: column 2 (\"digit\"): \"two\" is not an integer label"),
        (format!("{heading}1,2,1\n"), "mine:3: expected 4 cells, as in the first row, got 3"),
        (format!("{heading}1,2,,3\n"), "mine:3: column 3 (\"p1\"): the cell is empty"),
        (
            format!("{heading}1,22,1,3\n"),
            "mine:3: column 2 (\"digit\"): the label \"22\" is none of those that the dataset has (1, 2); if it is a new one",
        ),
        ("p0,digit,p1\n1,2,3\n".to_owned(), "mine: its columns are not those of the dataset: \"p2\" missing"),
        (
            "p0,digit,p1,p3\n1,2,3,4\n".to_owned(),
            "mine: column 4 is \"p3\" where the dataset's files have \"p2\"",
        ),
        (
            "p1,digit,p0,p2\n1,2,3,4\n".to_owned(),
            "mine: column 1 is \"p1\" where the dataset's files have \"p0\"",
        ),
        ("p0,label,p1,p2\n1,2,3,4\n".to_owned(), "mine: no column is called \"digit\""),
        (String::new(), "mine: it is empty"),
        ("\"".to_owned(), "mine: no column is called"),
    ] {
        let error = come(&folder, &stream, &content).unwrap_err();
        assert!(error.starts_with(why), "{content:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(folder.path("stream")).unwrap().count(), 1);
    let new =
        imported(&folder, &stream, "p0,digit,p1,p2\n1,22,0,3\n", Form::Csv, true, &Fingerprints::default());
    assert_eq!(new.unwrap().taken, 1);
}

#[test]
fn a_dataset_without_samples_takes_what_its_description_takes() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("stream")).unwrap();
    let empty = folder.open("stream", described(json!({"label": "digit"}))).unwrap();
    assert_eq!(come(&folder, &empty, "a,digit\n1,3\n").unwrap().taken, 1);
    let without: Description = described(json!({}));
    let without = folder.open("stream", without).unwrap();
    assert!(come(&folder, &without, "a,digit\n1,3\n").unwrap_err().contains("which column is the label"));
}

#[test]
fn names_of_classes_are_labels_too() {
    let folder = Folder::new();
    folder.write("fruit/a.csv", "size,kind\n1,apple\n2,pear\n");
    let description = described(json!({"label": "kind", "classes": {"names": ["apple"]}}));
    let fruit = folder.open("fruit", description).unwrap();
    assert_eq!(text(&fruit, None), "size,kind\n1,apple\n2,pear\n");
    assert_eq!(come(&folder, &fruit, "size,kind\n3,pear\n4,\n").unwrap().taken, 1);
    let error = come(&folder, &fruit, "size,kind\n3,peer\n").unwrap_err();
    assert!(error.starts_with("mine:2: column 2 (\"kind\"): the label \"peer\" is none of those that the dataset has (apple, pear)"), "{error}");
}

#[test]
fn arrays_come_in_without_the_samples_that_have_no_label() {
    let folder = Folder::new();
    let x = |rows: usize| Values::F64((0..2 * rows).map(|value| value as f64).collect());
    folder.write("known/a.npz", npz(&[("x", vec![2, 2], x(2)), ("y", vec![2], Values::I64(vec![0, 1]))]));
    let mut known = folder.open("known", described(json!({"format": "npz", "label": "y"}))).unwrap();
    let take = |known: &Dataset, arrays: &[(&str, Vec<usize>, Values)]| {
        imported(&folder, known, npz(arrays), Form::Npz, false, &Fingerprints::default())
    };
    let y = Values::F64(vec![1.0, f64::NAN, -1.0, 0.0]);
    // Arrays in another order than the dataset's.
    let done = take(&known, &[("y", vec![4], y), ("x", vec![4, 2], x(4))]).unwrap();
    assert_eq!(done, Imported { samples: 4, taken: 2, unlabelled: 2, repeated: 0 });
    assert_eq!(known.refresh().unwrap().added, 2);
    assert_eq!(values::<f32>(&known, "x")[4..], [0., 1., 6., 7.]);
    assert_eq!(tensor::<i64>(&folder::all(&known), "y"), [0, 1, 1, 0]);

    for (arrays, why) in [
        (vec![("x", vec![2, 2], x(2))], "mine: no array is called \"y\"; there are \"x\""),
        (
            vec![("x", vec![2, 2], x(2)), ("y", vec![2], Values::I64(vec![0, 7]))],
            "mine: row 1: column \"y\": the label \"7\" is none of",
        ),
        (
            vec![("x", vec![2, 2], x(2)), ("y", vec![2], Values::F64(vec![f64::NAN, 0.5]))],
            "mine: row 1: column \"y\": the label is not an integer",
        ),
        (
            vec![("x", vec![1, 4], x(2)), ("y", vec![1], Values::I64(vec![0]))],
            "mine: its columns are not those of the dataset: x f32[4], y i64[] instead of x f32[2], y i64[]",
        ),
        (
            vec![("x", vec![2, 2], x(2)), ("y", vec![1], Values::I64(vec![0]))],
            "mine: \"y\" has 1 samples, \"x\" is f64[2, 2]",
        ),
        (
            vec![
                ("x", vec![2, 1], Values::F32(vec![f32::NAN, f32::INFINITY])),
                ("y", vec![2], Values::I64(vec![-1, 1])),
            ],
            "mine: row 1: column \"x\": a value is not a finite number",
        ),
        (
            vec![("y", vec![1], Values::I64(vec![0])), ("../../z", vec![1], Values::I64(vec![0]))],
            "mine: its columns",
        ),
    ] {
        let error = take(&known, &arrays).unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
}

#[test]
fn archives_that_are_damaged_or_unpack_to_much_are_refused() {
    let folder = Folder::new();
    let large = npz(&[
        ("x", vec![1 << 16, 4], Values::F64(vec![0.; 1 << 18])),
        ("y", vec![1 << 16], Values::I64(vec![0; 1 << 16])),
    ]);
    folder.write(
        "known/a.npz",
        npz(&[("x", vec![1, 4], Values::F32(vec![0.; 4])), ("y", vec![1], Values::I64(vec![0]))]),
    );
    let known = folder.open("known", described(json!({"format": "npz", "label": "y"}))).unwrap();
    let refused = |content: &[u8]| {
        imported(&folder, &known, content, Form::Npz, false, &Fingerprints::default()).unwrap_err()
    };
    assert!(refused(&large).contains("is too large"), "{}", refused(&large));
    for len in [0, 1, 30, 100, large.len() / 2, large.len() - 1] {
        assert!(refused(&large[..len]).starts_with("mine"), "{}", refused(&large[..len]));
    }
    assert!(refused(b"p0,digit\n1,2\n").starts_with("mine"));
}
