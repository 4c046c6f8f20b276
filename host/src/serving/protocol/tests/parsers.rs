use bytes::{BufMut, Bytes};
use proptest::prelude::*;
use prost::Message;
use sedge_api::inference::ModelInferRequest;
use tonic::Code;

use super::super::body::{Memory, Share};
use super::super::refusal::Refusal;
use super::super::{binary, json, parse_inputs, wire};
use super::*;

fn framed(message: &[u8]) -> Bytes {
    let mut body = vec![0];
    body.put_u32(message.len() as u32);
    body.extend_from_slice(message);
    body.into()
}

fn parsed(body: Bytes) -> Result<ModelInferRequest, Refusal> {
    wire::message(body, &mut Share::new(&Memory::new(1 << 20)))
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
    let refused = |body: &[u8]| parsed(Bytes::copy_from_slice(body)).unwrap_err();
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
        let error = parsed(framed(&message)).unwrap_err();
        assert!(error.message.contains("more than 16384 fields"), "{}", error.message);
    }
}

#[test]
fn what_grows_in_memory_is_counted_before_it_is_read() {
    // `key` and a length of two varint bytes, as both are below 2¹⁴.
    let field = |number: u8, content: &[u8]| {
        let length = content.len();
        [&[number << 3 | 2, (length & 0x7f) as u8 | 0x80, (length >> 7) as u8], content].concat()
    };
    let many_dimensions = framed(&field(5, &field(3, &[1; 400])));
    assert!(parsed(many_dimensions).unwrap_err().message.contains("more than 32 dimensions"));

    let elements = framed(&field(5, &field(5, &field(3, &[1; 2000]))));
    assert!(parsed(elements.clone()).is_ok());
    let memory = Memory::new(8 * 2000);
    let error = wire::message::<ModelInferRequest>(elements, &mut Share::new(&memory)).unwrap_err();
    assert_eq!(error.status, http::StatusCode::TOO_MANY_REQUESTS);
}

#[test]
fn what_a_client_sent_is_quoted_in_part() {
    let long = format!(r#"{{"parameters": {{"timeout": "{}"}}, "inputs": []}}"#, "é".repeat(1 << 20));
    let error = Refusal::from(parse_inputs(long.as_bytes()).unwrap_err());
    assert!(error.message.len() < 3000 && error.message.ends_with('…'), "{}", error.message.len());
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
        let _ = parsed(framed(&bytes));
    }

    #[test]
    fn what_is_well_formed_is_read(name in ".{0,9}", shape in proptest::collection::vec(any::<i64>(), 0..9)) {
        let input = sedge_api::inference::model_infer_request::InferInputTensor {
            name, shape, ..Default::default()
        };
        let request = ModelInferRequest { inputs: vec![input], ..Default::default() };
        let read = parsed(framed(&request.encode_to_vec())).unwrap();
        prop_assert_eq!(read, request);
    }
}
