//! What a service says it takes: the `inputs` of its metadata. Called by `infer`.

use std::fmt;

use serde_json::Value;

use crate::failure::Failure;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    /// As the Open Inference Protocol names it.
    pub datatype: String,
    /// None: the service does not say. A dimension of None: any size.
    pub shape: Option<Vec<Option<usize>>>,
}

impl Port {
    /// An input of a service that does not say what it takes.
    pub fn unknown(name: &str) -> Self {
        Self { name: name.to_owned(), datatype: "FP32".to_owned(), shape: None }
    }

    fn read(input: &Value) -> Self {
        let size = |size: &Value| size.as_i64().and_then(|size| usize::try_from(size).ok());
        Self {
            name: input["name"].as_str().unwrap_or("x").to_owned(),
            datatype: input["datatype"].as_str().unwrap_or("FP32").to_owned(),
            shape: input["shape"].as_array().map(|sizes| sizes.iter().map(size).collect()),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |size: &Option<usize>| size.map_or("any".to_owned(), |size| size.to_string());
        let shape: Vec<String> = self.shape.iter().flatten().map(size).collect();
        write!(f, "`{}` of the shape [{}]", self.name, shape.join(", "))
    }
}

/// All inputs; none where the service does not say.
pub fn all(metadata: &Value) -> Vec<Port> {
    metadata["inputs"].as_array().into_iter().flatten().map(Port::read).collect()
}

/// The one input.
pub fn only(metadata: &Value) -> Result<Port, Failure> {
    match all(metadata).as_slice() {
        // A plugin that does not say what it takes is given `x`, as datasets have it.
        [] => Ok(Port::unknown("x")),
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|port| port.name.as_str()).collect();
            Err(Failure::new(format!("the service takes {} inputs: {}", several.len(), names.join(", ")))
                .hint("pass an .npz file that has an array of each name, or a .json file with a request"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_one_input_is_found_and_several_are_named() {
        assert_eq!(only(&json!({})).unwrap(), Port::unknown("x"));
        let several = json!({"inputs": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(only(&several).unwrap_err().to_string(), "the service takes 2 inputs: a, b");
        let one = json!({"inputs": [{"name": "a", "datatype": "UINT8", "shape": [-1, 3]}]});
        assert_eq!(only(&one).unwrap().to_string(), "`a` of the shape [any, 3]");
    }
}
