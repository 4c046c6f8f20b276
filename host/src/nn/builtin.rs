//! The host's own graphs: arithmetic on whole weights, for plugins that aggregate. `wit/worker.wit` says at
//! `model` what they mean.
//!
//! Both go once through memory. They write where the caller gave the only handle, so folding an update into
//! a running mean allocates nothing.

use std::sync::Arc;

use super::dtype::DType;
use super::error::NnError;
use super::graph::{Graph, Port, check_inputs};
use super::tensor::{Tensor, describe};

/// The graph of that name.
pub fn graph(name: &str) -> Option<Arc<dyn Graph>> {
    match name {
        "sedge:lerp" => Some(Arc::new(Lerp {
            inputs: [port("x", DType::F32), port("y", DType::F32), port("t", DType::F32)],
            outputs: [port("z", DType::F32)],
        })),
        "sedge:non-finite" => Some(Arc::new(NonFinite {
            inputs: [port("x", DType::F32)],
            outputs: [port("x", DType::F32), port("count", DType::I64)],
        })),
        _ => None,
    }
}

fn port(name: &str, dtype: DType) -> Port {
    Port { name: name.to_owned(), dtype: Some(dtype), shape: None }
}

/// `z = (1 − t)·y + t·x`: with `t` in [0, 1] never beyond the larger of the two, so finite values stay finite.
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
        let [x, mut y, t] = <[Tensor; 3]>::try_from(check_inputs(self, inputs)?)
            .expect("as many tensors as the graph has inputs");
        if x.shape() != y.shape() {
            return Err(NnError::invalid(format!(
                "inputs \"x\" and \"y\": expected one shape, got {} and {}",
                describe(x.dtype(), x.shape()),
                describe(y.dtype(), y.shape())
            )));
        }
        let &[t] = t.as_slice::<f32>()? else {
            return Err(NnError::invalid(format!("input \"t\": expected one f32, got {t:?}")));
        };

        let from = x.as_slice::<f32>()?;
        if let Some(over) = y.as_mut_slice::<f32>() {
            lerp_over(over, from, t);
            return Ok(vec![("z".to_owned(), y)]);
        }
        let mut fresh = reserve(from.len())?;
        fresh.extend(y.as_slice::<f32>()?.iter().zip(from).map(|(&y, &x)| mix(y, x, t)));
        Ok(vec![("z".to_owned(), Tensor::from_vec(y.shape(), fresh)?)])
    }
}

fn mix(y: f32, x: f32, t: f32) -> f32 {
    (1.0 - t) * y + t * x
}

/// The accumulated mean: [`mix`] written over `over`, element by element.
fn lerp_over(over: &mut [f32], from: &[f32], t: f32) {
    // Blocks of a fixed size let the compiler drop the bounds checks and use vector registers.
    const LANES: usize = 16;
    let (over_blocks, over_rest) = over.as_chunks_mut::<LANES>();
    let (from_blocks, from_rest) = from.as_chunks::<LANES>();
    for (over, from) in over_blocks.iter_mut().zip(from_blocks) {
        for lane in 0..LANES {
            over[lane] = mix(over[lane], from[lane], t);
        }
    }
    for (over, from) in over_rest.iter_mut().zip(from_rest) {
        *over = mix(*over, *from, t);
    }
}

/// Room for `len` values.
fn reserve(len: usize) -> Result<Vec<f32>, NnError> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(len)
        .map_err(|_| NnError::too_large(format!("memory for {len} values of f32 is not to be had")))?;
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
        let count = non_finite(x.as_slice::<f32>()?);
        let count = i64::try_from(count).expect("a slice has at most isize::MAX elements");
        Ok(vec![("x".to_owned(), x), ("count".to_owned(), Tensor::from_vec(&[1], vec![count])?)])
    }
}

/// How many values have all bits of the exponent set, which is what NaN and infinities have in common.
fn non_finite(values: &[f32]) -> usize {
    const EXPONENT: u32 = 0x7f80_0000;
    /// Added to a full exponent it carries into the sign's place, and to no other.
    const CARRY: u32 = 0x0080_0000;
    const BLOCK: usize = 32;
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    let count = |values: &[f32]| values.iter().filter(|value| !value.is_finite()).count();
    let mut found = count(rest);
    for block in blocks {
        // Blocks without any are the rule: they cost three operations a value and one branch.
        let carries = block.iter().fold(0, |carries, value| carries | ((value.to_bits() & EXPONENT) + CARRY));
        if carries >> 31 != 0 {
            found += count(block);
        }
    }
    found
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
            "inputs \"x\" and \"y\": expected one shape, got f32[2] and f32[3]"
        );
        let integers = Tensor::from_vec(&[1], vec![1i64]).unwrap();
        assert_eq!(
            message(lerp(integers.clone(), f32s(&[1.0]), 0.5)),
            "input \"x\": expected f32 of any shape, got i64[1]"
        );
        assert_eq!(
            count(integers).unwrap_err().message,
            "input \"x\": expected f32 of any shape, got i64[1]"
        );
        let two = vec![("x", f32s(&[1.0])), ("y", f32s(&[1.0])), ("t", f32s(&[1.0, 2.0]))];
        let two = two.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        let error = graph("sedge:lerp").unwrap().compute(two).unwrap_err();
        assert_eq!(error.message, "input \"t\": expected one f32, got f32[2]");
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
