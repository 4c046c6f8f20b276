//! Samples of a request: the rows of its tensors, told apart, taken out, put together.
//!
//! The first dimension of every tensor counts samples. Each function copies the rows that it moves, once.

use super::endpoint::{ServeError, ServeErrorKind};
use crate::nn::{DType, Tensor, describe};
use crate::runtime::NamedTensors;

/// How many samples the tensors are of.
///
/// # Errors
/// Where they do not agree, or one has no first dimension.
pub(super) fn count(tensors: &[(String, Tensor)]) -> Result<usize, ServeError> {
    let mut counted: Option<(&str, usize)> = None;
    for (name, tensor) in tensors {
        let Some(&samples) = tensor.shape().first() else {
            let text = format!("tensor `{name:.100}` has no dimensions: the first one counts samples");
            return Err(ServeError::new(ServeErrorKind::InvalidArgument, text));
        };
        match counted {
            Some((first, other)) if other != samples => {
                let text = format!(
                    "`{first:.100}` is of {other} samples, `{name:.100}` of {samples}: all must agree"
                );
                return Err(ServeError::new(ServeErrorKind::InvalidArgument, text));
            }
            _ => counted = Some((name, samples)),
        }
    }
    Ok(counted.map_or(0, |(_, samples)| samples))
}

/// Whether requests can be computed as one: the same names, types and sizes of a sample, in the same order.
pub(super) fn alike(one: &[(String, Tensor)], other: &[(String, Tensor)]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((a, x), (b, y))| a == b && layout(x) == layout(y) && layout(x).is_some())
}

/// Type and size of one sample.
fn layout(tensor: &Tensor) -> Option<(DType, &[usize])> {
    tensor.shape().split_first().map(|(_, sample)| (tensor.dtype(), sample))
}

/// Tensors that are [`alike`], one after the other.
pub(super) fn join(parts: &[NamedTensors]) -> Result<NamedTensors, ServeError> {
    let Some((first, rest)) = parts.split_first() else { return Ok(Vec::new()) };
    let joined = first.iter().enumerate().map(|(at, (name, tensor))| {
        let tensors = || std::iter::once(tensor).chain(rest.iter().map(|part| &part[at].1));
        let mut shape = tensor.shape().to_vec();
        shape[0] = tensors().map(|tensor| tensor.shape()[0]).sum();
        let mut bytes = Vec::with_capacity(tensors().map(Tensor::byte_len).sum());
        tensors().for_each(|tensor| bytes.extend_from_slice(tensor.bytes()));
        Ok((name.clone(), whole(tensor.dtype(), &shape, bytes)?))
    });
    joined.collect()
}

/// The samples `rows` of each tensor, in that order.
pub(super) fn select(tensors: &[(String, Tensor)], rows: &[usize]) -> Result<NamedTensors, ServeError> {
    let selected = tensors.iter().map(|(name, tensor)| {
        let samples = tensor.shape().first().copied().unwrap_or_default();
        let width = tensor.byte_len().checked_div(samples).unwrap_or_default();
        let mut shape = tensor.shape().to_vec();
        shape[0] = rows.len();
        let mut bytes = Vec::with_capacity(rows.len() * width);
        for &row in rows {
            bytes.extend_from_slice(&tensor.bytes()[row * width..(row + 1) * width]);
        }
        Ok((name.clone(), whole(tensor.dtype(), &shape, bytes)?))
    });
    selected.collect()
}

/// The outputs of a batch, cut into those of its parts of so many samples each.
///
/// # Errors
/// Where an output is not of as many samples as the batch: its plugin cannot be batched.
pub(super) fn split(outputs: &[(String, Tensor)], parts: &[usize]) -> Result<Vec<NamedTensors>, ServeError> {
    let samples: usize = parts.iter().sum();
    if let Some((name, tensor)) = outputs.iter().find(|(_, tensor)| tensor.shape().first() != Some(&samples))
    {
        let text = format!(
            "output `{name:.100}` of a batch of {samples} samples is {}: a service whose outputs do not have \
             a row for each sample cannot be batched",
            describe(tensor.dtype(), tensor.shape())
        );
        return Err(ServeError::new(ServeErrorKind::Internal, text));
    }
    let mut start = 0;
    let cut = parts.iter().map(|&part| {
        let rows: Vec<usize> = (start..start + part).collect();
        start += part;
        select(outputs, &rows)
    });
    cut.collect()
}

/// `outputs` with its samples `rows` replaced by those of `others`, in that order.
///
/// # Errors
/// Where the two do not have outputs of the same names, types and sizes; the message says which.
pub(super) fn replace(
    outputs: &[(String, Tensor)],
    rows: &[usize],
    others: &[(String, Tensor)],
) -> Result<NamedTensors, String> {
    let replaced = outputs.iter().map(|(name, tensor)| {
        let other = others.iter().find(|(other, _)| other == name).map(|(_, other)| other);
        let other = other.ok_or_else(|| format!("there is no output `{name:.100}`"))?;
        let told = |tensor: &Tensor| describe(tensor.dtype(), tensor.shape());
        if layout(tensor).is_none() || layout(tensor) != layout(other) || other.shape()[0] != rows.len() {
            return Err(format!(
                "output `{name:.100}` is {}, and {} samples of {} were expected",
                told(other),
                rows.len(),
                told(tensor)
            ));
        }
        let width = tensor.byte_len().checked_div(tensor.shape()[0]).unwrap_or_default();
        let mut bytes = tensor.bytes().to_vec();
        for (from, &row) in rows.iter().enumerate() {
            bytes[row * width..(row + 1) * width]
                .copy_from_slice(&other.bytes()[from * width..(from + 1) * width]);
        }
        let whole = whole(tensor.dtype(), tensor.shape(), bytes).map_err(|error| error.message)?;
        Ok((name.clone(), whole))
    });
    replaced.collect()
}

fn whole(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> Result<Tensor, ServeError> {
    Tensor::from_byte_vec(dtype, shape, bytes)
        .map_err(|error| ServeError::new(ServeErrorKind::Internal, error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(values: &[f32]) -> NamedTensors {
        let shape = [values.len() / 2, 2];
        vec![
            ("x".to_owned(), Tensor::from_vec(&shape, values.to_vec()).unwrap()),
            ("id".to_owned(), Tensor::from_vec(&shape[..1], vec![values[0] as i64; shape[0]]).unwrap()),
        ]
    }

    fn floats(tensors: &NamedTensors) -> &[f32] {
        tensors[0].1.as_slice().unwrap()
    }

    #[test]
    fn what_is_joined_is_split_again() {
        let (one, two) = (tensors(&[1., 2.]), tensors(&[3., 4., 5., 6.]));
        assert!(alike(&one, &two));
        let joined = join(&[one, two]).unwrap();
        assert_eq!(count(&joined).unwrap(), 3);
        assert_eq!(floats(&joined), [1., 2., 3., 4., 5., 6.]);
        let parts = split(&joined, &[1, 2]).unwrap();
        assert_eq!((floats(&parts[0]), floats(&parts[1])), (&[1., 2.][..], &[3., 4., 5., 6.][..]));
        let error = split(&joined, &[1, 1]).unwrap_err();
        assert!(error.message.contains("`x`"), "{error}");
    }

    #[test]
    fn samples_are_taken_out_and_put_back() {
        let all = tensors(&[1., 2., 3., 4., 5., 6.]);
        let some = select(&all, &[2, 0]).unwrap();
        assert_eq!(floats(&some), [5., 6., 1., 2.]);
        let other = tensors(&[50., 60., 10., 20.]);
        assert_eq!(floats(&replace(&all, &[2, 0], &other).unwrap()), [10., 20., 3., 4., 50., 60.]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let all = tensors(&[1., 2., 3., 4.]);
        let wide = vec![("x".to_owned(), Tensor::from_vec(&[1, 3], vec![0f32; 3]).unwrap())];
        assert!(!alike(&all, &wide));
        assert!(replace(&all, &[0], &wide).unwrap_err().contains("`x`"));
        assert!(replace(&all, &[0], &[]).unwrap_err().contains("no output `x`"));
        let scalar = vec![("s".to_owned(), Tensor::from_vec(&[], vec![0f32]).unwrap())];
        assert!(count(&scalar).unwrap_err().message.contains("`s`"));
        let uneven = [all[0].clone(), ("y".to_owned(), wide[0].1.clone())];
        assert!(count(&uneven).unwrap_err().message.contains("2 samples, `y` of 1"));
    }
}
