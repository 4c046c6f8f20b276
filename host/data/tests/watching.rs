//! Changes are told soon, wherever the data lies, and also after it was away.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;
mod front;

use std::fs;
use std::process::Command;
use std::time::Duration;

use folder::{Folder, described, image, values};
use front::{Fault, Front, Moto};
use sedge_data::{Dataset, Format, Limits, Origin, Pace, Patience, Remote, Watch};
use serde_json::json;
use tokio::runtime::Handle;

/// Within which a change is told, even on a machine that is busy. It is no measure of how soon.
const DEADLINE: Duration = Duration::from_secs(30);

fn pace() -> Pace {
    Pace { quiet: Duration::from_millis(5), longest: Duration::from_millis(50), ..Pace::default() }
}

/// Where nothing but listing helps.
fn listing() -> Pace {
    Pace { list: Duration::from_millis(20), list_watched: Duration::from_millis(20), ..pace() }
}

fn watch(origin: &Origin, format: Format, pace: Pace) -> Watch {
    Watch::start(origin.clone(), format, Limits::default(), pace, &Handle::current())
}

/// The next change that is told.
async fn told(watch: &mut Watch, what: &str) {
    let told = tokio::time::timeout(DEADLINE, watch.changed()).await;
    told.unwrap_or_else(|_| panic!("{what} is not told")).unwrap();
}

/// Until what the dataset holds is as it should be; each look at it is after something was told.
async fn until(
    watch: &mut Watch,
    mut dataset: Dataset,
    what: &str,
    done: impl Fn(&Dataset) -> bool,
) -> Dataset {
    loop {
        told(watch, what).await;
        let refresh = move || {
            // What is half there is an error now, and told again.
            let _ = dataset.refresh();
            dataset
        };
        dataset = tokio::task::spawn_blocking(refresh).await.unwrap();
        if done(&dataset) {
            return dataset;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_appended_are_told() {
    let folder = Folder::new();
    folder.write("d.csv", "a,y\n1,0\n");
    let dataset = folder.open("d.csv", described(json!({"lastRow": "wait"}))).unwrap();
    // The kernel alone tells: nothing is listed within the deadline.
    let never = Duration::from_secs(3600);
    let mut watch = watch(dataset.origin(), Format::Csv, Pace { list: never, list_watched: never, ..pace() });
    let mut dataset = until(&mut watch, dataset, "the watch itself", |_| true).await;
    for row in 2..=5 {
        folder.append("d.csv", &format!("{row},{row}\n"));
        dataset = until(&mut watch, dataset, "a row", |dataset| dataset.status().samples == row).await;
    }
    // Another file takes its place.
    folder.write("new.csv", "a,y\n7,7\n");
    fs::rename(folder.path("new.csv"), folder.path("d.csv")).unwrap();
    dataset =
        until(&mut watch, dataset, "another file", |dataset| values::<f32>(dataset, "x") == [7., 7.]).await;
    // And is watched as the first was.
    folder.append("d.csv", "8,8\n");
    until(&mut watch, dataset, "a row of the other", |dataset| dataset.status().samples == 2).await;
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_classes_that_come_and_go_are_told() {
    let folder = Folder::new();
    let png = || image(2, 2, [5; 3], image::ImageFormat::Png);
    folder.write("d/cat/1.png", png());
    let description =
        json!({"format": "image-folder", "image": {"width": 1, "height": 1}, "badRows": "skip"});
    let dataset = folder.open("d", described(description)).unwrap();
    let mut watch = watch(dataset.origin(), Format::ImageFolder, listing());
    let samples = |wanted| move |dataset: &Dataset| dataset.status().samples == wanted;
    folder.write("d/cat/2.png", png());
    let dataset = until(&mut watch, dataset, "an image", samples(2)).await;
    folder.write("d/dog/1.png", png());
    let dataset = until(&mut watch, dataset, "a class", samples(3)).await;
    folder.write("d/dog/2.png", png());
    let dataset = until(&mut watch, dataset, "an image of the class", samples(4)).await;
    fs::remove_dir_all(folder.path("d/cat")).unwrap();
    let dataset = until(&mut watch, dataset, "a class that went", samples(2)).await;
    // All of it goes, as when a disk is pulled out, and comes back.
    fs::rename(folder.path("d"), folder.path("away")).unwrap();
    let mut dataset = dataset;
    let error = loop {
        told(&mut watch, "a folder that went").await;
        if let Err(error) = dataset.refresh() {
            break error;
        }
    };
    assert_eq!(error.reason(), "NotFound");
    assert_eq!(dataset.status().samples, 2, "what was read stays known");
    folder.write("away/dog/3.png", png());
    fs::rename(folder.path("away"), folder.path("d")).unwrap();
    until(&mut watch, dataset, "a folder that came back", samples(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_vanishes_is_told_and_one_that_comes_back_is_read() {
    let folder = Folder::new();
    fs::create_dir(folder.path("mnt")).unwrap();
    let at = folder.path("mnt");
    let mount = || Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at).output();
    if !mount().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: mounting is not allowed here: no test of vanishing mounts");
        return;
    }
    /// The mount goes, whatever comes of the test.
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        }
    }
    let mounted = Unmount(at.clone());
    folder.write("mnt/d.csv", "a,y\n1,0\n");
    let dataset = folder.open("mnt/d.csv", described(json!({"label": "y"}))).unwrap();
    let mut watch = watch(dataset.origin(), Format::Csv, listing());
    folder.append("mnt/d.csv", "2,1\n");
    let mut dataset = until(&mut watch, dataset, "a row", |dataset| dataset.status().samples == 2).await;
    drop(mounted);
    let error = loop {
        told(&mut watch, "a mount that went").await;
        if let Err(error) = dataset.refresh() {
            break error;
        }
    };
    assert_eq!(error.reason(), "NotFound", "{error}");
    assert!(error.to_string().contains("that what it lies on is mounted"), "{error}");
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1], "what was read stays");
    assert!(mount().unwrap().status.success());
    let _mounted = Unmount(at.clone());
    folder.write("mnt/d.csv", "a,y\n3,2\n");
    until(&mut watch, dataset, "a mount that came back", |dataset| values::<i64>(dataset, "y") == [2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_change_are_told() {
    let Some(moto) = Moto::start() else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let front = Front::start(Some(moto.port));
    let s3 = front::s3(&front.url());
    let patience = Patience { pause: Duration::from_millis(5), tries: 2, ..Patience::default() };
    let origin = Origin::Remote(Remote::s3(s3, "d/", patience, Handle::current()).unwrap());
    moto.put("/bucket/d/1.csv", b"a,y\n1,0\n");
    let open = move || Dataset::open(origin, described(json!({"label": "y"}))).unwrap();
    let dataset = tokio::task::spawn_blocking(open).await.unwrap();
    let mut watch = watch(dataset.origin(), Format::Csv, listing());
    told(&mut watch, "the watch itself").await;
    // Of the same length: its tag alone tells.
    moto.put("/bucket/d/1.csv", b"a,y\n9,0\n");
    let dataset =
        until(&mut watch, dataset, "other content", |dataset| values::<f32>(dataset, "x") == [9.]).await;
    moto.put("/bucket/d/2.csv", b"a,y\n2,1\n");
    let dataset = until(&mut watch, dataset, "an object", |dataset| dataset.status().samples == 2).await;
    // While the store is down, nothing new is known of it; what came meanwhile is told afterwards.
    front.on_request(|_| Some(Fault::Status(503)));
    moto.put("/bucket/d/3.csv", b"a,y\n3,2\n");
    front.on_request(|_| None);
    until(&mut watch, dataset, "an object of meanwhile", |dataset| dataset.status().samples == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_when_it_is_dropped() {
    let runtime = tokio::runtime::Handle::current();
    let folder = Folder::new();
    folder.write("d.csv", "1\n");
    let alive = || runtime.metrics().num_alive_tasks();
    let before = alive();
    let watch = watch(&folder.origin("d.csv"), Format::Csv, pace());
    assert!(alive() > before);
    drop(watch);
    let ended = async {
        while alive() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.unwrap();
}
