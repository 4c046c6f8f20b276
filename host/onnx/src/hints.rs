//! A file without what it says of shapes beyond those of its inputs.
//!
//! An engine may believe a file that declares the shape of a value inside, and compute with it before any input
//! is there; a file that lies makes it allocate what it likes. Shapes that are not declared are derived from the
//! operators, which do not lie. Inputs keep their sizes, for what is given is compared with them, but not the
//! names of sizes, by which an engine takes one input's size for another's.

use bytes::Bytes;

use super::error::OnnxError;
use super::file::{read, write};
use super::proto::tensor_shape_proto::dimension::Value as Dim;
use super::proto::type_proto::Value as Type;
use super::proto::{GraphProto, ValueInfoProto};

/// `file` with no shapes but its inputs', and no names of sizes. Nodes, weights and types are as they were.
pub fn without_hints(file: Bytes) -> Result<Bytes, OnnxError> {
    let mut model = read(file)?;
    if let Some(graph) = &mut model.graph {
        graph.input.iter_mut().for_each(forget_names);
        forget_shapes(graph);
    }
    Ok(write(&model))
}

fn forget_names(input: &mut ValueInfoProto) {
    let Some(Type::TensorType(tensor)) = input.r#type.as_mut().and_then(|of| of.value.as_mut()) else {
        return;
    };
    for dim in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
        dim.value = dim.value.take().filter(|value| matches!(value, Dim::DimValue(_)));
    }
}

/// Of everything but the inputs; of graphs inside, of these too.
fn forget_shapes(graph: &mut GraphProto) {
    graph.output.iter_mut().chain(&mut graph.value_info).for_each(forget_shape);
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            inner.input.iter_mut().for_each(forget_shape);
            forget_shapes(inner);
        }
    }
}

fn forget_shape(value: &mut ValueInfoProto) {
    if let Some(Type::TensorType(tensor)) = value.r#type.as_mut().and_then(|of| of.value.as_mut()) {
        tensor.shape = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use crate::outline::tests::{graph, inner, model, node, port};
    use crate::signature::signature;

    #[test]
    fn only_inputs_keep_their_shapes() {
        let mut branch = graph(&[], &[], &[node("Neg", &["x"], &["b"], &[])], &["b"]);
        branch.output = vec![port("b", 1, Some(&[7]))];
        let branches = [inner("then_branch", branch.clone()), inner("else_branch", branch)];
        let mut whole = graph(&[("x", &[-1, 3])], &[], &[node("If", &["x"], &["y"], &branches)], &["y"]);
        whole.output = vec![port("y", 1, Some(&[9]))];
        whole.value_info = vec![port("y", 1, Some(&[8]))];
        let named = Dim::DimParam("batch".to_owned());
        let Some(Type::TensorType(x)) = &mut whole.input[0].r#type.as_mut().unwrap().value else { panic!() };
        x.shape.as_mut().unwrap().dim[0].value = Some(named);

        let bare = without_hints(file::write(&model(whole.clone()))).unwrap();
        let found = signature(&bare).unwrap();
        assert_eq!(found.inputs[0].shape, Some(vec![None, Some(3)]));
        assert_eq!(found.outputs[0].shape, None);
        let bare = read(bare).unwrap().graph.unwrap();
        assert_eq!(bare.value_info, [port("y", 1, None)]);
        let inside = bare.node[0].attribute[0].g.as_ref().unwrap();
        assert_eq!(inside.output, [port("b", 1, None)]);
    }
}
