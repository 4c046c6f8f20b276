//! Images by folders of classes and by lists, and those that are bombs.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;

use folder::{Folder, all, described, image, tensor, values};
use image::ImageFormat::{Jpeg, Png};
use sedge_data::Part;
use serde_json::json;

#[test]
fn folders_are_classes_and_pixels_are_resized_and_normalised() {
    let folder = Folder::new();
    folder.write("d/cat/1.png", image(8, 4, [255, 0, 51], Png));
    folder.write("d/dog/1.jpg", image(2, 2, [0, 0, 0], Jpeg));
    folder.write("d/dog/2.JPEG", image(3, 3, [255, 255, 255], Jpeg));
    let spec = json!({"width": 2, "height": 2, "mean": [0.5, 0.5, 0.2], "std": [0.5, 0.5, 1.0]});
    let description =
        described(json!({"format": "image-folder", "image": spec, "split": {"share": {"test": 0.5}}}));
    let mut dataset = folder.open("d", description).unwrap();
    assert_eq!(dataset.description().classes.clone().unwrap().names, ["cat", "dog"]);
    let batch = all(&dataset);
    assert_eq!(format!("{batch:?}"), r#"[("x", f32[3, 3, 2, 2]), ("y", i64[3])]"#);
    let x = tensor::<f32>(&batch, "x");
    assert_eq!(x[..12], [1., 1., 1., 1., -1., -1., -1., -1., 0., 0., 0., 0.]);
    assert_eq!(tensor::<i64>(&batch, "y"), [0, 1, 1]);
    folder.write("d/ant/1.png", image(1, 1, [1, 2, 3], Png));
    assert_eq!(dataset.refresh().unwrap().added, 1);
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1, 1, 2], "a class that comes later has the next number");
}

#[test]
fn images_are_fitted_as_described() {
    let folder = Folder::new();
    let mut wide = image::RgbImage::from_pixel(8, 4, image::Rgb([100, 100, 100]));
    for y in 0..4 {
        wide.put_pixel(0, y, image::Rgb([255, 255, 255]));
        wide.put_pixel(7, y, image::Rgb([255, 255, 255]));
    }
    let mut file = std::io::Cursor::new(Vec::new());
    wide.write_to(&mut file, Png).unwrap();
    folder.write("d/1.png", file.into_inner());
    let pixels = |fit: &str| {
        let spec =
            json!({"width": 4, "height": 4, "colour": "grey", "layout": "hwc", "dtype": "u8", "fit": fit});
        let dataset = folder.open("d", described(json!({"format": "image-folder", "image": spec}))).unwrap();
        let batch = all(&dataset);
        assert_eq!(format!("{batch:?}"), r#"[("x", u8[1, 4, 4, 1])]"#);
        tensor::<u8>(&batch, "x")
    };
    assert_eq!(pixels("cover"), [100; 16], "the middle");
    let contained = pixels("contain");
    assert_eq!((&contained[..4], &contained[12..]), (&[0; 4][..], &[0; 4][..]), "black above and below");
    assert!(pixels("stretch")[0] > 100);
}

#[test]
fn a_list_names_images_and_labels_and_grows() {
    let folder = Folder::new();
    folder.write("d/a.png", image(2, 2, [1, 1, 1], Png));
    folder.write("d/sub/b.png", image(2, 2, [2, 2, 2], Png));
    folder.write(
        "d/list.csv",
        "path,label\na.png,ripe\nmissing.png,ripe\n../outside.png,x\nsub/b.png,rotten\n",
    );
    let spec = json!({"width": 1, "height": 1, "dtype": "u8", "layout": "hwc"});
    let description = described(
        json!({"format": "image-list", "image": spec, "classes": {}, "badRows": "skip", "lastRow": "wait"}),
    );
    let mut dataset = folder.open("d/list.csv", description).unwrap();
    assert_eq!(values::<u8>(&dataset, "x"), [1, 1, 1, 2, 2, 2]);
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1]);
    assert_eq!(dataset.status().problems.count, 2);
    folder.append("d/list.csv", "a.png,rotten\n");
    assert_eq!(dataset.refresh().unwrap().added, 1);
    assert_eq!(values::<i64>(&dataset, "y"), [0, 1, 1]);
}

/// A PNG that says it is of this size, in a few bytes.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut png = image(1, 1, [0; 3], Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn enormous_and_damaged_images_are_errors_or_left_out() {
    let folder = Folder::new();
    folder.write("d/a/bomb.png", bomb(100_000, 100_000));
    let refusing = described(json!({"format": "image-folder"}));
    let error = folder.open("d", refusing).unwrap_err();
    let expected = "d/a/bomb.png: 100000 × 100000 pixels; from 1 to 67108864 are decoded";
    assert_eq!(error.to_string(), expected);

    folder.write("d/a/good.png", image(2, 2, [9; 3], Png));
    folder.write("d/a/not.png", "no image");
    // Its first bytes are fine.
    let whole = image(300, 300, [7, 8, 9], Jpeg);
    folder.write("d/a/cut.jpg", &whole[..whole.len() / 4]);
    folder.write("d/a/large.png", bomb(5000, 5000));
    let spec = json!({"width": 1, "height": 1});
    let skipping = json!({"format": "image-folder", "badRows": "skip", "image": spec});
    let dataset = folder.open("d", described(skipping)).unwrap();
    assert_eq!(dataset.status().problems.count, 2, "{:?}", dataset.status().problems);
    let mut good = 0;
    for batch in dataset.samples().batches(Part::All, 1, None) {
        good += batch.unwrap()[0].1.shape[0];
    }
    assert!(good >= 1);
    let problems = dataset.status().problems;
    assert!(problems.first.iter().any(|problem| problem.file == "d/a/large.png"), "{problems:?}");
}
