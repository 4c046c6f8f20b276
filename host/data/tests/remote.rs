//! Datasets of a real S3-compatible server and of HTTP servers, which answer slowly, in part, with errors, or not at all.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;
mod front;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use folder::{Folder, all, arrow_stream, described, image, npz, parquet, record_batch, values};
use front::{Fault, Front, Moto};
use sedge_data::{DataError, Dataset, NotYet, Origin, Part, Patience, Remote, S3};
use serde_json::{Value, json};
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;

fn runtime() -> Runtime {
    // The provider of TLS that the program installs; a second test finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Waits little, that tests are over soon.
fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(2),
        read: Duration::from_millis(500),
        total: Duration::from_secs(20),
        tries: 4,
        pause: Duration::from_millis(5),
    }
}

fn s3(url: &str, key: &str, runtime: &Handle) -> Origin {
    Origin::Remote(Remote::s3(front::s3(url), key, patience(), runtime.clone()).unwrap())
}

fn http(front: &Front, file: &str, runtime: &Handle) -> Origin {
    let url = format!("{}/{file}", front.url());
    Origin::Remote(Remote::http(&url, http::HeaderMap::new(), patience(), runtime.clone()).unwrap())
}

/// A CSV file of so many rows, 0, 1, 2 … and their doubles.
fn rows(range: std::ops::Range<u32>) -> String {
    range.map(|row| format!("{row},{}\n", 2 * row)).collect()
}

fn is_whole(dataset: &Dataset, rows: u32) {
    assert_eq!(values::<f32>(dataset, "x"), (0..rows).map(|row| row as f32).collect::<Vec<_>>());
    assert_eq!(values::<i64>(dataset, "y"), (0..rows).map(|row| i64::from(2 * row)).collect::<Vec<_>>());
}

fn labelled() -> sedge_data::Description {
    described(json!({"label": "y", "lastRow": "wait"}))
}

/// Names and contents.
type Files = Vec<(&'static str, Vec<u8>)>;

#[test]
fn objects_of_every_format_are_read_as_files_are() {
    let Some(moto) = Moto::start() else { return };
    let runtime = runtime();
    let url = format!("http://127.0.0.1:{}", moto.port);
    let local = Folder::new();
    let batch = record_batch(5000);
    let table = json!([
        {"name": "t", "columns": {"many": ["b", "a"]}},
        {"name": "v", "columns": {"one": "v"}},
        {"name": "y", "columns": {"one": "class"}, "dtype": "i64", "classes": {}},
    ]);
    let png = image(9, 5, [1, 2, 3], image::ImageFormat::Png);
    let jpeg = image(9, 5, [200, 2, 3], image::ImageFormat::Jpeg);
    let images = json!({"width": 3, "height": 2});
    let cases: Vec<(&str, Files, Value)> = vec![
        ("d.csv", vec![("d.csv", format!("a,y\n{}", rows(0..3000)).into_bytes())], json!({"label": "y"})),
        ("d.parquet", vec![("d.parquet", parquet(&batch))], json!({"format": "parquet", "tensors": table})),
        (
            "d.arrow",
            vec![("d.arrow", arrow_stream(&batch, true))],
            json!({"format": "arrow", "tensors": table}),
        ),
        ("d.npz", vec![("d.npz", npz())], json!({"format": "npz"})),
        (
            "p",
            vec![("p/2.parquet", parquet(&record_batch(7))), ("p/1.parquet", parquet(&record_batch(3)))],
            json!({"format": "parquet", "tensors": table}),
        ),
        (
            "i",
            vec![("i/cat/1.png", png.clone()), ("i/dog/1.jpg", jpeg.clone()), ("i/dog/notes.txt", vec![1])],
            json!({"format": "image-folder", "image": images}),
        ),
        (
            "l/list.csv",
            vec![("l/list.csv", b"b/1.png,4\nb/2.jpg,5\n".to_vec()), ("l/b/1.png", png), ("l/b/2.jpg", jpeg)],
            json!({"format": "image-list", "image": images}),
        ),
    ];
    for (key, files, description) in cases {
        for (name, content) in &files {
            local.write(name, content);
            assert_eq!(moto.put(&format!("/bucket/{name}"), content), 200);
        }
        let there = Dataset::open(s3(&url, key, runtime.handle()), described(description.clone()))
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        let here = local.open(key, described(description)).unwrap();
        assert_eq!(all(&there), all(&here), "{key}");
        assert_eq!(there.status().samples, here.status().samples);
        assert_eq!(there.description(), here.description(), "{key}");
    }
    let error = Dataset::open(s3(&url, "absent", runtime.handle()), labelled()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read s3://bucket/absent: there is none; check the path, and that what it lies on is mounted"
    );
}

#[test]
fn an_object_that_grows_is_read_from_where_it_was_left() {
    let Some(moto) = Moto::start() else { return };
    let runtime = runtime();
    let front = Front::start(Some(moto.port));
    let first = format!("a,y\n{}", rows(0..200_000));
    assert_eq!(moto.put("/bucket/d/1.csv", first.as_bytes()), 200);
    let mut dataset = Dataset::open(s3(&front.url(), "d/", runtime.handle()), labelled()).unwrap();
    is_whole(&dataset, 200_000);
    assert!(dataset.refresh().unwrap().is_none());

    // What was read before is not read again, but for its edges.
    let read = Arc::new(Mutex::new(Vec::new()));
    let ranges = Arc::clone(&read);
    front.on_request(move |request| {
        let range = request.head.lines().find_map(|line| {
            let (name, range) = line.split_once(": bytes=")?;
            let (from, to) = range.split_once('-')?;
            name.eq_ignore_ascii_case("range")
                .then(|| (from.parse::<u64>().unwrap(), to.parse::<u64>().unwrap()))
        });
        ranges.lock().unwrap().extend(range);
        None
    });
    let grown = format!("{first}{}7,", rows(200_000..200_100));
    assert_eq!(moto.put("/bucket/d/1.csv", grown.as_bytes()), 200);
    let growth = dataset.refresh().unwrap();
    assert_eq!((growth.added, growth.replaced), (100, false));
    assert_eq!(dataset.status().waiting_bytes, 2);
    is_whole(&dataset, 200_100);
    let bytes: u64 = read.lock().unwrap().iter().map(|(from, to)| to - from + 1).sum();
    assert!(bytes < 50_000, "{bytes} bytes were read for 100 rows: {read:?}");

    // Another object under the same name.
    assert_eq!(moto.put("/bucket/d/1.csv", b"a,y\n0,0\n"), 200);
    assert!(dataset.refresh().unwrap().replaced);
    is_whole(&dataset, 1);
    assert_eq!(moto.put("/bucket/d/2.csv", b"a,y\n1,2\n"), 200);
    assert_eq!(dataset.refresh().unwrap().added, 1);
    is_whole(&dataset, 2);
    assert_eq!(moto.delete("/bucket/d/2.csv"), 204);
    assert!(dataset.refresh().unwrap().replaced);
    is_whole(&dataset, 1);
}

/// Read through every fault, with what is behind, and what it is called there.
fn is_read_through_faults(front: &Front, origin: impl Fn() -> Origin) {
    use Fault::{Cut, Drip, Garbage, Hang, OtherRange, Reset, Status};
    for faults in [
        &[Status(503), Status(500)][..],
        &[Status(429)],
        &[Cut(0), Cut(1000), Cut(10)],
        // Each brings some: there may be more of them than fruitless tries.
        &[Cut(5000); 12],
        &[Hang(3000), Hang(0)],
        &[Reset, Reset],
        &[Garbage],
        &[OtherRange],
        &[Drip(20_000)],
        &[Status(502), Cut(70_000), Hang(100), Reset],
    ] {
        front.fail(faults);
        let dataset =
            Dataset::open(origin(), labelled()).unwrap_or_else(|error| panic!("{faults:?}: {error}"));
        is_whole(&dataset, 20_000);
    }
}

fn is_given_up(front: &Front, origin: impl Fn() -> Origin) {
    use Fault::{Cut, Garbage, Hang, Reset, Status};
    for fault in [Status(503), Cut(0), Hang(0), Reset, Garbage] {
        front.on_request(move |request| request.is_read().then_some(fault));
        let before = front.requests();
        let error = Dataset::open(origin(), labelled()).unwrap_err();
        assert!(matches!(error, DataError::Unreachable { .. }), "{fault:?}: {error:?}");
        assert!(front.requests() - before <= 40, "{} requests", front.requests() - before);
        assert!(!format!("{error} {error:?}").contains("the-secret"), "{error:?}");
    }
    front.on_request(|_| Some(Status(403)));
    let error = Dataset::open(origin(), labelled()).unwrap_err();
    assert!(error.to_string().ends_with("the server refuses these credentials"), "{error}");
}

#[test]
fn an_object_store_that_fails_now_and_then_is_read_and_one_that_is_down_is_named() {
    let Some(moto) = Moto::start() else { return };
    let runtime = runtime();
    let front = Front::start(Some(moto.port));
    assert_eq!(moto.put("/bucket/d.csv", format!("a,y\n{}", rows(0..20_000)).as_bytes()), 200);
    let url = front.url();
    is_read_through_faults(&front, || s3(&url, "d.csv", runtime.handle()));
    is_given_up(&front, || s3(&url, "d.csv", runtime.handle()));
}

#[test]
fn an_http_server_that_fails_now_and_then_is_read_and_one_that_is_down_is_named() {
    let runtime = runtime();
    let front = Front::start(None);
    front.put("d.csv", format!("a,y\n{}", rows(0..20_000)));
    is_read_through_faults(&front, || http(&front, "d.csv", runtime.handle()));
    is_given_up(&front, || http(&front, "d.csv", runtime.handle()));
    front.on_request(|_| None);
    let error = Dataset::open(http(&front, "e.csv", runtime.handle()), labelled()).unwrap_err();
    assert_eq!(error.reason(), "NotFound");
}

#[test]
fn what_was_read_stays_while_a_server_is_down() {
    let runtime = runtime();
    let front = Front::start(None);
    front.put("d.csv", format!("a,y\n{}", rows(0..100)));
    let mut dataset = Dataset::open(http(&front, "d.csv", runtime.handle()), labelled()).unwrap();
    front.put("d.csv", format!("a,y\n{}", rows(0..150)));
    front.on_request(|_| Some(Fault::Status(503)));
    assert_eq!(dataset.refresh().unwrap_err().reason(), "Unreachable");
    is_whole(&dataset, 100);
    front.on_request(|_| None);
    assert_eq!(dataset.refresh().unwrap().added, 50);
    is_whole(&dataset, 150);
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_read_anew() {
    let runtime = runtime();
    let front = Arc::new(Front::start(None));
    // Of more than is fetched at a time.
    let old = format!("a,y\n{}", "9,9\n".repeat(2_000_000));
    front.put("d.csv", old);
    let (replaced, behind) = (AtomicBool::new(false), Arc::downgrade(&front));
    let mut reads = 0;
    front.on_request(move |request| {
        reads += usize::from(request.is_read());
        if reads == 2 && !replaced.swap(true, Ordering::SeqCst) {
            behind.upgrade().unwrap().put("d.csv", format!("a,y\n{}", rows(0..1000)));
        }
        None
    });
    let dataset = Dataset::open(http(&front, "d.csv", runtime.handle()), labelled()).unwrap();
    is_whole(&dataset, 1000);
}

#[test]
fn who_withdraws_waits_no_longer() {
    let runtime = runtime();
    let front = Front::start(None);
    front.put("d.csv", format!("a,y\n{}", rows(0..100)));
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    front.on_request(move |request| {
        token.cancel();
        request.is_read().then_some(Fault::Hang(0))
    });
    let mut patience = patience();
    patience.read = Duration::from_secs(600);
    patience.total = Duration::from_secs(600);
    let url = format!("{}/d.csv", front.url());
    let remote = Remote::http(&url, http::HeaderMap::new(), patience, runtime.handle().clone()).unwrap();
    let origin = Origin::Remote(remote).cancelled_by(cancel);
    let error = Dataset::open(origin, labelled()).unwrap_err();
    assert_eq!(error.reason(), "Cancelled");
}

#[test]
fn images_of_a_server_that_hangs_do_not_hold_up_whoever_stops_reading() {
    let Some(moto) = Moto::start() else { return };
    let runtime = runtime();
    let front = Front::start(Some(moto.port));
    for name in ["a/1.png", "a/2.png", "a/3.png"] {
        let png = image(4, 4, [9, 9, 9], image::ImageFormat::Png);
        assert_eq!(moto.put(&format!("/bucket/i/{name}"), &png), 200);
    }
    let description = described(json!({"format": "image-folder", "image": {"width": 2, "height": 2}}));
    let dataset = Dataset::open(s3(&front.url(), "i", runtime.handle()), description).unwrap();
    let mut queue = dataset.samples().batches(Part::All, 1, None).prefetch(1);
    let first = queue.next_blocking().unwrap().unwrap();
    assert_eq!(format!("{first:?}"), r#"[("x", f32[1, 3, 2, 2]), ("y", i64[1])]"#);
    // Two more may be read ahead; then the server hangs.
    front.on_request(|request| request.is_read().then_some(Fault::Hang(0)));
    drop(queue);
    let mut queue = dataset.samples().batches(Part::All, 1, None).prefetch(1);
    assert!(matches!(queue.next_within(Duration::from_millis(1)), Err(NotYet)));
    drop(queue);

    front.on_request(|request| request.is_read().then_some(Fault::Cut(0)));
    let error = dataset.samples().batches(Part::All, 3, None).next().unwrap().unwrap_err();
    assert_eq!(error.reason(), "Unreachable");
}

#[test]
fn addresses_that_are_none_are_refused_without_a_word_of_their_secrets() {
    let runtime = runtime();
    for url in ["ftp://h/x", "https://host", "https://user:hunter2@h/x.csv", "https://h/x.csv?key=hunter2"] {
        let error =
            Remote::http(url, http::HeaderMap::new(), patience(), runtime.handle().clone()).unwrap_err();
        assert_eq!(error.reason(), "InvalidDescription", "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let error = Remote::s3(
        S3 { bucket: "b".to_owned(), ..S3::default() },
        "a/../../other",
        patience(),
        runtime.handle().clone(),
    )
    .unwrap_err();
    assert_eq!(error.reason(), "InvalidDescription");
    let keys = Some(("k".to_owned(), "hunter2".to_owned()));
    assert!(!format!("{:?}", S3 { keys, ..S3::default() }).contains("hunter2"));
}
