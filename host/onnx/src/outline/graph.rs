//! From the file's graph to the outline's: names become slots, and everything is checked on the way.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::tensor::Constant;
use super::{Attribute, Domains, Graph, Input, Node, Slot, canonical};
use crate::error::OnnxError;
use crate::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use crate::signature::{ElementType, MAX_RANK};

pub(super) struct Builder<'a> {
    domains: &'a Domains,
    /// Names in scope, the outermost graph's first.
    scopes: Vec<HashMap<String, Slot>>,
    /// For each graph inside a node that is being built: the slots that are its own begin here.
    borders: Vec<Slot>,
    /// Slots from outside, for each such graph.
    captures: Vec<Vec<Slot>>,
    pub slots: usize,
    pub constant_bytes: u64,
}

impl<'a> Builder<'a> {
    pub fn new(domains: &'a Domains) -> Self {
        Self { domains, scopes: vec![], borders: vec![], captures: vec![], slots: 0, constant_bytes: 0 }
    }

    pub fn graph(&mut self, graph: &GraphProto) -> Result<Graph, OnnxError> {
        if !graph.sparse_initializer.is_empty() {
            return Err(OnnxError::unsupported(
                "sparse initializers are not supported: write them out dense",
            ));
        }
        self.scopes.push(HashMap::new());
        let mut built = Graph::default();
        for tensor in &graph.initializer {
            let constant = self.constant(tensor, "initializer")?;
            let slot = self.define(name_of(tensor.name.as_deref(), "an initializer")?, "an initializer")?;
            built.constants.push((slot, constant));
        }
        let mut names = HashSet::new();
        for input in &graph.input {
            let name = name_of(input.name.as_deref(), "an input")?;
            if !names.insert(name) {
                return Err(OnnxError::malformed(format!("two inputs are called \"{name:.100}\"")));
            }
            // An initializer of the same name is the input's value.
            if self.scopes.last().is_some_and(|scope| scope.contains_key(name)) {
                continue;
            }
            let slot = self.define(name, "an input")?;
            let (element, shape) = declared(input)?;
            built.inputs.push(Input { name: name.to_owned(), slot, element, shape });
        }
        for node in &graph.node {
            let node = self.node(node, graph)?;
            built.nodes.push(node);
        }
        for output in &graph.output {
            let name = name_of(output.name.as_deref(), "an output")?;
            let slot = self.find(name).ok_or_else(|| {
                OnnxError::malformed(format!("nobody makes the graph's output \"{name:.100}\""))
            })?;
            declared(output)?;
            built.outputs.push(slot);
        }
        for value in &graph.value_info {
            declared(value)?;
        }
        self.scopes.pop();
        drop_unused(&mut built);
        Ok(built)
    }

    fn node(&mut self, node: &NodeProto, graph: &GraphProto) -> Result<Node, OnnxError> {
        let operator = node.op_type.clone().unwrap_or_default();
        let domain = canonical(node.domain.as_deref().unwrap_or_default()).to_owned();
        let label = label(node);
        if operator.is_empty() {
            return Err(OnnxError::malformed(format!("{label} has no operator")));
        }
        if self.domains.version(&domain).is_none() {
            let set = if domain.is_empty() { "ONNX's own" } else { &domain };
            return Err(OnnxError::malformed(format!(
                "{label} uses an operator of {set:.100}, of which the file does not say the version"
            )));
        }
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            let slot = match name.as_str() {
                "" => None,
                name => Some(self.find(name).ok_or_else(|| unmade(name, node, graph))?),
            };
            inputs.push(slot);
        }
        let (attributes, captures) = self.attributes(node, &label)?;
        let mut outputs = Vec::with_capacity(node.output.len());
        for name in &node.output {
            let slot = match name.as_str() {
                "" => None,
                name => Some(self.define(name, &label)?),
            };
            outputs.push(slot);
        }
        Ok(Node { operator, domain, label, inputs, outputs, attributes, captures })
    }

    /// The attributes, and what the graphs among them capture.
    fn attributes(
        &mut self,
        node: &NodeProto,
        label: &str,
    ) -> Result<(BTreeMap<String, Attribute>, Vec<Slot>), OnnxError> {
        self.borders.push(self.slots);
        self.captures.push(Vec::new());
        let mut attributes = BTreeMap::new();
        for attribute in &node.attribute {
            let name = attribute.name.clone().unwrap_or_default();
            let value = self.attribute(attribute, label)?;
            if attributes.insert(name, value).is_some() {
                let name = attribute.name.as_deref().unwrap_or_default();
                return Err(OnnxError::malformed(format!("{label} has the attribute \"{name:.100}\" twice")));
            }
        }
        self.borders.pop();
        let mut captures = self.captures.pop().unwrap_or_default();
        captures.sort_unstable();
        captures.dedup();
        Ok((attributes, captures))
    }

    fn attribute(&mut self, attribute: &AttributeProto, label: &str) -> Result<Attribute, OnnxError> {
        if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
            let message = format!("{label} has a sparse tensor, which is not supported: write it out dense");
            return Err(OnnxError::unsupported(message));
        }
        // An engine takes the form that its operator wants, which need not be the one that is looked at here.
        if forms(attribute) > 1 {
            let name = attribute.name.as_deref().unwrap_or_default();
            let message = format!("{label} has the attribute \"{name:.100}\" with more than one value");
            return Err(OnnxError::malformed(message));
        }
        for tensor in &attribute.tensors {
            self.constant(tensor, &format!("a tensor of {label}"))?;
        }
        for graph in &attribute.graphs {
            self.graph(graph)?;
        }
        Ok(if let Some(graph) = &attribute.g {
            Attribute::Graph(self.graph(graph)?)
        } else if let Some(tensor) = &attribute.t {
            Attribute::Tensor(self.constant(tensor, &format!("a tensor of {label}"))?)
        } else if let Some(value) = attribute.i {
            Attribute::Int(value)
        } else if let Some(value) = attribute.f {
            Attribute::Float(value)
        } else if let Some(value) = &attribute.s {
            Attribute::Text(String::from_utf8_lossy(value).into_owned())
        } else if !attribute.ints.is_empty() {
            Attribute::Ints(attribute.ints.clone())
        } else if !attribute.floats.is_empty() {
            Attribute::Floats(attribute.floats.clone())
        } else {
            // Also an empty list of whatever.
            Attribute::Other
        })
    }

    /// Functions are not outlined: only what an engine would read of them is checked.
    pub fn check_function(&mut self, function: &FunctionProto) -> Result<(), OnnxError> {
        let mut attributes: Vec<&AttributeProto> = function.attribute_proto.iter().collect();
        let mut nodes: Vec<&NodeProto> = function.node.iter().collect();
        while let Some(node) = nodes.pop() {
            attributes.extend(&node.attribute);
            while let Some(attribute) = attributes.pop() {
                let graphs = || attribute.g.iter().chain(&attribute.graphs);
                let sparse = attribute.sparse_tensor.is_some()
                    || !attribute.sparse_tensors.is_empty()
                    || graphs().any(|graph| !graph.sparse_initializer.is_empty());
                if sparse {
                    let message =
                        "a function has a sparse tensor, which is not supported: write it out dense";
                    return Err(OnnxError::unsupported(message));
                }
                for tensor in attribute.t.iter().chain(&attribute.tensors) {
                    self.constant(tensor, "a function's tensor")?;
                }
                for graph in graphs() {
                    for tensor in &graph.initializer {
                        self.constant(tensor, "a function's initializer")?;
                    }
                    nodes.extend(&graph.node);
                }
            }
        }
        Ok(())
    }

    fn constant(&mut self, tensor: &TensorProto, what: &str) -> Result<Constant, OnnxError> {
        let constant = Constant::of(tensor, what)?;
        self.constant_bytes = self.constant_bytes.saturating_add(constant.bytes);
        Ok(constant)
    }

    /// Inner graphs may not make what an outer one has, as in ONNX's own checker.
    fn define(&mut self, name: &str, who: &str) -> Result<Slot, OnnxError> {
        if self.scopes.iter().any(|scope| scope.contains_key(name)) {
            return Err(OnnxError::malformed(format!(
                "{who} is or makes \"{name:.100}\", which there is already: a value is made once"
            )));
        }
        let slot = self.slots;
        self.slots += 1;
        self.scopes.last_mut().expect("a graph is being built").insert(name.to_owned(), slot);
        Ok(slot)
    }

    fn find(&mut self, name: &str) -> Option<Slot> {
        let slot = *self.scopes.iter().rev().find_map(|scope| scope.get(name))?;
        for (border, captures) in self.borders.iter().zip(&mut self.captures) {
            if slot < *border {
                captures.push(slot);
            }
        }
        Some(slot)
    }
}

/// No engine computes what leads to no output.
fn drop_unused(graph: &mut Graph) {
    let mut needed: HashSet<Slot> = graph.outputs.iter().copied().collect();
    let mut nodes = std::mem::take(&mut graph.nodes);
    nodes.reverse();
    nodes.retain(|node| {
        let used = node.outputs.iter().flatten().any(|slot| needed.contains(slot));
        if used {
            needed.extend(node.inputs.iter().flatten().chain(&node.captures));
        }
        used
    });
    nodes.reverse();
    graph.nodes = nodes;
}

fn name_of<'a>(name: Option<&'a str>, what: &str) -> Result<&'a str, OnnxError> {
    let name = name.filter(|name| !name.is_empty());
    name.ok_or_else(|| OnnxError::malformed(format!("{what} of a graph has no name")))
}

/// `node "conv1" (Conv)`.
fn label(node: &NodeProto) -> String {
    let operator = node.op_type.as_deref().unwrap_or_default();
    let output = node.output.iter().find(|name| !name.is_empty());
    match (node.name.as_deref().filter(|name| !name.is_empty()), output) {
        (Some(name), _) => format!("node \"{name:.100}\" ({operator:.100})"),
        (None, Some(output)) => format!("the node that makes \"{output:.100}\" ({operator:.100})"),
        (None, None) => format!("a node without a name ({operator:.100})"),
    }
}

/// Why `name` is not there when `node` needs it.
fn unmade(name: &str, node: &NodeProto, graph: &GraphProto) -> OnnxError {
    let label = label(node);
    let makers: HashMap<&str, &NodeProto> = graph
        .node
        .iter()
        .flat_map(|maker| maker.output.iter().map(move |made| (made.as_str(), maker)))
        .collect();
    let Some(maker) = makers.get(name) else {
        return OnnxError::malformed(format!(
            "{label} takes \"{name:.100}\", which no node makes and which is neither an input nor an initializer"
        ));
    };
    // Whether what makes it waits, in the end, for this very node.
    let (mut seen, mut waiting) = (HashSet::from([name]), vec![*maker]);
    while let Some(next) = waiting.pop() {
        if std::ptr::eq(next, node) {
            return OnnxError::malformed(format!(
                "the graph has a cycle: {label} takes \"{name:.100}\", which depends on what it makes"
            ));
        }
        for input in &next.input {
            if let Some(maker) = makers.get(input.as_str())
                && seen.insert(input)
            {
                waiting.push(maker);
            }
        }
    }
    OnnxError::malformed(format!(
        "{label} takes \"{name:.100}\", which a later node makes: ONNX demands nodes in an order in which they can run"
    ))
}

type Declared = (Option<ElementType>, Option<Vec<Option<usize>>>);

/// What the file says of a value: its type and shape; None of a dimension that has a name, nothing, or a
/// negative size, as some exporters write for any size.
pub(super) fn declared(info: &ValueInfoProto) -> Result<Declared, OnnxError> {
    use crate::proto::tensor_shape_proto::dimension;
    use crate::proto::type_proto;

    let name = info.name.as_deref().unwrap_or_default();
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_ref().and_then(|of| of.value.as_ref())
    else {
        return Ok((None, None));
    };
    let element = tensor.elem_type.and_then(|number| ElementType::from_number(u64::try_from(number).ok()?));
    let Some(shape) = &tensor.shape else { return Ok((element, None)) };
    if shape.dim.len() > MAX_RANK {
        return Err(OnnxError::too_large(format!("\"{name:.100}\" has more than {MAX_RANK} dimensions")));
    }
    let dims = shape.dim.iter().map(|dim| match dim.value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(size).ok(),
        _ => None,
    });
    Ok((element, Some(dims.collect())))
}

/// How many of an attribute's forms are given; one is right.
fn forms(attribute: &AttributeProto) -> usize {
    let given = [
        attribute.i.is_some(),
        attribute.f.is_some(),
        attribute.s.is_some(),
        attribute.t.is_some(),
        attribute.g.is_some(),
        attribute.tp.is_some(),
        !attribute.ints.is_empty(),
        !attribute.floats.is_empty(),
        !attribute.strings.is_empty(),
        !attribute.tensors.is_empty(),
        !attribute.graphs.is_empty(),
        !attribute.type_protos.is_empty(),
    ];
    given.into_iter().filter(|is_given| *is_given).count()
}
