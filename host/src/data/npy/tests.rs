//! Tests of the module above.

use proptest::prelude::*;

use super::*;

/// A file of version 1.0 with that header and data.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn f4(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn f8(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read_bytes(file: &[u8], label: Option<&str>) -> Result<Vec<(String, Tensor)>, DataError> {
    read(file, "d.npy", label)
}

#[test]
fn arrays_of_each_type_are_read() {
    let cases = [
        (npy("<f2", false, "(2,)", &[0, 0x3c, 0, 0x40]), "f16[2]"),
        (npy("<f4", false, "(2, 1)", &f4(&[1.0, 2.0])), "f32[2, 1]"),
        (npy("<f8", false, "(2,)", &f8(&[1.0, 2.0])), "f32[2]"),
        (npy("<i4", false, "(1,)", &[1, 0, 0, 0]), "i32[1]"),
        (npy("<i8", false, "(1L, 1L)", &[1, 0, 0, 0, 0, 0, 0, 0]), "i64[1, 1]"),
        (npy("|u1", false, "(2, 2, 1)", &[1, 2, 3, 4]), "u8[2, 2, 1]"),
    ];
    for (file, expected) in cases {
        assert_eq!(format!("{:?}", read_bytes(&file, None).unwrap()[0].1), expected);
    }
}

#[test]
fn fortran_order_becomes_rows() {
    // [[1, 2, 3], [4, 5, 6]] by columns.
    let file = npy("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]);
    assert_eq!(read_bytes(&file, None).unwrap()[0].1.bytes(), [1, 2, 3, 4, 5, 6]);
    let file = npy("|u1", true, "(2, 2, 2)", &[0, 4, 2, 6, 1, 5, 3, 7]);
    assert_eq!(read_bytes(&file, None).unwrap()[0].1.bytes(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_column_can_be_the_label() {
    let file = npy("<f4", false, "(2, 3)", &f4(&[0.5, 7.0, 1.5, 2.5, 8.0, 3.5]));
    let columns = read_bytes(&file, Some("1")).unwrap();
    assert_eq!(columns[0].1.as_slice::<f32>().unwrap(), [0.5, 1.5, 2.5, 3.5]);
    assert_eq!(columns[1].1.as_slice::<i64>().unwrap(), [7, 8]);
    let error = read_bytes(&file, Some("0")).unwrap_err();
    assert_eq!(error.message, "d.npy: the label 0.5 of sample 0 is not an integer");
    assert_eq!(read_bytes(&file, Some("3")).unwrap_err().reason, "NoSuchLabel");
    assert_eq!(read_bytes(&file, Some("digit")).unwrap_err().reason, "NoSuchLabel");
}

#[test]
fn what_is_wrong_is_said() {
    let cases = [
        (b"not numpy".to_vec(), "Malformed", "d.npy: not a NumPy array"),
        (npy("<f4", false, "(2,)", &[0; 7]), "Malformed", "d.npy: truncated: 2 of 2 elements are missing"),
        (npy("<f4", false, "(2,)", &[0; 9]), "Malformed", "d.npy: there is more after the array"),
        (npy(">f4", false, "(2,)", &[0; 8]), "Unsupported", "d.npy: elements of type \">f4\"; use <f2,"),
        (npy("<f2", false, "(2,)", &[0, 0, 0, 0x7c]), "Malformed", "d.npy: sample 1 has a value"),
        (npy("<f4", false, "2", &[0; 8]), "Malformed", "d.npy: the header is not that of an array"),
        (npy("<f4", false, "(9999999999999, 9999999999999)", &[]), "TooLarge", "d.npy: f32["),
        (npy("<f4", false, "(9999999999,)", &[]), "TooLarge", "d.npy: f32[9999999999] is too large"),
        (
            npy("<f4", false, "(2, 2)", &f4(&[0.0, 1.0, f32::NAN, 2.0])),
            "Malformed",
            "d.npy: sample 1 has a value that is not a finite",
        ),
        (npy("<f8", false, "(1,)", &f8(&[1e99])), "Malformed", "d.npy: sample 0 has a value"),
    ];
    for (file, reason, message) in cases {
        let error = read_bytes(&file, None).unwrap_err();
        assert_eq!(error.reason, reason, "{}", error.message);
        assert!(error.message.starts_with(message), "{}", error.message);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), label in "[0-9x]{0,2}") {
        let _ = read_bytes(&bytes, Some(&label));
    }

    #[test]
    fn no_header_panics(
        descr in "([<|>][fiu][1248]|.{0,4})",
        fortran in any::<bool>(),
        shape in "(\\([0-9]{1,3}, ?[0-9]{1,3},?\\)|[(), 0-9L]{0,30})",
        data in proptest::collection::vec(any::<u8>(), 0..40),
        label in proptest::option::of("[0-9]"),
    ) {
        let _ = read_bytes(&npy(&descr, fortran, &shape, &data), label.as_deref());
    }
}
