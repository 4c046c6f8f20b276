//! Graphs written as text, run by rten.

mod gradients;
mod models;
mod optimizers;
mod refusals;

use std::collections::HashMap;

use bytes::Bytes;
use rten::{ModelOptions, Value};
use rten_tensor::Layout as _;

use super::node::{with_float, with_int, with_ints};
use super::*;
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, NodeProto, OperatorSetIdProto};

/// A graph of nodes such as `y = Conv(a, w) strides=2,2 auto_pad=VALID`, whose input is `x` and output `y`.
///
/// An input may be a constant: `[1, -1]` of integers, `{0.5}` a float without axes. An attribute with a comma is of
/// integers (`axes=1,`), one with a point a float, one of digits an integer, any other a text. Several outputs stand
/// before the `=` with commas.
pub struct Net {
    opset: i64,
    x: Vec<i64>,
    weights: Vec<(String, Vec<usize>, Vec<f32>)>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Net {
    /// With an input of that shape; -1 is the batch.
    pub fn new(x: &[i64]) -> Self {
        Self { opset: 17, x: x.to_vec(), weights: vec![], nodes: vec![], constants: vec![] }
    }

    pub fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    pub fn weight(mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Self {
        self.weights.push((name.to_owned(), shape.to_vec(), values));
        self
    }

    /// Nodes, one a line.
    pub fn nodes(mut self, text: &str) -> Self {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (outputs, rest) = line.split_once(" = ").unwrap();
            let (op, rest) = rest.split_once('(').unwrap();
            let (inputs, attributes) = rest.rsplit_once(')').unwrap();
            let input = split_inputs(inputs).iter().map(|input| self.operand(input)).collect();
            self.nodes.push(NodeProto {
                op_type: Some(op.to_owned()),
                name: Some(format!("/{op}_{}", self.nodes.len())),
                input,
                output: outputs.split(',').map(|output| output.trim().to_owned()).collect(),
                attribute: attributes.split_whitespace().map(attribute).collect(),
                ..NodeProto::default()
            });
        }
        self
    }

    fn operand(&mut self, text: &str) -> String {
        let name = format!("c{}", self.constants.len());
        let numbers =
            || text[1..text.len() - 1].split(',').map(str::trim).filter(|number| !number.is_empty());
        if text.starts_with('[') {
            let values: Vec<i64> = numbers().map(|number| number.parse().unwrap()).collect();
            self.constants.push(tensor::of_ints(&name, &[values.len()], &values));
        } else if text.starts_with('{') {
            let values: Vec<f32> = numbers().map(|number| number.parse().unwrap()).collect();
            self.constants.push(tensor::of_floats(&name, &[], &values));
        } else if text.starts_with('<') {
            self.constants.push(tensor::of_ints(&name, &[], &[numbers().next().unwrap().parse().unwrap()]));
        } else {
            return text.to_owned();
        }
        name
    }

    pub fn model(&self) -> ModelProto {
        let mut initializer: Vec<_> =
            self.weights.iter().map(|(name, shape, values)| tensor::of_floats(name, shape, values)).collect();
        initializer.extend(self.constants.iter().cloned());
        let rest: Vec<_> = self.x[1..].iter().map(|&size| dim::Dim::known(size as usize)).collect();
        let x = match self.x[0] {
            -1 => ports::samples("x", DataType::Float.into(), &rest),
            _ => ports::fixed(
                "x",
                DataType::Float,
                &self.x.iter().map(|&size| size as usize).collect::<Vec<_>>(),
            ),
        };
        let y = ValueInfoProto { name: Some("y".to_owned()), ..x.clone() };
        let y = ValueInfoProto { r#type: shapeless(y.r#type), ..y };
        let graph = GraphProto {
            name: Some("net".to_owned()),
            node: self.nodes.clone(),
            initializer,
            input: vec![x],
            output: vec![y],
            ..GraphProto::default()
        };
        ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(self.opset) }],
            graph: Some(graph),
            ..ModelProto::default()
        }
    }
}

/// Of the type alone, so that no test depends on what a file says of its output.
fn shapeless(of: Option<crate::proto::TypeProto>) -> Option<crate::proto::TypeProto> {
    use crate::proto::type_proto::{Tensor, Value};
    of.map(|of| crate::proto::TypeProto {
        value: Some(Value::TensorType(Tensor { elem_type: Some(DataType::Float.into()), shape: None })),
        ..of
    })
}

/// At commas outside of brackets.
fn split_inputs(text: &str) -> Vec<String> {
    let (mut depth, mut inputs) = (0, vec![String::new()]);
    for character in text.chars() {
        match character {
            '[' | '{' | '<' => depth += 1,
            ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => {
                inputs.push(String::new());
                continue;
            }
            _ => {}
        }
        inputs.last_mut().unwrap().push(character);
    }
    inputs.iter().map(|input| input.trim().to_owned()).collect()
}

fn attribute(text: &str) -> AttributeProto {
    let (name, value) = text.split_once('=').unwrap();
    if value.contains(',') {
        let values: Vec<i64> =
            value.split(',').filter(|value| !value.is_empty()).map(|value| value.parse().unwrap()).collect();
        return with_ints(name, &values);
    }
    if let Ok(value) = value.parse::<i64>() {
        return with_int(name, value);
    }
    if let Ok(value) = value.parse::<f32>() {
        return with_float(name, value);
    }
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::String.into()),
        s: Some(Bytes::from(value.to_owned())),
        ..AttributeProto::default()
    }
}

/// Values and shape.
pub type Array = (Vec<usize>, Vec<f32>);

/// A graph that rten has loaded.
pub struct Engine {
    model: rten::Model,
    outputs: Vec<String>,
}

impl Engine {
    pub fn load(model: &ModelProto) -> Self {
        let bytes = crate::write(model);
        crate::read(bytes.clone()).unwrap();
        let outputs =
            model.graph.as_ref().unwrap().output.iter().map(|output| name_of(output).to_owned()).collect();
        let model = ModelOptions::with_all_ops().load(bytes.into()).unwrap();
        Self { model, outputs }
    }

    /// Integers among the outputs become floats.
    pub fn run(&self, inputs: &[(String, Input)]) -> HashMap<String, Array> {
        let id = |name: &str| self.model.node_id(name).unwrap();
        let values = inputs.iter().map(|(name, input)| {
            let value = match input {
                Input::Floats((shape, values)) => Value::from_shape(shape, values.clone()).unwrap(),
                Input::Classes(values) => Value::from_shape(&[values.len()], values.clone()).unwrap(),
            };
            (id(name), value.into())
        });
        let outputs: Vec<_> = self.outputs.iter().map(|name| id(name)).collect();
        let results = self.model.run(values.collect(), &outputs, None).unwrap();
        let arrays = results.into_iter().map(|value| match value {
            Value::FloatTensor(tensor) => {
                let shape = tensor.shape().to_vec();
                (shape, tensor.into_data())
            }
            Value::Int32Tensor(tensor) => {
                (tensor.shape().to_vec(), tensor.into_data().into_iter().map(|value| value as f32).collect())
            }
            _ => panic!("neither floats nor integers"),
        });
        self.outputs.iter().cloned().zip(arrays).collect()
    }
}

#[derive(Debug, Clone)]
pub enum Input {
    Floats(Array),
    Classes(Vec<i32>),
}

/// Numbers without a pattern, from -1 to 1 (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub fn next(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Options that leave everything as it is by custom.
pub fn options(loss: Loss, optimizer: Optimizer) -> Options {
    Options { loss, optimizer, freeze: vec![], output: None }
}

/// The weights as a graph's inputs.
pub fn weight_inputs(weights: &[Weight]) -> Vec<(String, Input)> {
    let floats = |weight: &Weight| Input::Floats((weight.shape.clone(), weight.values.clone()));
    weights.iter().map(|weight| (weight.name.clone(), floats(weight))).collect()
}

/// One step: the weights after it, and the loss.
pub fn step(engine: &Engine, weights: &mut [Weight], x: &Array, y: &Input, lr: f32) -> f32 {
    let mut inputs = weight_inputs(weights);
    inputs.push(("x".to_owned(), Input::Floats(x.clone())));
    inputs.push(("y".to_owned(), y.clone()));
    inputs.push(("lr".to_owned(), Input::Floats((vec![1], vec![lr]))));
    let mut outputs = engine.run(&inputs);
    for weight in weights {
        let (shape, values) = outputs.remove(&format!("{}.next", weight.name)).unwrap();
        assert_eq!(shape, weight.shape, "{}", weight.name);
        weight.values = values;
    }
    outputs["loss"].1[0]
}
