use serde_json::json;

use super::*;

#[tokio::test]
async fn health_and_metadata() {
    let server = Server::start(Limits::default()).await;
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/plus-one/ready"] {
        assert_eq!(server.ask("GET", path, "", b"").await.0, 200, "{path}");
    }
    let version = Digest::of(b"model").short();
    let (_, _, model) = server.ask("GET", &format!("/v2/models/plus-one/versions/{version}"), "", b"").await;
    let model: Value = serde_json::from_slice(&model).unwrap();
    let port = |name| json!([{ "name": name, "datatype": "FP32", "shape": [-1, 2] }]);
    let expected = json!({
        "name": "plus-one", "versions": [version], "platform": "sedge", "inputs": port("x"), "outputs": port("y"),
    });
    assert_eq!(model, expected);
    let (_, _, node) = server.ask("GET", "/v2", "", b"").await;
    assert!(String::from_utf8(node).unwrap().contains("binary_tensor_data"));
    let (_, _, index) = server.ask("POST", "/v2/repository/index", "", b"{}").await;
    assert!(String::from_utf8(index).unwrap().contains(r#""state":"READY""#));
    assert_eq!(server.ask("GET", "/v2/models/other", "", b"").await.0, 404);
    assert_eq!(server.ask("GET", "/v2/models/plus-one/versions/1", "", b"").await.0, 404);
    assert_eq!(server.ask("GET", "/v2/models/plus-one/infer", "", b"").await.0, 405);
}

#[tokio::test]
async fn tensors_in_json() {
    let server = Server::start(Limits::default()).await;
    let body =
        r#"{"id":"a\"b","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[0.1,1],[-2,3e2]]}]}"#;
    let (status, answer) = server.infer(body).await;
    assert_eq!(status, 200, "{answer}");
    let expected = json!({
        "model_name": "plus-one",
        "model_version": Digest::of(b"model").short(),
        "id": "a\"b",
        "parameters": {
            "answered_by": "edge", "hard": true, "hard_samples": "0,2",
            "plugin": Digest::of(b"plugin").to_string(), "model": Digest::of(b"model").to_string(),
        },
        "outputs": [{ "name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1.1, 2.0, -1.0, 301.0] }],
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn every_datatype_comes_back_as_it_went() {
    let server = Server::start(Limits::default()).await;
    for (datatype, data) in [
        ("FP16", json!([0.5, -2.0])),
        ("BF16", json!([0.5, -2.0])),
        ("FP64", json!([0.1, -1e300])),
        ("INT64", json!([i64::MAX, i64::MIN])),
        ("INT32", json!([i32::MAX, i32::MIN])),
        ("UINT8", json!([0, 255])),
    ] {
        // Its data before what is needed to read it.
        let body = json!({ "inputs": [{ "data": data, "datatype": datatype, "name": "a", "shape": [2] }] });
        let (status, answer) = server.infer(&body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["outputs"][0]["data"], data);
        assert_eq!(answer["outputs"][0]["datatype"], datatype);
    }
}

#[tokio::test]
async fn tensors_in_binary() {
    let server = Server::start(Limits::default()).await;
    let json = r#"{"inputs":[{"name":"a","shape":[1],"datatype":"UINT8","parameters":{"binary_data_size":1}},
        {"name":"x","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}],
        "outputs":[{"name":"y","parameters":{"binary_data":true}},{"name":"a"}]}"#;
    let body = [json.as_bytes(), &[7], &1.0f32.to_le_bytes(), &f32::INFINITY.to_le_bytes()].concat();
    let header = format!("Inference-Header-Content-Length: {}\r\n", json.len());
    let (status, head, body) = server.ask("POST", "/v2/models/plus-one/infer", &header, &body).await;
    assert_eq!(status, 200, "{head}");
    let length =
        head.lines().find_map(|line| line.strip_prefix("inference-header-content-length: ")).unwrap();
    let (text, binary) = body.split_at(length.parse().unwrap());
    let answer: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(answer["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert_eq!(answer["outputs"][1]["data"], json!([7]));
    assert_eq!(binary, [2.0f32, f32::INFINITY].map(f32::to_le_bytes).concat());
}

#[tokio::test]
async fn what_cannot_be_served_is_said() {
    let server = Server::start(Limits::default()).await;
    let one = |tensor: &str| format!(r#"{{"inputs":[{tensor}]}}"#);
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let deeper = "[".repeat(100_000);
    let wide = vec!["1"; 40].join(",");
    let many = vec![r#"{"name":"x","shape":[1],"datatype":"FP32","data":[1]}"#; 1025].join(",");
    let x = r#"{"name":"x","shape":[1],"datatype":"FP32","data":[1]}"#;
    for (body, expected) in [
        ("{".to_owned(), "EOF"),
        ("{}".to_owned(), "missing field `inputs`"),
        (one(x) + " x", "trailing characters"),
        (one(&format!("{x},{x}")), "tensor `x` is given twice"),
        (one(r#"{"name":"x","name":"y"}"#), "two of `name`"),
        (one(&many), "more than 1024 tensors"),
        (one(r#"{"name":"x","shape":[1],"datatype":"BYTES","data":["a"]}"#), "served are FP16, FP32"),
        (
            one(r#"{"name":"x","shape":[1],"datatype":"FP32","data":["a"]}"#),
            "tensor `x`: invalid type: string",
        ),
        (one(r#"{"name":"x","shape":[1],"datatype":"INT32","data":[1.5]}"#), "1.5 is no INT32"),
        (one(r#"{"name":"x","shape":[1],"datatype":"UINT8","data":[256]}"#), "256 is no UINT8"),
        (one(r#"{"name":"x","shape":[1],"datatype":"FP32","data":[1e39]}"#), "1e39 is no FP32"),
        (one(r#"{"name":"x","shape":[3],"datatype":"FP32","data":[1,2]}"#), "has 3 elements, data has 2"),
        (one(r#"{"name":"x","shape":[4],"datatype":"FP32","data":[[1,2],[3,4]]}"#), "nested as [2, 2]"),
        (one(r#"{"name":"x","shape":[3],"datatype":"FP32","data":[[1,2],[3]]}"#), "nested unevenly"),
        (one(r#"{"name":"x","shape":[3],"datatype":"FP32","data":[1,[3]]}"#), "nested unevenly"),
        (one(r#"{"name":"x","shape":[-1],"datatype":"FP32","data":[1]}"#), "invalid value"),
        (
            one(r#"{"name":"x","shape":[9223372036854775807,9],"datatype":"FP32","data":[1]}"#),
            "address space",
        ),
        (one(r#"{"name":"x","shape":[100000000000],"datatype":"FP32","data":[1]}"#), "data has 1"),
        (one(&format!(r#"{{"name":"x","shape":[1],"datatype":"FP32","data":{deep}}}"#)), "more than 32 deep"),
        (one(&format!(r#"{{"name":"x","shape":[1],"datatype":"FP32","data":{deeper}"#)), "more than 32 deep"),
        (one(&format!(r#"{{"name":"x","shape":[1],"data":{deeper}"#)), "expected `,`"),
        (one(&format!(r#"{{"name":"x","shape":[1],"other":{deeper}"#)), "expected `,`"),
        (
            one(&format!(r#"{{"name":"x","shape":[{wide}],"datatype":"FP32","data":[1]}}"#)),
            "at most 32 dimensions",
        ),
        (one(r#"{"name":"x","shape":[1],"datatype":"FP32"}"#), "has no `data`"),
        (
            one(r#"{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}"#),
            "0 bytes are left",
        ),
        (format!(r#"{{"inputs":[{x}],"outputs":[{{"name":"z"}}]}}"#), "no output `z`; there are y"),
    ] {
        let (status, answer) = server.infer(&body).await;
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(status == 400 && error.contains(expected), "{status} {error}\n  should have: {expected}");
    }
    let full = one(r#"{"name":"full","shape":[1],"datatype":"FP32","data":[1]}"#);
    assert_eq!(server.infer(&full).await.0, 429);
}

#[tokio::test]
async fn what_is_not_finite_is_to_be_asked_for_as_binary() {
    let server = Server::start(Limits::default()).await;
    let json =
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}"#;
    let body = [json.as_bytes(), &f32::NAN.to_le_bytes()].concat();
    let header = format!("Inference-Header-Content-Length: {}\r\n", json.len());
    let (status, _, body) = server.ask("POST", "/v2/models/plus-one/infer", &header, &body).await;
    let text = String::from_utf8(body).unwrap();
    assert!(status == 400 && text.contains("ask for it with binary_data"), "{text}");
}

#[tokio::test]
async fn a_timeout_becomes_the_deadline() {
    let server = Server::start(Limits::default()).await;
    let body = r#"{"parameters":{"timeout":TIMEOUT},"inputs":[{"name":"hurry","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    assert_eq!(server.infer(&body.replace("TIMEOUT", "60000000")).await.0, 200);
    assert_eq!(server.infer(&body.replace("TIMEOUT", "18446744073709551615")).await.0, 200);
    assert_eq!(server.infer(&body.replace("TIMEOUT", "0")).await.0, 503, "none");
}
