//! The host's own graphs: arithmetic on whole weights, for plugins that aggregate. `wit/worker.wit` says at
//! `model` what they mean.
//!
//! Both go once through memory. They write where the caller gave the only handle, so folding an update into
//! a running mean allocates nothing.

mod float;

use std::sync::Arc;

use half::{bf16, f16};

use self::float::Float;
use super::copies;
use super::dtype::DType;
use super::error::NnError;
use super::graph::{Graph, Port, check_inputs};
use super::tensor::{Tensor, describe};

/// The graph of that name.
pub fn graph(name: &str) -> Option<Arc<dyn Graph>> {
    match name {
        "sedge:lerp" => Some(Arc::new(Lerp {
            inputs: [port("x", None), port("y", None), port("t", Some(DType::F32))],
            outputs: [port("z", None)],
        })),
        "sedge:non-finite" => Some(Arc::new(NonFinite {
            inputs: [port("x", None)],
            outputs: [port("x", None), port("count", Some(DType::I64))],
        })),
        _ => None,
    }
}

fn port(name: &str, dtype: Option<DType>) -> Port {
    Port { name: name.to_owned(), dtype, shape: None }
}

/// That `x` is of no floating-point type.
fn no_floats(x: &Tensor) -> NnError {
    NnError::invalid(format!("input \"x\": expected f16, bf16, f32 or f64 of any shape, got {x:?}"))
}

/// `z = (1 − t)·y + t·x`.
struct Lerp {
    inputs: [Port; 3],
    outputs: [Port; 1],
}

impl Graph for Lerp {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        let [x, y, t] = <[Tensor; 3]>::try_from(check_inputs(self, inputs)?)
            .expect("as many tensors as the graph has inputs");
        let lerp = match x.dtype() {
            DType::F16 => lerp::<f16>,
            DType::BF16 => lerp::<bf16>,
            DType::F32 => lerp::<f32>,
            DType::F64 => lerp::<f64>,
            DType::U8 | DType::I32 | DType::I64 => return Err(no_floats(&x)),
        };
        if (x.dtype(), x.shape()) != (y.dtype(), y.shape()) {
            return Err(NnError::invalid(format!(
                "inputs \"x\" and \"y\": expected one type and shape, got {x:?} and {y:?}"
            )));
        }
        let &[t] = t.as_slice::<f32>()? else {
            return Err(NnError::invalid(format!("input \"t\": expected one f32, got {t:?}")));
        };
        Ok(vec![("z".to_owned(), lerp(&x, y, t)?)])
    }
}

/// `y` written over, or where someone else holds it too, a new tensor.
fn lerp<T: Float>(x: &Tensor, mut y: Tensor, t: f32) -> Result<Tensor, NnError> {
    /// Small enough to be in the nearest cache still when it is mixed.
    const BLOCK: usize = 256;
    let from = x.as_slice::<T>()?;
    if let Some(over) = y.as_mut_slice::<T>() {
        T::lerp_over(over, from, t);
        return Ok(y);
    }
    let mut fresh = reserve::<T>(from.len())?;
    for (y, x) in y.as_slice::<T>()?.chunks(BLOCK).zip(from.chunks(BLOCK)) {
        let start = fresh.len();
        fresh.extend_from_slice(y);
        T::lerp_over(&mut fresh[start..], x, t);
    }
    copies::count(size_of_val(fresh.as_slice()));
    Tensor::from_vec(y.shape(), fresh)
}

/// Room for `len` values.
fn reserve<T: Float>(len: usize) -> Result<Vec<T>, NnError> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| {
        NnError::too_large(format!("memory for {} is not to be had", describe(T::DTYPE, &[len])))
    })?;
    Ok(values)
}

/// Counts NaN and infinities.
struct NonFinite {
    inputs: [Port; 1],
    outputs: [Port; 2],
}

impl Graph for NonFinite {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        let [x] = <[Tensor; 1]>::try_from(check_inputs(self, inputs)?)
            .expect("as many tensors as the graph has inputs");
        let count = match x.dtype() {
            DType::F16 => f16::non_finite(x.as_slice()?),
            DType::BF16 => bf16::non_finite(x.as_slice()?),
            DType::F32 => f32::non_finite(x.as_slice()?),
            DType::F64 => f64::non_finite(x.as_slice()?),
            DType::U8 | DType::I32 | DType::I64 => return Err(no_floats(&x)),
        };
        let count = i64::try_from(count).expect("a slice has at most isize::MAX elements");
        Ok(vec![("x".to_owned(), x), ("count".to_owned(), Tensor::from_vec(&[1], vec![count])?)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn f32s(values: &[f32]) -> Tensor {
        Tensor::from_vec(&[values.len()], values.to_vec()).unwrap()
    }

    fn lerp(x: Tensor, y: Tensor, t: f32) -> Result<Tensor, NnError> {
        let inputs = vec![("x".to_owned(), x), ("y".to_owned(), y), ("t".to_owned(), f32s(&[t]))];
        graph("sedge:lerp").unwrap().compute(inputs).map(|mut outputs| outputs.remove(0).1)
    }

    fn count(x: Tensor) -> Result<i64, NnError> {
        let outputs = graph("sedge:non-finite").unwrap().compute(vec![("x".to_owned(), x)])?;
        Ok(outputs[1].1.as_slice::<i64>().unwrap()[0])
    }

    #[test]
    fn lerp_writes_over_y_where_it_holds_the_only_handle() {
        let values: Vec<f32> = vec![0.0; 100];
        let start = values.as_ptr();
        let z = lerp(f32s(&[1.0; 100]), Tensor::from_vec(&[100], values).unwrap(), 0.25).unwrap();
        assert_eq!(z.as_slice::<f32>().unwrap(), [0.25; 100]);
        assert_eq!(z.as_slice::<f32>().unwrap().as_ptr(), start);
    }

    #[test]
    fn lerp_leaves_a_shared_y_alone() {
        let y = f32s(&[2.0; 3]);
        let z = lerp(f32s(&[4.0; 3]), y.clone(), 0.5).unwrap();
        assert_eq!(z.as_slice::<f32>().unwrap(), [3.0; 3]);
        assert_eq!(y.as_slice::<f32>().unwrap(), [2.0; 3]);
    }

    #[test]
    fn lerp_between_finite_values_is_finite() {
        let z = lerp(f32s(&[f32::MAX]), f32s(&[f32::MIN]), 0.5).unwrap();
        assert_eq!(z.as_slice::<f32>().unwrap(), [0.0]);
    }

    #[test]
    fn folding_with_growing_counts_is_the_weighted_mean() {
        let updates = [(1.0f32, 10.0f32), (4.0, 30.0), (-2.0, 60.0)];
        let mut mean = f32s(&[0.0]);
        let mut samples = 0.0;
        for (value, weight) in updates {
            samples += weight;
            mean = lerp(f32s(&[value]), mean, weight / samples).unwrap();
        }
        let expected = (1.0 * 10.0 + 4.0 * 30.0 - 2.0 * 60.0) / 100.0;
        assert!((mean.as_slice::<f32>().unwrap()[0] - expected).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = |result: Result<Tensor, NnError>| result.unwrap_err().message;
        assert_eq!(
            message(lerp(f32s(&[1.0; 2]), f32s(&[1.0; 3]), 0.5)),
            "inputs \"x\" and \"y\": expected one type and shape, got f32[2] and f32[3]"
        );
        let integers = Tensor::from_vec(&[1], vec![1i64]).unwrap();
        assert_eq!(
            message(lerp(integers.clone(), f32s(&[1.0]), 0.5)),
            "input \"x\": expected f16, bf16, f32 or f64 of any shape, got i64[1]"
        );
        assert_eq!(
            count(integers).unwrap_err().message,
            "input \"x\": expected f16, bf16, f32 or f64 of any shape, got i64[1]"
        );
        let two = vec![("x", f32s(&[1.0])), ("y", f32s(&[1.0])), ("t", f32s(&[1.0, 2.0]))];
        let two = two.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        let error = graph("sedge:lerp").unwrap().compute(two).unwrap_err();
        assert_eq!(error.message, "input \"t\": expected one f32, got f32[2]");
    }

    #[test]
    fn every_floating_point_type_is_averaged() {
        fn half_way<T: Float>(of: fn(f32) -> T) {
            // Enough for a block and a rest, and both ways to write.
            let tensor = |value| Tensor::from_vec(&[300], vec![of(value); 300]).unwrap();
            for keep in [None, Some(tensor(3.0))] {
                let y = keep.clone().unwrap_or_else(|| tensor(3.0));
                let z = lerp(tensor(1.0), y, 0.5).unwrap();
                assert_eq!(z.as_slice::<T>().unwrap(), [of(2.0); 300]);
                assert_eq!(count(z).unwrap(), 0);
            }
        }
        half_way(f16::from_f32);
        half_way(bf16::from_f32);
        half_way(|value| value);
        half_way(f64::from);
        let mixed = lerp(f32s(&[1.0]), Tensor::from_vec(&[1], vec![1.0f64]).unwrap(), 0.5).unwrap_err();
        assert_eq!(
            mixed.message,
            "inputs \"x\" and \"y\": expected one type and shape, got f32[1] and f64[1]"
        );
    }

    #[test]
    fn non_finite_gives_the_same_handle_back() {
        let x = f32s(&[1.0, f32::NAN]);
        let outputs = graph("sedge:non-finite").unwrap().compute(vec![("x".to_owned(), x.clone())]).unwrap();
        assert!(outputs[0].1.same_storage(&x));
    }

    proptest! {
        #[test]
        fn lerp_is_what_double_precision_says(
            pairs in proptest::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..70),
            t in 0f32..=1.0,
            shared in any::<bool>(),
        ) {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let y = f32s(&y);
            let keep = shared.then(|| y.clone());
            let z = lerp(f32s(&x), y, t).unwrap();
            for ((x, y), z) in pairs.iter().zip(z.as_slice::<f32>().unwrap()) {
                let expected = f64::from(*y) + f64::from(t) * (f64::from(*x) - f64::from(*y));
                prop_assert!((f64::from(*z) - expected).abs() < 1e-3, "{z} is not {expected}");
            }
            drop(keep);
        }

        #[test]
        fn non_finite_counts_any_bits(bits in proptest::collection::vec(any::<u32>(), 0..100)) {
            // Enough for whole blocks, most of them clean.
            let clean = (0..100).map(|value| value as f32);
            let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0, -0.0, 1e-45];
            let values: Vec<f32> = clean.chain(bits.into_iter().map(f32::from_bits)).chain(special).collect();
            let expected = values.iter().filter(|value| !value.is_finite()).count();
            prop_assert_eq!(count(f32s(&values)).unwrap(), expected as i64);
        }
    }
}
