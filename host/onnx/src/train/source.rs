//! The inference graph as the rest works on it: checked, in one dialect, with its constants in one place.
//!
//! `ModelProto` ─▶ [`Source`]: opset 13 or later, nodes in an order in which they can be computed, `Constant` nodes
//! among the initializers, normalisation in its inference form, dropout marked, scikit-learn's linear models spelt out.

use std::collections::{HashMap, HashSet};

use crate::error::OnnxError;
use crate::proto::tensor_proto::DataType;
use crate::proto::{ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::classical;
use super::error::{Place, TrainError};
use super::node::{self, input, op};
use super::ports;
use super::tensor;
use super::upgrade;

/// The oldest and the newest opset that is read.
const OPSETS: std::ops::RangeInclusive<i64> = 11..=23;
/// The opset that older files are brought to.
const DIALECT: i64 = 13;

/// A node and where it stood.
#[derive(Debug, Clone)]
pub struct Node {
    /// The node.
    pub proto: NodeProto,
    /// Where it stood in the file.
    pub place: Place,
}

impl Node {
    /// It cannot be worked on.
    pub fn refuse(&self, why: impl Into<String>) -> TrainError {
        TrainError::Node { place: self.place.clone(), why: why.into() }
    }
}

/// A value that the file fixes.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its name and values.
    pub tensor: TensorProto,
    /// Whether a `Constant` node gave it, not an initializer.
    pub from_node: bool,
}

/// The inference graph.
#[derive(Debug, Clone)]
pub struct Source {
    /// In an order in which they can be computed.
    pub nodes: Vec<Node>,
    /// In the file's order.
    pub leaves: Vec<Leaf>,
    leaf_at: HashMap<String, usize>,
    /// Without those that an initializer fixes.
    pub inputs: Vec<ValueInfoProto>,
    /// In the file's order.
    pub outputs: Vec<ValueInfoProto>,
    /// What the file says of values inside.
    pub declared: Vec<ValueInfoProto>,
    /// The dialect's version.
    pub opset: i64,
    /// The file's own version.
    pub file_opset: i64,
    /// The file's other fields, without a graph.
    pub header: ModelProto,
    /// Ratios of the dropouts, by the value that each gives.
    pub dropouts: HashMap<String, f32>,
}

impl Source {
    /// Reads the model.
    pub fn read(mut header: ModelProto) -> Result<Self, TrainError> {
        let graph = header.graph.take().ok_or_else(|| OnnxError::malformed("the file has no ONNX graph"))?;
        if !header.functions.is_empty() {
            return Err(OnnxError::unsupported(
                "the model has functions of its own: inline them first (onnx.inliner.inline_local_functions)",
            )
            .into());
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(
                OnnxError::unsupported("the model has sparse initializers, which are not trained").into()
            );
        }
        let opset = standard_opset(&header)?;
        let leaves = graph.initializer.into_iter().map(|tensor| Leaf { tensor, from_node: false }).collect();
        let mut source = Self {
            nodes: Vec::with_capacity(graph.node.len()),
            leaves,
            leaf_at: HashMap::new(),
            inputs: graph.input,
            outputs: graph.output,
            declared: graph.value_info,
            opset: opset.max(DIALECT),
            file_opset: opset,
            header,
            dropouts: HashMap::new(),
        };
        source.index_leaves()?;
        source.inputs.retain(|input| !source.leaf_at.contains_key(name_of(input)));
        for (index, proto) in graph.node.into_iter().enumerate() {
            let name = proto.name.clone().unwrap_or_default();
            let node = Node { place: Place { op: op(&proto).to_owned(), name, index }, proto };
            match classical::form(&node, &source.nodes, &source.leaves) {
                Some(form) => {
                    source.nodes.extend(form.nodes);
                    source.leaves.extend(form.leaves);
                    source.a_tensor(&node.proto);
                }
                None => source.take(node, opset)?,
            }
        }
        source.index_leaves()?;
        source.check_order()?;
        Ok(source)
    }

    /// The leaf of that name.
    pub fn leaf(&self, name: &str) -> Option<&Leaf> {
        self.leaf_at.get(name).map(|&at| &self.leaves[at])
    }

    /// The names of all values.
    pub fn names(&self) -> HashSet<String> {
        let mut names: HashSet<String> = self.leaf_at.keys().cloned().collect();
        names.extend(self.inputs.iter().map(|input| name_of(input).to_owned()));
        for node in &self.nodes {
            names.extend(node.proto.output.iter().cloned());
            names.extend(node::reads(&node.proto).into_iter().map(str::to_owned));
        }
        names
    }

    /// Calls values by other names, everywhere.
    pub fn rename(&mut self, names: &HashMap<String, String>) {
        let new = |name: &str| names.get(name).cloned();
        for node in &mut self.nodes {
            node::rename(&mut node.proto, &new);
        }
        let infos = self.inputs.iter_mut().chain(&mut self.outputs).chain(&mut self.declared);
        let texts =
            infos.map(|info| &mut info.name).chain(self.leaves.iter_mut().map(|leaf| &mut leaf.tensor.name));
        for text in texts.flatten() {
            if let Some(name) = new(text) {
                *text = name;
            }
        }
        self.leaf_at = self.leaf_at.drain().map(|(name, at)| (new(&name).unwrap_or(name), at)).collect();
        self.dropouts =
            self.dropouts.drain().map(|(name, ratio)| (new(&name).unwrap_or(name), ratio)).collect();
    }

    fn take(&mut self, mut node: Node, opset: i64) -> Result<(), TrainError> {
        if node::is_standard(&node.proto) {
            if op(&node.proto) == "Constant" {
                if let Some(tensor) = upgrade::constant(&node.proto) {
                    self.leaves.push(Leaf { tensor, from_node: true });
                    return Ok(());
                }
                return Err(node.refuse("a constant that is neither a tensor nor numbers"));
            }
            if opset < DIALECT {
                for leaf in upgrade::to_13(&mut node)? {
                    self.leaves.push(Leaf { tensor: leaf, from_node: true });
                }
            }
            match op(&node.proto) {
                "BatchNormalization" => upgrade::infer_form(&mut node.proto),
                "Dropout" => self.take_dropout(&mut node)?,
                _ => {}
            }
        }
        self.nodes.push(node);
        Ok(())
    }

    /// What `ZipMap` gave was a list of maps; its plain form gives a tensor.
    fn a_tensor(&mut self, former: &NodeProto) {
        let is_of = |info: &&mut ValueInfoProto| {
            op(former) == "ZipMap" && former.output.iter().any(|output| output == name_of(info))
        };
        for output in self.outputs.iter_mut().filter(is_of) {
            *output = ports::any(name_of(output), DataType::Float);
        }
    }

    /// Dropout does nothing where nothing is trained, and engines without random numbers do not know it.
    fn take_dropout(&mut self, node: &mut Node) -> Result<(), TrainError> {
        let ratio = match (node::float(&node.proto, "ratio"), input(&node.proto, 1)) {
            (Some(ratio), _) => ratio,
            (None, None) => 0.5,
            (None, Some(name)) => {
                let tensor = self.leaves.iter().rev().find(|leaf| leaf.tensor.name.as_deref() == Some(name));
                let values = tensor.and_then(|leaf| tensor::numbers(&leaf.tensor, 1));
                values.and_then(|values| values.first().copied()).ok_or_else(|| {
                    node.refuse("its ratio is not a constant of the file, so no training form of it is known")
                })? as f32
            }
        };
        if !(0.0..1.0).contains(&ratio) {
            return Err(node.refuse(format!("its ratio is {ratio}, but must be from 0 to below 1")));
        }
        node.proto.op_type = Some("Identity".to_owned());
        node.proto.attribute.clear();
        node.proto.input.truncate(1);
        node.proto.output.truncate(1);
        if let Some(output) = node::output(&node.proto, 0)
            && ratio > 0.0
        {
            self.dropouts.insert(output.to_owned(), ratio);
        }
        Ok(())
    }

    fn index_leaves(&mut self) -> Result<(), TrainError> {
        self.leaf_at.clear();
        for (at, leaf) in self.leaves.iter().enumerate() {
            let name = leaf.tensor.name.clone().unwrap_or_default();
            if self.leaf_at.insert(name.clone(), at).is_some() {
                return Err(OnnxError::malformed(format!("two initializers are called \"{name}\"")).into());
            }
        }
        Ok(())
    }

    /// ONNX demands that a value is given once and before it is read; a cycle breaks that.
    fn check_order(&self) -> Result<(), TrainError> {
        let mut given: HashSet<&str> = self.leaf_at.keys().map(String::as_str).collect();
        given.extend(self.inputs.iter().map(name_of));
        for node in &self.nodes {
            if let Some(missing) =
                node.proto.input.iter().find(|name| !name.is_empty() && !given.contains(name.as_str()))
            {
                return Err(node.refuse(format!("it reads \"{missing}\", which nothing before it gives")));
            }
            for output in node.proto.output.iter().filter(|name| !name.is_empty()) {
                if !given.insert(output) {
                    return Err(node.refuse(format!("it gives \"{output}\", which was given before")));
                }
            }
        }
        match self.outputs.iter().map(name_of).find(|name| !given.contains(name)) {
            Some(missing) => {
                Err(OnnxError::malformed(format!("nothing gives the output \"{missing}\"")).into())
            }
            None => Ok(()),
        }
    }
}

/// The name of an input, an output or a value.
pub fn name_of(info: &ValueInfoProto) -> &str {
    info.name.as_deref().unwrap_or_default()
}

fn standard_opset(header: &ModelProto) -> Result<i64, TrainError> {
    let standard =
        header.opset_import.iter().find(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")));
    let version = standard.and_then(|set| set.version).unwrap_or(1);
    if OPSETS.contains(&version) {
        return Ok(version);
    }
    let message = format!(
        "the model is of opset {version}; training graphs are made of opsets {} to {}: export it with one of those",
        OPSETS.start(),
        OPSETS.end()
    );
    Err(OnnxError::unsupported(message).into())
}
