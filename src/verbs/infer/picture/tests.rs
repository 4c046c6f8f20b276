use clap::Parser as _;
use image::{GrayImage, ImageFormat, Luma, Rgba, RgbaImage};

use super::*;

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

fn options(flags: &[&str]) -> Options {
    Flags::try_parse_from(std::iter::once(&"x").chain(flags)).unwrap().options
}

fn metadata(datatype: &str, shape: Value) -> Value {
    json!({"inputs": [{"name": "x", "datatype": datatype, "shape": shape}]})
}

/// A file of 4×2 pixels: red, green, blue, white above black ones.
fn file() -> Vec<u8> {
    let mut picture = RgbImage::new(4, 2);
    for (x, colour) in [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]].into_iter().enumerate() {
        picture.put_pixel(x as u32, 0, Rgb(colour));
    }
    written(&DynamicImage::ImageRgb8(picture), ImageFormat::Png)
}

fn written(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn asked(shape: Value, flags: &[&str]) -> Result<(Value, Vec<f64>), Failure> {
    let picture = Picture::decode("x.png", file().as_slice()).unwrap();
    let request = picture.request(&metadata("FP32", shape), &options(flags))?;
    let input = &request["inputs"][0];
    let data = input["data"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    Ok((input["shape"].clone(), data))
}

#[test]
fn the_shape_says_where_the_channels_are() {
    let (shape, planes) = asked(json!([-1, 3, -1, -1]), &[]).unwrap();
    assert_eq!(shape, json!([1, 3, 2, 4]));
    assert_eq!(planes[..8], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], "red");
    let (shape, pixels) = asked(json!([-1, 2, 4, 3]), &[]).unwrap();
    assert_eq!(shape, json!([1, 2, 4, 3]));
    assert_eq!(pixels[..6], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let (shape, grey) = asked(json!([-1, 2, 4]), &[]).unwrap();
    assert_eq!(shape, json!([1, 2, 4]));
    assert!(
        grey[1] > grey[0] && grey[0] > grey[2] && grey[3] == 1.0,
        "green is brighter than blue: {grey:?}"
    );
    let (shape, _) = asked(json!([-1, -1, -1, -1]), &["--layout", "nhwc", "--size", "8x6"]).unwrap();
    assert_eq!(shape, json!([1, 6, 8, 3]));
    assert_eq!(asked(json!([-1, 8]), &["--size", "4x2"]).unwrap().0, json!([1, 8]));
    assert_eq!(asked(json!([1, 64]), &[]).unwrap().0, json!([1, 64]), "a grey square");
    assert_eq!(asked(json!([1, 192]), &[]).unwrap().0, json!([1, 192]), "a square in colour");
}

#[test]
fn values_take_the_range_that_is_named() {
    let of = |flags: &[&str]| asked(json!([1, 8]), &[&["--size", "4x2"], flags].concat()).unwrap().1;
    assert_eq!((of(&["--range", "0..16"])[3], of(&["--range", "0..16"])[4]), (16.0, 0.0));
    assert_eq!((of(&["--range", "1..-1"])[3], of(&["--range", "1..-1"])[4]), (-1.0, 1.0));
    let (_, scaled) = asked(json!([1, 3, 2, 4]), &["--mean", "0.5,0,0", "--std", "0.5,1,2"]).unwrap();
    assert_eq!((scaled[0], scaled[1], scaled[8 + 1], scaled[16 + 2]), (1.0, -1.0, 1.0, 0.5));

    let picture = Picture::decode("x.png", file().as_slice()).unwrap();
    let request = picture.request(&metadata("UINT8", json!([1, 3, 2, 4])), &Options::default()).unwrap();
    assert_eq!(request["inputs"][0]["data"][0], json!(255), "integers are as the picture has them");
}

#[test]
fn what_does_not_fit_says_what_would() {
    let cases: [(Value, &[&str], &str); 8] = [
        (json!([-1, -1, -1, -1]), &[], "where its channels are"),
        (json!([-1, 7]), &[], "how many pixels"),
        (json!([-1, 9]), &["--size", "4x2"], "how many pixels"),
        (json!([-1, 2, 8, 8]), &["--layout", "nchw"], "1 channel"),
        (json!([4, 8, 8]), &[], "one picture is one sample"),
        (json!([-1, 8, 8]), &["--size", "4x4"], "it is 8x8"),
        (json!([-1, 100_000, 100_000]), &[], "beyond what is sent"),
        (json!([-1]), &[], "2, 3 or 4 dimensions"),
    ];
    for (shape, flags, why) in cases {
        let refused = asked(shape.clone(), flags).unwrap_err().to_string();
        assert!(refused.contains(why), "{shape}: {refused}");
    }
    assert!(asked(json!([1, 3, 2, 4]), &["--mean", "1,2"]).unwrap_err().to_string().contains("3 channels"));
    for flag in [["--size", "0x4"], ["--size", "4"], ["--range", "1"], ["--range", "0..inf"]] {
        assert!(Flags::try_parse_from(["x", flag[0], flag[1]]).is_err(), "{flag:?}");
    }
}

#[test]
fn transparent_parts_are_white_and_jpeg_is_read() {
    let mut glass = RgbaImage::from_pixel(2, 1, Rgba([0, 0, 0, 0]));
    glass.put_pixel(0, 0, Rgba([0, 0, 0, 255]));
    let file = written(&DynamicImage::ImageRgba8(glass), ImageFormat::Png);
    let picture = Picture::decode("x.png", file.as_slice()).unwrap();
    assert_eq!(picture.0.into_raw(), [0, 0, 0, 255, 255, 255]);

    let grey = DynamicImage::ImageLuma8(GrayImage::from_pixel(9, 5, Luma([200])));
    let picture = Picture::decode("x.jpg", written(&grey, ImageFormat::Jpeg).as_slice()).unwrap();
    assert_eq!(picture.0.dimensions(), (9, 5));
}

#[test]
fn what_would_take_too_much_memory_is_refused_before_it_is_decoded() {
    // A PNG's head says how large it is: 20,000×1, then 16,000×16,000.
    let head = |width: u32, height: u32| {
        let mut file = written(&DynamicImage::ImageLuma8(GrayImage::new(1, 1)), ImageFormat::Png);
        file[16..20].copy_from_slice(&width.to_be_bytes());
        file[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc(&file[12..29]);
        file[29..33].copy_from_slice(&sum.to_be_bytes());
        file
    };
    for (width, height) in [(20_000, 1), (16_000, 16_000)] {
        let refused = Picture::decode("x.png", head(width, height).as_slice()).unwrap_err().to_string();
        assert!(refused.contains("make it smaller"), "{width}x{height}: {refused}");
    }
    for broken in [&b""[..], b"GIF89a", &file()[..40], &file()[..file().len() - 20]] {
        assert!(Picture::decode("x.png", broken).is_err());
    }
}

/// As PNG has it: <https://www.w3.org/TR/png/#D-CRCAppendix>.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 },
        )
    })
}
