//! Graphs that are refused, and with which words. The builders serve other tests as well.

use super::*;
use crate::error::ErrorKind;
use crate::proto::tensor_proto::DataLocation;
use crate::proto::{
    AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, SparseTensorProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[AttributeProto]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: names(inputs),
        output: names(outputs),
        attribute: attributes.to_vec(),
        ..Default::default()
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), i: Some(value), r#type: Some(2), ..Default::default() }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: values.to_vec(),
        r#type: Some(7),
        ..Default::default()
    }
}

pub fn inner(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), g: Some(graph), r#type: Some(5), ..Default::default() }
}

/// Sizes below zero are unknown; None: an unknown shape.
pub fn port(name: &str, element: i32, shape: Option<&[i64]>) -> ValueInfoProto {
    let dim = |&size: &i64| tensor_shape_proto::Dimension {
        value: (size >= 0).then_some(tensor_shape_proto::dimension::Value::DimValue(size)),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(element),
        shape: shape.map(|shape| TensorShapeProto { dim: shape.iter().map(dim).collect() }),
    };
    let of = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(of), ..Default::default() }
}

pub fn i64s(name: &str, shape: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: shape.to_vec(),
        data_type: Some(7),
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

pub fn f32s(name: &str, shape: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: shape.to_vec(),
        data_type: Some(1),
        float_data: values.to_vec(),
        ..Default::default()
    }
}

/// Of f32 inputs and outputs.
pub fn graph(
    inputs: &[(&str, &[i64])],
    initializers: &[TensorProto],
    nodes: &[NodeProto],
    outputs: &[&str],
) -> GraphProto {
    GraphProto {
        name: Some("g".to_owned()),
        input: inputs.iter().map(|(name, shape)| port(name, 1, Some(shape))).collect(),
        output: outputs.iter().map(|name| port(name, 1, None)).collect(),
        initializer: initializers.to_vec(),
        node: nodes.to_vec(),
        ..Default::default()
    }
}

pub fn model(graph: GraphProto) -> ModelProto {
    let import = OperatorSetIdProto { domain: None, version: Some(17) };
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![import], ..Default::default() }
}

pub fn outline(graph: GraphProto) -> Outline {
    Outline::of_model(&model(graph)).unwrap()
}

fn refusal(graph: GraphProto) -> OnnxError {
    Outline::of(&file::write(&model(graph))).unwrap_err()
}

const X: (&str, &[i64]) = ("x", &[2]);

#[test]
fn nodes_in_a_circle_or_out_of_order_are_named() {
    let circle = [node("Add", &["x", "b"], &["a"], &[]), node("Neg", &["a"], &["b"], &[])];
    let error = refusal(graph(&[X], &[], &circle, &["b"]));
    assert_eq!(error.kind, ErrorKind::Malformed);
    assert_eq!(
        error.message,
        "the graph has a cycle: the node that makes \"a\" (Add) takes \"b\", which depends on what it makes"
    );
    let itself = [node("Add", &["x", "a"], &["a"], &[])];
    assert!(refusal(graph(&[X], &[], &itself, &["a"])).message.starts_with("the graph has a cycle"));

    let unsorted = [node("Neg", &["a"], &["b"], &[]), node("Neg", &["x"], &["a"], &[])];
    assert_eq!(
        refusal(graph(&[X], &[], &unsorted, &["b"])).message,
        "the node that makes \"b\" (Neg) takes \"a\", which a later node makes: ONNX demands nodes in an order in \
         which they can run"
    );
}

#[test]
fn a_value_is_made_once_and_by_somebody() {
    let neg = |from: &str, to: &str| node("Neg", &[from], &[to], &[]);
    let w = || f32s("w", &[1], &[1.0]);
    let cases = [
        (graph(&[X], &[], &[neg("y", "z")], &["z"]), "takes \"y\", which no node makes"),
        (graph(&[X], &[], &[neg("x", "y")], &["z"]), "nobody makes the graph's output \"z\""),
        (graph(&[X], &[], &[neg("x", "y"), neg("x", "y")], &["y"]), "makes \"y\", which there is already"),
        (graph(&[X], &[], &[neg("x", "x")], &["x"]), "makes \"x\", which there is already"),
        (graph(&[X, X], &[], &[neg("x", "y")], &["y"]), "two inputs are called \"x\""),
        (graph(&[X], &[w(), w()], &[neg("x", "y")], &["y"]), "\"w\", which there is already"),
        (graph(&[("", &[2])], &[], &[], &[]), "an input of a graph has no name"),
        (graph(&[X], &[], &[neg("x", "y")], &[""]), "an output of a graph has no name"),
        (graph(&[X], &[], &[node("", &["x"], &["y"], &[])], &["y"]), "has no operator"),
    ];
    for (graph, words) in cases {
        let error = refusal(graph);
        assert_eq!(error.kind, ErrorKind::Malformed, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn graphs_in_nodes_see_what_is_around_them_and_do_not_make_it_again() {
    let branch = |from: &str, to: &str| graph(&[], &[], &[node("Neg", &[from], &[to], &[])], &[to]);
    let choose = |yes, no| {
        let branches = [inner("then_branch", yes), inner("else_branch", no)];
        graph(&[X, ("c", &[])], &[], &[node("If", &["c"], &["y"], &branches)], &["y"])
    };
    let outline = outline(choose(branch("x", "t"), branch("x", "t")));
    assert_eq!(outline.graph.nodes[0].captures, [outline.graph.inputs[0].slot]);

    let unknown = refusal(choose(branch("x", "t"), branch("z", "t")));
    assert!(unknown.message.contains("takes \"z\", which no node makes"), "{unknown}");
    let again = refusal(choose(branch("x", "t"), branch("x", "c")));
    assert!(again.message.contains("makes \"c\", which there is already"), "{again}");
}

#[test]
fn an_attribute_has_one_value() {
    let pads = AttributeProto { i: Some(0), ..ints("pads", &[1 << 34, 0, 0, 0]) };
    let conv = node("Conv", &["x", "x"], &["y"], &[pads]);
    let error = refusal(graph(&[X], &[], &[conv], &["y"]));
    assert!(error.message.ends_with("has the attribute \"pads\" with more than one value"), "{error}");
}

#[test]
fn an_initializer_fixes_an_input() {
    let add = node("Add", &["x", "w"], &["y"], &[]);
    let outline = outline(graph(&[X, ("w", &[1])], &[f32s("w", &[1], &[1.0])], &[add], &["y"]));
    let names: Vec<_> = outline.graph.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["x"]);
    assert_eq!(outline.constant_bytes(), 4);
}

#[test]
fn data_are_what_the_dimensions_say() {
    let raw = |dims: &[i64], element, raw: &'static [u8]| TensorProto {
        name: Some("w".to_owned()),
        dims: dims.to_vec(),
        data_type: Some(element),
        raw_data: Some(Bytes::from_static(raw)),
        ..Default::default()
    };
    let twice = TensorProto { raw_data: Some(Bytes::from_static(&[0; 4])), ..f32s("w", &[1], &[1.0]) };
    let cases = [
        (
            raw(&[2, 3], 1, &[0; 23]),
            ErrorKind::Malformed,
            "float32[2, 3], which takes 6 values or 24 bytes; the file has 23 bytes",
        ),
        (raw(&[3], 21, &[0; 1]), ErrorKind::Malformed, "takes 3 values or 2 bytes; the file has 1 bytes"),
        (f32s("w", &[3], &[1.0]), ErrorKind::Malformed, "the file has 1 in float_data"),
        (f32s("w", &[3], &[]), ErrorKind::Malformed, "the file has none"),
        (twice, ErrorKind::Malformed, "the file has its data twice"),
        (TensorProto { int64_data: vec![1], ..raw(&[1], 1, &[]) }, ErrorKind::Malformed, "1 in int64_data"),
        (raw(&[-1], 1, &[]), ErrorKind::Malformed, "\"w\" has a negative dimension: [-1]"),
        (raw(&[1], 0, &[0; 4]), ErrorKind::Malformed, "\"w\" has no type"),
        (raw(&[1 << 62, 4], 1, &[]), ErrorKind::TooLarge, "larger than the address space"),
        (raw(&[0, i64::MAX, i64::MAX], 1, &[]), ErrorKind::TooLarge, "larger than the address space"),
        (raw(&[1; 33], 1, &[0; 4]), ErrorKind::TooLarge, "more than 32 dimensions"),
    ];
    for (tensor, kind, words) in cases {
        let error = refusal(graph(&[X], &[tensor], &[node("Neg", &["x"], &["y"], &[])], &["y"]));
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    let sparse = SparseTensorProto { dims: vec![1 << 40], ..Default::default() };
    let dense = graph(&[X], &[], &[node("Neg", &["x"], &["y"], &[])], &["y"]);
    let error = refusal(GraphProto { sparse_initializer: vec![sparse], ..dense });
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[test]
fn data_in_other_files_are_refused_wherever_they_are_said_to_be() {
    let external = |location: &str| TensorProto {
        name: Some("w".to_owned()),
        dims: vec![2],
        data_type: Some(1),
        data_location: Some(DataLocation::External as i32),
        external_data: vec![StringStringEntryProto {
            key: Some("location".to_owned()),
            value: Some(location.to_owned()),
        }],
        ..Default::default()
    };
    for location in ["weights.bin", "../weights.bin", "/etc/passwd", "a/../../b", "C:\\weights", ""] {
        let constant = AttributeProto { t: Some(external(location)), ..int("value", 0) };
        let constant = AttributeProto { i: None, ..constant };
        let add = || node("Add", &["x", "w"], &["y"], &[]);
        for graph in [
            graph(&[X], &[external(location)], &[add()], &["y"]),
            graph(&[X], &[], &[node("Constant", &[], &["w"], &[constant]), add()], &["y"]),
        ] {
            let error = refusal(graph);
            assert_eq!(error.kind, ErrorKind::Forbidden);
            assert!(error.message.contains(&format!("in another file ({location})")), "{error}");
            assert!(error.message.contains("save_as_external_data=False"), "{error}");
        }
    }
    // A list of places alone, which some readers would follow as well.
    let hidden = TensorProto { data_location: None, ..external("x") };
    assert_eq!(refusal(graph(&[X], &[hidden], &[], &["x"])).kind, ErrorKind::Forbidden);
}

#[test]
fn operators_come_with_a_known_version() {
    let of = |imports: &[(&str, i64)], domain: &str| {
        let mut neg = node("Neg", &["x"], &["y"], &[]);
        neg.domain = Some(domain.to_owned());
        let import = |&(domain, version): &(&str, i64)| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        let graph = graph(&[X], &[], &[neg], &["y"]);
        Outline::of_model(&ModelProto { opset_import: imports.iter().map(import).collect(), ..model(graph) })
    };
    assert!(of(&[("ai.onnx", 17)], "").is_ok());
    assert!(of(&[("", 17), ("com.microsoft", 1)], "com.microsoft").is_ok());
    let refused = |imports: &[(&str, i64)], domain: &str| of(imports, domain).unwrap_err().message;
    assert!(refused(&[], "").contains("does not say which version of the operators"));
    assert!(refused(&[("", 0)], "").contains("version 0 of ONNX's own operators"));
    assert!(refused(&[("", 999)], "").contains("28 is the newest that is known here"));
    assert!(refused(&[("", 17), ("ai.onnx", 18)], "").contains("two versions"));
    assert!(refused(&[("", 17)], "com.example").contains("an operator of com.example"));
}

#[test]
fn real_graphs_are_fine() {
    for file in [
        &include_bytes!("../../../tests/data/train-4-8-3.onnx")[..],
        include_bytes!("../../../../tests/data/digits-mlp/train.onnx"),
        include_bytes!("../../../../tests/data/digits-mlp/evaluate.onnx"),
        include_bytes!("../../../../tests/data/digits-mlp/infer.onnx"),
    ] {
        let file = Bytes::from_static(file);
        assert!(Outline::of(&file).is_ok());
        for cut in (0..file.len()).step_by(7) {
            // Cut off where a field ends it may still be a graph; it is never a panic.
            drop(Outline::of(&file.slice(..cut)));
        }
        assert_eq!(Outline::of(&file.slice(..file.len() / 2)).unwrap_err().kind, ErrorKind::Malformed);
    }
}
