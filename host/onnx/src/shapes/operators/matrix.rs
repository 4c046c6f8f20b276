//! Products of matrices, and what is made of them: einsum, attention, recurrent layers.

use super::{BLOCK, Call, Outcome, broadcast};
use crate::shapes::range::Range;
use crate::shapes::value::{Value, product};
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    match call.operator() {
        "MatMul" => mat_mul(call, (0, 1), call.element(0)),
        "MatMulInteger" => mat_mul(call, (0, 1), ElementType::I32),
        "QLinearMatMul" => mat_mul(call, (0, 3), call.element(7)),
        "Gemm" => gemm(call),
        "Einsum" => einsum(call),
        "Attention" => attention(call),
        "LSTM" => recurrent(call, 4.0),
        "GRU" => recurrent(call, 3.0),
        "RNN" => recurrent(call, 1.0),
        "RotaryEmbedding" => call.same(0).map(Outcome::from),
        "Det" => {
            let dims = call.dims(0)?;
            let outer = dims.get(..dims.len().checked_sub(2)?)?.to_vec();
            Some(Outcome::from(call.like(0, outer)).with_scratch(call.input(0)?.bytes()))
        }
        _ => None,
    }
}

/// What engines pack of two factors: blocks, per thread.
fn packing(call: &Call, factors: [f64; 2]) -> f64 {
    factors.iter().map(|bytes| bytes.min(BLOCK * call.threads)).sum()
}

fn mat_mul(call: &Call, (left, right): (usize, usize), element: ElementType) -> Option<Outcome> {
    let (a, b) = (call.dims(left)?, call.dims(right)?);
    let one = Range::exactly(1.0);
    let matrix_a = if let [k] = a { vec![one, *k] } else { a.to_vec() };
    let matrix_b = if let [k] = b { vec![*k, one] } else { b.to_vec() };
    let ([batch_a @ .., m, k], [batch_b @ .., _, n]) = (&matrix_a[..], &matrix_b[..]) else { return None };
    let mut dims = broadcast(batch_a, batch_b);
    let batches = product(&dims).hi;
    if a.len() > 1 {
        dims.push(*m);
    }
    if b.len() > 1 {
        dims.push(*n);
    }
    let result = Value::tensor(element, dims);
    let width = result.width().max(4.0);
    // Of many products, a factor that all of them share is packed whole.
    let factors = [(*m * *k).hi * width, (*k * *n).hi * width];
    let whole = if batches > 1.0 { factors.iter().sum() } else { 0.0 };
    Some(Outcome::from(result).with_scratch(packing(call, factors) + whole))
}

fn gemm(call: &Call) -> Option<Outcome> {
    let ([a0, a1], [b0, b1]) = (call.dims(0)?, call.dims(1)?) else { return None };
    let m = if call.flag("transA", false) { *a1 } else { *a0 };
    let n = if call.flag("transB", false) { *b0 } else { *b1 };
    let factors = [call.input(0)?.bytes(), call.input(1)?.bytes()];
    Some(Outcome::from(call.like(0, vec![m, n])).with_scratch(packing(call, factors)))
}

fn einsum(call: &Call) -> Option<Outcome> {
    let equation = call.text("equation")?.replace(' ', "");
    // Sizes of what the dots stand for are not followed.
    if equation.contains('.') {
        return None;
    }
    let (terms, output) = match equation.split_once("->") {
        Some((terms, output)) => (terms.to_owned(), output.to_owned()),
        None => {
            let mut labels: Vec<char> = equation.chars().filter(|c| c.is_alphabetic()).collect();
            labels.sort_unstable();
            let once = |label: &&char| equation.matches(**label).count() == 1;
            let output = labels.iter().filter(once).collect();
            (equation, output)
        }
    };
    let terms: Vec<&str> = terms.split(',').collect();
    let mut sizes = std::collections::BTreeMap::new();
    for (at, term) in terms.iter().enumerate() {
        let dims = call.dims(at)?;
        if dims.len() != term.chars().count() {
            return None;
        }
        for (label, dim) in term.chars().zip(dims) {
            let size = sizes.entry(label).or_insert(*dim);
            *size = size.max(*dim);
        }
    }
    let dims =
        |labels: &str| labels.chars().map(|label| sizes.get(&label).copied()).collect::<Option<Vec<_>>>();
    let result = call.like(0, dims(&output)?);
    // From left to right, keeping what a later term or the output needs; each with copies of both factors.
    let mut scratch = 0.0;
    let mut held = String::new();
    for (at, term) in terms.iter().enumerate() {
        let later =
            |label: &char| output.contains(*label) || terms[at + 1..].iter().any(|t| t.contains(*label));
        let mut labels: Vec<char> = held.chars().chain(term.chars()).collect();
        labels.sort_unstable();
        labels.dedup();
        held = labels.into_iter().filter(later).collect();
        scratch += product(&dims(&held)?).hi * result.width() + 2.0 * call.input(at)?.bytes();
    }
    Some(Outcome::from(result).with_scratch(2.0 * scratch))
}

/// Scaled dot-product attention, of three or four dimensions.
fn attention(call: &Call) -> Option<Outcome> {
    let heads =
        |name: &str| call.int(name).filter(|&heads| heads > 0).map(|heads| Range::exactly(heads as f64));
    // Batch, heads, length, size of each head.
    let split = |dims: &[Range], heads: Option<Range>| match *dims {
        [batch, heads, length, size] => Some([batch, heads, length, size]),
        [batch, length, width] => {
            let heads = heads?;
            Some([batch, heads, length, width.divided(heads).rising(f64::ceil)])
        }
        _ => None,
    };
    let (q_heads, kv_heads) = (heads("q_num_heads"), heads("kv_num_heads"));
    let [batch, q_heads, length, _] = split(call.dims(0)?, q_heads)?;
    let [_, kv_heads, keys, key_size] = split(call.dims(1)?, kv_heads)?;
    let [_, _, _, value_size] = split(call.dims(2)?, Some(kv_heads))?;
    let past = call.dims(4).and_then(|dims| dims.get(2).copied()).unwrap_or(Range::exactly(0.0));
    let total = keys + past;
    let flat = call.dims(0)?.len() == 3;
    let result = match flat {
        true => vec![batch, length, q_heads * value_size],
        false => vec![batch, q_heads, length, value_size],
    };
    let present = |size| call.like(0, vec![batch, kv_heads, total, size]);
    let scores = call.like(0, vec![batch, q_heads, length, total]);
    let outputs = vec![call.like(0, result), present(key_size), present(value_size), scores.clone()];
    // Scores, their softmax, and keys and values repeated for every head.
    let repeated = (batch * q_heads * total * (key_size + value_size)).hi * scores.width();
    let copies: f64 = (0..3).filter_map(|at| call.input(at)).map(Value::bytes).sum();
    let scratch = 2.0 * scores.bytes() + repeated + copies;
    Some(Outcome::from(outputs).with_scratch(scratch))
}

fn recurrent(call: &Call, gates: f64) -> Option<Outcome> {
    let [first, second, _] = *call.dims(0)? else { return None };
    let batch_first = call.flag("layout", false);
    let (length, batch) = if batch_first { (second, first) } else { (first, second) };
    let directions = Range::exactly(if call.text("direction") == Some("bidirectional") { 2.0 } else { 1.0 });
    let hidden = match call.int("hidden_size") {
        Some(hidden) => Range::exactly(hidden as f64).size(),
        None => *call.dims(2)?.get(2)?,
    };
    let (all, last) = match batch_first {
        true => (vec![batch, length, directions, hidden], vec![batch, directions, hidden]),
        false => (vec![length, directions, batch, hidden], vec![directions, batch, hidden]),
    };
    let all = call.like(0, all);
    // Gates of every step, and the weights packed.
    let weights: f64 = (1..3).filter_map(|at| call.input(at)).map(Value::bytes).sum();
    let scratch = all.bytes() * gates + call.input(0)?.bytes() + weights;
    let last = call.like(0, last);
    Some(Outcome::from(vec![all, last.clone(), last]).with_scratch(scratch))
}
