//! Tests of the module above.

use cap_std::ambient_authority;
use proptest::prelude::*;
use safetensors::SafeTensors;

use super::*;
use crate::nn::{Element, bf16, f16};

fn sample() -> Weights {
    let bytes = |len: u8| (0..len).collect::<Vec<_>>();
    let tensor = |dtype, shape: &[usize], len| Tensor::from_bytes(dtype, shape, &bytes(len)).unwrap();
    Weights::new(vec![
        ("half".into(), tensor(DType::F16, &[3], 6)),
        ("w".into(), tensor(DType::F32, &[2, 3], 24)),
        ("long".into(), tensor(DType::I64, &[], 8)),
        ("odd".into(), tensor(DType::U8, &[5], 5)),
        ("none".into(), tensor(DType::F32, &[0, 4], 0)),
        ("b".into(), tensor(DType::F32, &[1], 4)),
    ])
    .unwrap()
}

fn file(weights: &Weights) -> Vec<u8> {
    weights.to_safetensors().concat()
}

fn read_bytes(bytes: &[u8]) -> Result<Weights, ModelError> {
    from_buffer(Buffer::copy_of(bytes).unwrap())
}

/// A file with that header and `data` bytes.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

fn same(left: &Weights, right: &Weights) -> bool {
    left.check_layout(right).is_ok()
        && left.tensors().iter().zip(right.tensors()).all(|(left, right)| left.1.bytes() == right.1.bytes())
}

#[test]
fn weights_come_back_as_they_went_without_a_copy() {
    let weights = sample();
    let bytes = file(&weights);
    assert_eq!(bytes.len() as u64, weights.safetensors_len());
    let buffer = Buffer::copy_of(&bytes).unwrap();
    let range = buffer.as_slice().as_ptr_range();
    let back = from_buffer(buffer).unwrap();
    assert!(same(&weights, &back));
    assert!(
        back.tensors()
            .iter()
            .all(|(_, tensor)| range.contains(&tensor.bytes().as_ptr()) || tensor.is_empty())
    );
    assert_eq!(file(&back), bytes);
}

#[test]
fn elements_of_every_type_come_back_aligned() {
    fn goes_round<T: Element>(values: [T; 3]) {
        // Behind an odd byte, so that only the order of the file can align it.
        let odd = Tensor::from_vec(&[1], vec![7u8]).unwrap();
        let tensor = Tensor::from_vec(&[3, 1], values.to_vec()).unwrap();
        let weights = Weights::new(vec![("a".into(), odd), ("w".into(), tensor)]).unwrap();
        let back = read_bytes(&file(&weights)).unwrap();
        assert_eq!(back.get("w").unwrap().as_slice::<T>().unwrap(), values);
        assert_eq!(back.get("w").unwrap().shape(), [3, 1]);
    }
    goes_round([1.5f32, f32::MIN_POSITIVE, f32::NEG_INFINITY]);
    goes_round([1.5f64, f64::MIN_POSITIVE, f64::NEG_INFINITY]);
    goes_round([1.5, 65504.0, f32::NEG_INFINITY].map(f16::from_f32));
    goes_round([1.5, 3e38, f32::NEG_INFINITY].map(bf16::from_f32));
    goes_round([0u8, 1, 255]);
    goes_round([i32::MIN, 0, i32::MAX]);
    goes_round([i64::MIN, 0, i64::MAX]);
}

#[test]
fn the_parts_share_the_tensors_memory() {
    let weights = sample();
    let parts = weights.to_safetensors();
    assert_eq!(parts[0].len() % ALIGNMENT, 0);
    assert!(parts.iter().any(|part| part.as_ptr() == weights.get("w").unwrap().bytes().as_ptr()));
}

#[test]
fn the_safetensors_crate_reads_what_we_write_and_we_what_it_writes() {
    let weights = sample();
    let bytes = file(&weights);
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), weights.tensors().len());
    for (name, tensor) in weights.tensors() {
        let view = theirs.tensor(name).unwrap();
        assert_eq!((view.shape(), view.data()), (tensor.shape(), tensor.bytes()));
    }
    let again = safetensors::serialize(theirs.iter(), None).unwrap();
    assert!(same(&weights, &read_bytes(&again).unwrap()));
}

#[test]
fn a_file_is_mapped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.safetensors"), file(&sample())).unwrap();
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    let mapped = Weights::map(&dir, "w.safetensors").unwrap();
    std::fs::remove_file(folder.path().join("w.safetensors")).unwrap();
    assert!(same(&mapped, &sample()));

    std::fs::write(folder.path().join("empty"), []).unwrap();
    assert!(Weights::map(&dir, "empty").unwrap_err().0.starts_with("empty: not a safetensors file"));
    assert!(Weights::map(&dir, "absent").unwrap_err().0.starts_with("absent: cannot read the weights"));
    assert!(Weights::map(&dir, ".").unwrap_err().0.ends_with("not a file"));
    assert!(Weights::map(&dir, "../absent").is_err());
}

#[test]
fn a_misaligned_tensor_is_copied() {
    let file = with_header(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4);
    assert_eq!(read_bytes(&file).unwrap().get("w").unwrap().as_slice::<f32>().unwrap(), [0.0]);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let entry = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let b = entry("b", "F32", "[2]", "[0,8]");
    let cases = [
        (format!("{{{b}}}"), 7, "tensor \"b\": ends at byte 8 of the data, which has only 7"),
        (format!("{{{b}}}"), 9, "1 bytes after the last tensor"),
        (format!("{{{b},{}}}", entry("w", "F32", "[2]", "[4,12]")), 12, "tensor \"w\": overlaps"),
        (format!("{{{b},{}}}", entry("w", "F32", "[2]", "[12,20]")), 20, "tensor \"w\": leaves a gap"),
        (format!("{{{b},{b}}}"), 8, "tensor \"b\": overlaps"),
        (
            format!("{{{},{}}}", entry("e", "F32", "[0]", "[0,0]"), entry("e", "F32", "[0]", "[0,0]")),
            0,
            "two weights are called \"e\"",
        ),
        (format!("{{{}}}", entry("w", "F32", "[3]", "[0,8]")), 8, "tensor \"w\": f32[3] does not lie"),
        (format!("{{{}}}", entry("w", "F32", "[2]", "[8,0]")), 8, "tensor \"w\": leaves a gap"),
        (format!("{{{}}}", entry("w", "I8", "[8]", "[0,8]")), 8, "tensor \"w\": elements of I8"),
        (format!("{{{}}}", entry("w", "Q4", "[8]", "[0,8]")), 8, "tensor \"w\": unknown variant `Q4`"),
        (
            format!("{{{}}}", entry("w", "F32", "[4294967296,4294967296]", "[0,8]")),
            8,
            "tensor \"w\": f32[4294967296, 4294967296] is larger than the address space",
        ),
        ("{".to_owned(), 0, "not a safetensors file"),
        ("[]".to_owned(), 0, "not a safetensors file"),
        ("{} x".to_owned(), 0, "not a safetensors file"),
    ];
    for (header, data, expected) in cases {
        let message = read_bytes(&with_header(&header, data)).unwrap_err().0;
        assert!(message.contains(expected), "{header}: {message}");
    }
    for length in [9u64, MAX_HEADER as u64 + 1, u64::MAX] {
        let mut file = length.to_le_bytes().to_vec();
        file.extend(b"{}");
        assert!(read_bytes(&file).unwrap_err().0.starts_with("not a safetensors file"), "{length}");
    }
}

#[test]
fn metadata_of_others_is_passed_over() {
    let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    assert_eq!(read_bytes(&with_header(header, 1)).unwrap().tensors().len(), 1);
}

proptest! {
    #[test]
    fn no_bytes_panic(
        header in proptest::collection::vec(any::<u8>(), 0..80),
        data in 0usize..20,
    ) {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.resize(file.len() + data, 0);
        let _ = read_bytes(&file);
    }

    #[test]
    fn no_damage_panics(at in 0usize..512, byte in any::<u8>()) {
        let mut damaged = file(&sample());
        let at = at % damaged.len();
        damaged[at] = byte;
        let _ = read_bytes(&damaged);
        let _ = read_bytes(&damaged[..at]);
    }
}
