//! Values in an order, and the request that they become by what a service says it takes. Called by `infer`.

use serde_json::{Value, json};

use super::port::{self, Port};
use crate::failure::Failure;

/// Values of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    pub shape: Vec<usize>,
    /// In order, the last dimension's beside each other.
    pub data: Vec<Value>,
}

/// The shortest number that reads back as `value`; what is not finite is null, which a service refuses by place.
pub fn short(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// A request for the inputs that `metadata` says the service takes: each from the array of its name, or from the only
/// array where it is the only input. Arrays of other names, labels say, stay out.
pub fn request(arrays: Vec<(String, Samples)>, metadata: &Value) -> Result<Value, Failure> {
    let ports = port::all(metadata);
    let inputs = if ports.is_empty() {
        // The plugin alone knows what it takes.
        arrays.into_iter().map(|(name, samples)| samples.input(&Port::unknown(&name))).collect()
    } else if let ([port], [(_, samples)]) = (ports.as_slice(), arrays.as_slice()) {
        samples.clone().input(port).map(|input| vec![input])
    } else {
        let find = |port: &Port| {
            let found = arrays.iter().find(|(name, _)| *name == port.name);
            let (_, samples) = found.ok_or_else(|| {
                let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
                Failure::new(format!(
                    "the service takes `{}`, and the file has {}",
                    port.name,
                    names.join(", ")
                ))
            })?;
            samples.clone().input(port)
        };
        ports.iter().map(find).collect::<Result<Vec<_>, _>>()
    }?;
    Ok(json!({ "inputs": inputs }))
}

impl Samples {
    /// A request for the one input that `metadata` says the service takes.
    pub fn request(self, metadata: &Value) -> Result<Value, Failure> {
        Ok(json!({"inputs": [self.input(&port::only(metadata)?)?]}))
    }

    /// These as that input.
    fn input(self, port: &Port) -> Result<Value, Failure> {
        let shape = match &port.shape {
            Some(declared) => self.shaped(port, declared)?,
            None => self.shape.clone(),
        };
        Ok(json!({"name": port.name, "shape": shape, "datatype": port.datatype, "data": self.data}))
    }

    /// The shape of the samples as the service declares it: the first dimension counts them.
    fn shaped(&self, port: &Port, declared: &[Option<usize>]) -> Result<Vec<usize>, Failure> {
        let fits = |shape: &[usize]| {
            shape.len() == declared.len()
                && shape.iter().zip(declared).all(|(have, want)| want.is_none_or(|want| want == *have))
        };
        let one: Vec<usize> = std::iter::once(1).chain(self.shape.iter().copied()).collect();
        if fits(&self.shape) {
            return Ok(self.shape.clone());
        }
        if fits(&one) {
            return Ok(one);
        }
        // Other dimensions that hold as many: 784 values as 28×28.
        let rest: Option<Vec<usize>> = declared.iter().skip(1).copied().collect();
        if let Some(rest) = rest.filter(|_| !declared.is_empty()) {
            let each: usize = rest.iter().product();
            let count = self.data.len().checked_div(each).filter(|count| count * each == self.data.len());
            let shape = count.map(|count| std::iter::once(count).chain(rest).collect::<Vec<_>>());
            if let Some(shape) = shape.filter(|shape| fits(shape) && shape[0] > 0) {
                return Ok(shape);
            }
        }
        Err(Failure::new(format!("the service takes {port}, and what was given has {:?}", self.shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(shape: &[usize]) -> Samples {
        Samples { shape: shape.to_vec(), data: vec![json!(1); shape.iter().product()] }
    }

    fn shaped(given: &[usize], shape: Value) -> Result<Value, Failure> {
        let metadata = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape}]});
        samples(given).request(&metadata).map(|request| request["inputs"][0]["shape"].clone())
    }

    #[test]
    fn samples_take_the_shape_that_the_service_declares() {
        assert_eq!(shaped(&[2, 2], json!([-1, 2])).unwrap(), json!([2, 2]));
        assert_eq!(shaped(&[2], json!([-1, 2])).unwrap(), json!([1, 2]), "one sample");
        assert_eq!(shaped(&[1, 4], json!([-1, 2, 2])).unwrap(), json!([1, 2, 2]));
        assert_eq!(shaped(&[2, 2], json!([-1, -1])).unwrap(), json!([2, 2]));
        let refused = shaped(&[1, 3], json!([-1, 2])).unwrap_err().to_string();
        assert_eq!(refused, "the service takes `x` of the shape [any, 2], and what was given has [1, 3]");
    }

    #[test]
    fn arrays_find_their_inputs_by_name_and_labels_stay_out() {
        let arrays = |names: &[&str]| names.iter().map(|name| (name.to_string(), samples(&[1, 2]))).collect();
        let names = |request: &Value| -> Vec<String> {
            let inputs = request["inputs"].as_array().unwrap();
            inputs.iter().map(|input| input["name"].as_str().unwrap().to_owned()).collect()
        };
        let one = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]});
        assert_eq!(names(&request(arrays(&["y", "x"]), &one).unwrap()), ["x"]);
        assert_eq!(names(&request(arrays(&["arr_0"]), &one).unwrap()), ["x"], "there is no other");
        let refused = request(arrays(&["y", "z"]), &one).unwrap_err().to_string();
        assert_eq!(refused, "the service takes `x`, and the file has y, z");
        assert_eq!(names(&request(arrays(&["a", "b"]), &json!({})).unwrap()), ["a", "b"]);
    }

    #[test]
    fn numbers_are_sent_as_short_as_they_read_back() {
        assert_eq!(short(0.1).to_string(), "0.1");
        assert_eq!(short(f32::NAN), Value::Null);
    }
}
