use bytes::{BufMut, Bytes};
use proptest::prelude::*;
use prost::Message;
use sedge_api::inference::ModelInferRequest;
use tonic::Code;

use super::super::{binary, json, parse_inputs, wire};
use super::*;

fn framed(message: &[u8]) -> Bytes {
    let mut body = vec![0];
    body.put_u32(message.len() as u32);
    body.extend_from_slice(message);
    body.into()
}

#[test]
fn the_tensors_of_a_probe() {
    let inputs = parse_inputs(br#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"INT64","data":[1,2]}]}"#);
    let inputs = inputs.unwrap();
    assert_eq!(inputs[0].0, "x");
    assert_eq!(inputs[0].1.as_slice::<i64>().unwrap(), [1, 2]);
}

#[test]
fn malformed_protobuf_is_an_error() {
    let refused = |body: &[u8]| wire::message::<ModelInferRequest>(Bytes::copy_from_slice(body)).unwrap_err();
    assert_eq!(refused(b"").code, Code::InvalidArgument);
    assert_eq!(refused(&[1, 0, 0, 0, 0]).code, Code::Unimplemented);
    assert_eq!(refused(&[0, 0, 0, 0, 9, 1]).code, Code::InvalidArgument);
    assert_eq!(refused(&framed(&[0x0a, 0xff])).code, Code::InvalidArgument);
    assert_eq!(refused(&framed(&[0x0b])).code, Code::InvalidArgument, "a group");
}

#[test]
fn a_message_of_many_small_parts_is_refused_before_they_are_made() {
    // Each an empty input of two bytes, and an input of as many empty parameters.
    let inputs = [0x2a, 0].repeat(100_000);
    let mut nested = vec![0x2a];
    prost::encoding::encode_varint(inputs.len() as u64, &mut nested);
    nested.extend([0x22, 0].repeat(100_000));
    for message in [inputs, nested] {
        let error = wire::message::<ModelInferRequest>(framed(&message)).unwrap_err();
        assert!(error.message.contains("more than 16384 fields"), "{}", error.message);
    }
}

#[test]
fn timeouts() {
    let timeout = |text| wire::timeout(&http::HeaderValue::from_static(text));
    assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
    assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    for none in ["", "m", "1", "-1m", "+1m", "123456789m", "1x", "\u{a0}"] {
        let header = http::HeaderValue::from_bytes(none.as_bytes());
        assert_eq!(header.ok().and_then(|header| wire::timeout(&header)), None, "{none}");
    }
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("\"inputs\""),
        Just("\"name\""),
        Just("\"shape\""),
        Just("\"datatype\""),
        Just("\"FP32\""),
        Just("\"data\""),
        Just("\"parameters\""),
        Just("\"binary_data_size\""),
        Just("1"),
        Just("-2.5e3"),
        Just("99999999999999999999"),
        Just("null"),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_json_panics(text in text(), behind in proptest::collection::vec(any::<u8>(), 0..20)) {
        if let Ok(request) = json::parse(text.as_bytes()) {
            let _ = binary::place(request.inputs.0, behind.into());
        }
    }

    #[test]
    fn floats_read_back(values in proptest::collection::vec(any::<f32>(), 1..50)) {
        prop_assume!(values.iter().all(|value| value.is_finite()));
        let data = serde_json::to_string(&values).unwrap();
        let count = values.len();
        let text = format!(r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"FP32","data":{data}}}]}}"#);
        let inputs = parse_inputs(text.as_bytes()).unwrap();
        prop_assert_eq!(inputs[0].1.as_slice::<f32>().unwrap(), &values[..]);
    }

    #[test]
    fn any_split_and_size_is_cut_or_refused(
        body in proptest::collection::vec(any::<u8>(), 0..64),
        length in 0usize..80,
        dims in proptest::collection::vec(0usize..5, 0..3),
        size in 0usize..64,
    ) {
        let text = length.to_string();
        let Ok((json, behind)) = binary::split(body.clone().into(), Some(text.as_bytes())) else {
            prop_assert!(length > body.len());
            return Ok(());
        };
        prop_assert_eq!([&json[..], &behind[..]].concat(), body);
        let content = json::Content::Behind(size);
        let input = json::Input { name: "x".to_owned(), dtype: DType::I32, shape: dims.clone(), content };
        let fits = size == 4 * dims.iter().product::<usize>() && size == behind.len();
        let placed = binary::place(vec![input], behind.clone());
        prop_assert_eq!(placed.is_ok(), fits);
        if let Ok(tensors) = placed {
            prop_assert_eq!(tensors[0].1.bytes(), &behind[..]);
        }
    }

    #[test]
    fn no_protobuf_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = wire::message::<ModelInferRequest>(framed(&bytes));
    }

    #[test]
    fn what_is_well_formed_is_read(name in ".{0,9}", shape in proptest::collection::vec(any::<i64>(), 0..9)) {
        let input = sedge_api::inference::model_infer_request::InferInputTensor {
            name, shape, ..Default::default()
        };
        let request = ModelInferRequest { inputs: vec![input], ..Default::default() };
        let read = wire::message::<ModelInferRequest>(framed(&request.encode_to_vec())).unwrap();
        prop_assert_eq!(read, request);
    }
}
