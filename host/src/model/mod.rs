//! Models: named graphs and weights.
//!
//! Weights come from a safetensors file in the store or off the federation's wire, go to workers as handles,
//! and leave as safetensors again; their bytes are not copied on any of these ways.
//! [`worker`](crate::worker) loads models, [`runtime`](crate::runtime) hands them to guests,
//! [`federation`](crate::federation) sends and receives them.

mod bind;
pub(crate) mod mapped;
mod safetensors;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use self::bind::{Binding, bind};
use crate::nn::{Buffer, Choice, Graph, Tensor, describe};

/// Why weights were refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

/// Named tensors, sorted by name; clone copies the handle.
#[derive(Clone)]
pub struct Weights(Arc<Inner>);

struct Inner {
    /// Sorted by name, each name once.
    tensors: Vec<(String, Tensor)>,
    /// What a safetensors file of them begins with.
    header: Bytes,
    /// Indices of `tensors` in the order of the file.
    order: Vec<usize>,
    byte_len: u64,
}

impl Weights {
    /// Names must be unique.
    pub fn new(mut tensors: Vec<(String, Tensor)>) -> Result<Self, ModelError> {
        tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
        if let Some([(name, _), _]) = tensors.array_windows().find(|[left, right]| left.0 == right.0) {
            return Err(ModelError(format!("two weights are called \"{name}\"")));
        }
        let byte_len = tensors
            .iter()
            .try_fold(0u64, |sum, (_, tensor)| sum.checked_add(tensor.byte_len() as u64))
            .ok_or_else(|| ModelError("the weights are larger than can be counted".to_owned()))?;
        let order = safetensors::order(&tensors);
        let header = safetensors::header(&tensors, &order)?;
        Ok(Self(Arc::new(Inner { tensors, header, order, byte_len })))
    }

    /// Map a safetensors file.
    pub fn map(dir: &cap_std::fs::Dir, path: &str) -> Result<Self, ModelError> {
        safetensors::map(dir, path).map_err(|ModelError(message)| ModelError(format!("{path}: {message}")))
    }

    /// Safetensors in memory; tensors are views of the buffer.
    pub fn from_buffer(safetensors: Buffer) -> Result<Self, ModelError> {
        safetensors::from_buffer(safetensors)
    }

    /// As a safetensors file, in parts that share the tensors' memory. Equal weights give equal bytes.
    pub fn to_safetensors(&self) -> Vec<Bytes> {
        let tensors = self.0.order.iter().map(|&index| &self.0.tensors[index].1);
        let parts = tensors.filter(|tensor| !tensor.is_empty()).map(|tensor| {
            struct Owner(Tensor);
            impl AsRef<[u8]> for Owner {
                fn as_ref(&self) -> &[u8] {
                    self.0.bytes()
                }
            }
            Bytes::from_owner(Owner(tensor.clone()))
        });
        std::iter::once(self.0.header.clone()).chain(parts).collect()
    }

    /// Sum of the parts' lengths.
    pub fn safetensors_len(&self) -> u64 {
        self.0.header.len() as u64 + self.0.byte_len
    }

    /// By name.
    pub fn tensors(&self) -> &[(String, Tensor)] {
        &self.0.tensors
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        let tensors = self.tensors();
        let index = tensors.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        Some(&tensors[index].1)
    }

    /// Of all tensors.
    pub fn byte_len(&self) -> u64 {
        self.0.byte_len
    }

    /// Elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors().iter().map(|(_, tensor)| tensor.len() as u64).sum()
    }

    /// The tensors, without a copy of the list where this is the only handle to the weights; their holder may
    /// then write over them.
    pub fn into_tensors(self) -> Vec<(String, Tensor)> {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.tensors,
            Err(shared) => shared.tensors.clone(),
        }
    }

    /// Err names the first tensor that differs in name, dtype or shape.
    pub fn check_layout(&self, other: &Weights) -> Result<(), ModelError> {
        let (mut ours, mut theirs) = (self.tensors().iter(), other.tensors().iter());
        let difference = loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return Ok(()),
                (Some((name, _)), None) => break format!("\"{name}\" is missing"),
                (None, Some((name, _))) => break format!("\"{name}\" does not belong to the model"),
                (Some((name, _)), Some((other, _))) if name < other => {
                    break format!("\"{name}\" is missing");
                }
                (Some((name, _)), Some((other, _))) if name > other => {
                    break format!("\"{other}\" does not belong to the model");
                }
                (Some((name, ours)), Some((_, theirs))) => {
                    if ours.dtype() != theirs.dtype() || ours.shape() != theirs.shape() {
                        let describe = |tensor: &Tensor| describe(tensor.dtype(), tensor.shape());
                        break format!("\"{name}\": expected {}, got {}", describe(ours), describe(theirs));
                    }
                }
            }
        };
        Err(ModelError(format!("weight {difference}")))
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.tensors().iter().map(|(name, tensor)| (name, tensor))).finish()
    }
}

/// A job's model, loaded.
#[derive(Default)]
pub struct Model {
    /// By name.
    pub graphs: BTreeMap<String, Arc<dyn Graph>>,
    /// Which engine computes each of them, by the same names.
    pub choices: BTreeMap<String, Arc<Choice>>,
    /// Initial weights.
    pub weights: Option<Weights>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("graphs", &self.graphs.keys().collect::<Vec<_>>())
            .field("weights", &self.weights)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(tensors: &[(&str, &[usize])]) -> Weights {
        let zeros = |shape: &[usize]| Tensor::from_vec(shape, vec![0f32; shape.iter().product()]).unwrap();
        Weights::new(tensors.iter().map(|(name, shape)| ((*name).to_owned(), zeros(shape))).collect())
            .unwrap()
    }

    #[test]
    fn weights_are_sorted_and_found_by_name() {
        let weights = weights(&[("w1", &[3]), ("b0", &[2]), ("w0", &[2, 3])]);
        let names: Vec<_> = weights.tensors().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b0", "w0", "w1"]);
        assert_eq!(weights.get("w0").unwrap().shape(), [2, 3]);
        assert!(weights.get("w2").is_none());
        assert_eq!((weights.byte_len(), weights.parameters()), (44, 11));
    }

    #[test]
    fn a_name_belongs_to_one_tensor() {
        let tensor = Tensor::from_vec(&[1], vec![0f32]).unwrap();
        let twice = vec![
            ("w".to_owned(), tensor.clone()),
            ("b".to_owned(), tensor.clone()),
            ("w".to_owned(), tensor),
        ];
        assert_eq!(Weights::new(twice).unwrap_err().0, "two weights are called \"w\"");
    }

    #[test]
    fn the_first_difference_is_named() {
        let expected = weights(&[("b", &[2]), ("w", &[2, 3])]);
        type Layout<'a> = &'a [(&'a str, &'a [usize])];
        let cases: [(Layout, &str); 5] = [
            (&[("b", &[2]), ("w", &[3, 2])], "weight \"w\": expected f32[2, 3], got f32[3, 2]"),
            (&[("b", &[2])], "weight \"w\" is missing"),
            (&[("w", &[2, 3])], "weight \"b\" is missing"),
            (&[("a", &[1]), ("b", &[2]), ("w", &[2, 3])], "weight \"a\" does not belong to the model"),
            (&[("b", &[2]), ("w", &[2, 3]), ("z", &[1])], "weight \"z\" does not belong to the model"),
        ];
        for (other, message) in cases {
            assert_eq!(expected.check_layout(&weights(other)).unwrap_err().0, message);
        }
        assert!(expected.check_layout(&expected.clone()).is_ok());
    }
}
