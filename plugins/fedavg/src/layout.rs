//! What weights look like: names, element types and shapes. Updates must look like the weights they started from.

use sedge_sdk::NamedTensor;

/// What weights look like, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Vec<Entry>);

/// What one weight looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    dtype: String,
    shape: Vec<u32>,
}

impl Layout {
    /// The layout of tensors sorted by name, as `weights.tensors` gives them.
    pub fn of(tensors: &[NamedTensor]) -> Self {
        Self::new(
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.ty().to_string(), tensor.dimensions())),
        )
    }

    fn new(entries: impl IntoIterator<Item = (String, String, Vec<u32>)>) -> Self {
        let mut entries: Vec<_> =
            entries.into_iter().map(|(name, dtype, shape)| Entry { name, dtype, shape }).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Self(entries)
    }

    /// The first way in which `other` differs, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            match (ours.peek(), theirs.peek()) {
                (None, None) => return None,
                (Some(our), None) => return Some(format!("weight {} is missing", our.name)),
                (None, Some(their)) => return Some(format!("weight {} is unknown", their.name)),
                (Some(our), Some(their)) if our.name < their.name => {
                    return Some(format!("weight {} is missing", our.name));
                }
                (Some(our), Some(their)) if our.name > their.name => {
                    return Some(format!("weight {} is unknown", their.name));
                }
                (Some(our), Some(their)) if our != their => {
                    return Some(format!(
                        "weight {} is {}{:?}, not {}{:?}",
                        our.name, their.dtype, their.shape, our.dtype, our.shape
                    ));
                }
                _ => {
                    ours.next();
                    theirs.next();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(entries: &[(&str, &str, &[u32])]) -> Layout {
        Layout::new(
            entries.iter().map(|(name, dtype, shape)| ((*name).into(), (*dtype).into(), shape.to_vec())),
        )
    }

    #[test]
    fn equal_layouts_do_not_differ_whatever_their_order() {
        let one = layout(&[("b0", "f32", &[64]), ("w0", "f32", &[64, 64])]);
        let two = layout(&[("w0", "f32", &[64, 64]), ("b0", "f32", &[64])]);
        assert_eq!(one.difference(&two), None);
    }

    #[test]
    fn a_difference_names_the_weight_and_both_shapes() {
        let wanted = layout(&[("b0", "f32", &[64]), ("w0", "f32", &[64, 64])]);
        let difference = |entries: &[(&str, &str, &[u32])]| wanted.difference(&layout(entries)).unwrap();
        assert_eq!(difference(&[("b0", "f32", &[64])]), "weight w0 is missing");
        assert_eq!(difference(&[("w0", "f32", &[64, 64])]), "weight b0 is missing");
        assert_eq!(
            difference(&[("b0", "f32", &[64]), ("b1", "f32", &[1]), ("w0", "f32", &[64, 64])]),
            "weight b1 is unknown"
        );
        assert_eq!(
            difference(&[("b0", "f32", &[64]), ("w0", "f32", &[64, 32])]),
            "weight w0 is f32[64, 32], not f32[64, 64]"
        );
    }

    #[test]
    fn a_name_twice_is_a_difference() {
        let wanted = layout(&[("b0", "f32", &[64])]);
        let twice = layout(&[("b0", "f32", &[64]), ("b0", "f32", &[64])]);
        assert_eq!(wanted.difference(&twice).unwrap(), "weight b0 is unknown");
    }
}
