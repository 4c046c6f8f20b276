//! The desk of a node whose shelf holds a stream of CSV and hard examples in NPZ.

use std::fs;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use sedge_api::node::{self, MAX_TRANSFER_BYTES, TransferAnswer};
use sedge_data::Form;
use tokio_util::sync::CancellationToken;

use super::{Desk, Refusal, Wanted};
use crate::data::write_npz;
use crate::nn::Tensor;
use crate::worker::{Board, Shelf};

const HEADING: &str = "p0,p1,label\n";

struct Site {
    folder: tempfile::TempDir,
    shelf: Arc<Shelf>,
    desk: Desk,
    _shutdown: tokio_util::sync::DropGuard,
}

fn dataset(name: &str, path: &str, format: node::Format, label: &str) -> node::Dataset {
    node::Dataset {
        namespace: "farm".to_owned(),
        name: name.to_owned(),
        path: path.to_owned(),
        format: format.into(),
        label: label.to_owned(),
        ..node::Dataset::default()
    }
}

impl Site {
    /// With these datasets.
    async fn begin(datasets: Vec<node::Dataset>) -> Self {
        // One of the datasets is a server's.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        for below in ["data", "datasets/stream", "datasets/hard"] {
            fs::create_dir_all(folder.path().join(below)).unwrap();
        }
        let open =
            |below: &str| Dir::open_ambient_dir(folder.path().join(below), ambient_authority()).unwrap();
        let site = folder.path().join("datasets");
        fs::write(site.join("stream/a.csv"), format!("{HEADING}1,2,0\n3,4,1\n")).unwrap();
        fs::write(site.join("one.csv"), format!("{HEADING}1,2,0\n")).unwrap();
        let hard = [("x".to_owned(), Tensor::from_vec(&[2, 2], vec![5.0f32, 6.0, 7.0, 8.5]).unwrap())];
        write_npz(fs::File::create(site.join("hard/1.npz")).unwrap(), &hard).unwrap();
        let shutdown = CancellationToken::new();
        let shelf = Shelf::new(open("datasets"), Arc::new(Board::default()), shutdown.clone());
        let mut changes = shelf.watch();
        let wanted = datasets.iter().filter(|dataset| dataset.path != "later").count();
        shelf.want(datasets.clone());
        let ready = |dataset: &node::Dataset| {
            let held = shelf.held(&format!("farm/{}", dataset.name));
            held.is_ok_and(|held| held.dataset.is_some())
        };
        while datasets.iter().filter(|dataset| ready(dataset)).count() < wanted {
            changes.changed().await.unwrap();
        }
        let desk = Desk::open(&open("data"), Arc::clone(&shelf)).unwrap();
        Self { folder, shelf, desk, _shutdown: shutdown.drop_guard() }
    }

    async fn usual() -> Self {
        Self::begin(vec![
            dataset("stream", "stream", node::Format::Csv, "label"),
            dataset("hard", "hard/", node::Format::Npz, ""),
        ])
        .await
    }

    async fn import(&self, name: &str, content: &str) -> Result<TransferAnswer, Refusal> {
        let mut received = self.desk.receive().unwrap();
        received.take(content.as_bytes()).await.unwrap();
        self.desk.import(name, received, Form::Csv, "mine.csv".to_owned(), false).await
    }

    /// Names below the dataset directory.
    fn files(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join(below)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn hard_examples_go_out_like_the_stream_and_come_back_into_it() {
    let site = Site::usual().await;
    let like = site.desk.layout("farm/stream").await.unwrap();
    let wanted = Wanted { form: Form::Csv, like, latest: 0 };
    let (made, answer) = site.desk.export("farm/hard", wanted).await.unwrap();
    assert_eq!((answer.samples, answer.empty.as_slice()), (2, ["label".to_owned()].as_slice()));
    let text = std::io::read_to_string(&made.file).unwrap();
    assert_eq!((text.as_str(), text.len() as u64), ("p0,p1,label\n5,6,\n7,8.5,\n", made.bytes));
    drop(made);

    let labelled = text.replace("6,\n", "6,1\n");
    let mut changes = site.shelf.watch();
    let answer = site.import("farm/stream", &labelled).await.unwrap();
    assert_eq!((answer.samples, answer.taken, answer.unlabelled), (2, 1, 1));
    let digest = sedge_api::Digest::of(labelled.as_bytes()).hex();
    let name = format!("labelled-{}.csv", &digest[..12]);
    assert_eq!(answer.file, format!("stream/{name}"));
    assert_eq!(site.files("datasets/stream"), ["a.csv", &name]);
    let path = site.folder.path().join("datasets/stream").join(name);
    assert_eq!(fs::read_to_string(path).unwrap(), "p0,p1,label\n5,6,1\n");
    // The watch finds it.
    let size = || {
        let held = site.shelf.held("farm/stream").unwrap();
        held.dataset.map_or(0, |dataset| dataset.size(crate::data::Split::All))
    };
    while size() < 3 {
        changes.changed().await.unwrap();
    }

    assert!(site.import("farm/stream", &labelled).await.unwrap().already);
    let more = site.import("farm/stream", &labelled.replace("8.5,\n", "8.5,0\n")).await.unwrap();
    assert_eq!((more.taken, more.unlabelled, more.repeated), (1, 0, 1));
    assert_eq!(site.files("data/transfers"), Vec::<String>::new(), "nothing is left on its way");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let site = Site::begin(vec![
        dataset("stream", "stream", node::Format::Csv, "label"),
        dataset("hard", "hard", node::Format::Npz, ""),
        dataset("one", "one.csv", node::Format::Csv, "label"),
        dataset("later", "later", node::Format::Csv, "label"),
    ])
    .await;
    let mut elsewhere = dataset("store", "", node::Format::Csv, "label");
    elsewhere.elsewhere = Some(node::dataset::Elsewhere::Http(node::Http {
        url: "http://127.0.0.1:9/a.csv".to_owned(),
        ..Default::default()
    }));
    let row = format!("{HEADING}1,2,0\n");
    for (name, content, reason, why) in [
        ("farm/stream", "p0,label\n1,0\n", "NoSuchColumn", "\"p1\" missing"),
        ("farm/stream", "p0,p1,label\n1,x,0\n", "Malformed", "mine.csv:2: column 2 (\"p1\"): \"x\" is not"),
        ("farm/stream", "p0,p1,label\n1,2,5\n", "Malformed", "import with --new-labels"),
        ("farm/hard", &row, "DatasetUnsuitable", "the files of farm/hard are npz, this one is csv"),
        (
            "farm/one",
            &row,
            "DatasetUnsuitable",
            "its path must be a folder: on the node, move the file into one, `one/one.csv` say",
        ),
        ("farm/nobody", &row, "DatasetNotFound", "farm/nobody is not a dataset of this node"),
        ("farm/../../etc", &row, "DatasetNotFound", "not a dataset of this node"),
    ] {
        let refusal = site.import(name, content).await.unwrap_err();
        assert_eq!(refusal.reason, reason, "{name}: {}", refusal.message);
        assert!(refusal.message.contains(why), "{name}: {}", refusal.message);
    }
    assert_eq!(site.files("datasets/stream"), ["a.csv"]);
    assert_eq!(site.files("data/transfers"), Vec::<String>::new());

    // A folder that is not there yet is made.
    assert_eq!(site.import("farm/later", &row).await.unwrap().taken, 1);
    assert_eq!(site.files("datasets/later").len(), 1);
    // A store is its owner's.
    site.shelf.want(vec![elsewhere]);
    let refusal = site.import("farm/store", &row).await.unwrap_err();
    assert!(refusal.message.contains("put the labelled file there"), "{}", refusal.message);
}

#[tokio::test]
async fn more_than_may_come_is_refused_before_it_is_there() {
    let site = Site::usual().await;
    let mut received = site.desk.receive().unwrap();
    let piece = vec![b'1'; 64 << 20];
    for _ in 0..MAX_TRANSFER_BYTES / piece.len() as u64 {
        received.take(&piece).await.unwrap();
    }
    assert_eq!(received.take(b"1").await.unwrap_err().reason, "TooLarge");
    drop(received);
    assert_eq!(site.files("data/transfers"), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_exported_is_said() {
    let site = Site::usual().await;
    let export = async |name: &str, like: &str| {
        let wanted = Wanted { form: Form::Csv, like: like.to_owned(), latest: 0 };
        site.desk.export(name, wanted).await.err().unwrap().message
    };
    assert!(export("farm/hard", "{").await.contains("is not understood"));
    let mut like: serde_json::Value =
        serde_json::from_str(&site.desk.layout("farm/stream").await.unwrap()).unwrap();
    like["fields"][0]["target"] = serde_json::json!([7, 0]);
    assert!(export("farm/hard", &like.to_string()).await.contains("contradicts itself"));
    assert!(export("farm/nobody", "").await.contains("is not a dataset of this node"));
    let npz = site.desk.layout("farm/hard").await.unwrap();
    assert!(export("farm/stream", &npz).await.contains("its files are npz"));
}
