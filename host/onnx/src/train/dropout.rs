//! Dropout that trains on every engine: its mask is arithmetic on integers, not a random operator.
//!
//! Engines differ in their random numbers, and some have none; a mask out of whole numbers is the same everywhere,
//! and a run can be done again. The element in row `r` and column `c` of step `t` is dropped where
//! `h = (hash(c) + hash(r) + keys)³ mod 23159` is below `ratio · 23159`. Cubing is the round of MiMC (Albrecht et
//! al. 2016, <https://eprint.iacr.org/2016/492>): modulo a prime that is 2 modulo 3 it permutes the numbers, and no
//! product here exceeds 31 bits, which engines that keep integers in 32 can hold. Keys depend on the step and on
//! which dropout it is. Kept elements are divided by the share that is kept (Srivastava et al. 2014,
//! <https://jmlr.org/papers/v15/srivastava14a.html>, section 10).
//!
//! The step is counted in an f32 weight, which stays exact for 16 million steps. Nodes that train in the same
//! round count from the same number and so drop the same places of their different samples.

use crate::proto::NodeProto;

use super::graph::Graph;
use super::node;

/// The largest prime `p` that is 2 modulo 3 with `(2p)² < 2³¹`.
const PRIME: i64 = 23_159;
/// Multiply what enters as a key: numbers without a pattern, from the digits of π.
const KEYS: [i64; 6] = [14_159, 2_653, 5_897, 9_323, 8_462, 6_433];

/// The step counter in a graph.
pub struct Counter {
    /// As i64, one element, below [`PRIME`].
    step: String,
    dropouts: i64,
}

impl Counter {
    /// Of the f32 weight `step`, one element.
    pub fn new(graph: &mut Graph, step: &str) -> Self {
        let whole = graph.to_int(step);
        let step = modulo(graph, &whole);
        Self { step, dropouts: 0 }
    }

    /// Writes the dropout of `x` as `output`, and gives the node that it comes down to: `x` times a mask.
    pub fn write(&mut self, graph: &mut Graph, x: &str, output: &str, ratio: f32) -> NodeProto {
        self.dropouts += 1;
        let shape = graph.unary("Shape", x);
        let (zero, first) = (graph.ints(&[0]), graph.ints(&[1]));
        let rows = graph.op("Slice", &[&shape, &zero, &first], vec![]);
        let rows = graph.squeeze(&rows, &[0]);
        let size = graph.unary("Size", x);
        let columns = graph.op("Div", &[&size, &rows], vec![]);

        let row_key = self.key(graph, 0);
        let row = self.hashes(graph, &rows, &row_key);
        let row = graph.reshape(&row, &[-1, 1]);
        let column_key = self.key(graph, 2);
        let column = self.hashes(graph, &columns, &column_key);
        let sum = graph.add(&row, &column);
        let h = modulo(graph, &sum);
        let last_key = self.key(graph, 4);
        let h = graph.add(&h, &last_key);
        let h = cube(graph, &h);

        let dropped = graph.int((f64::from(ratio) * PRIME as f64).round() as i64 - 1);
        let kept = graph.op("Greater", &[&h, &dropped], vec![]);
        let kept = graph.to_float(&kept);
        let mask = graph.scale(&kept, 1.0 / (1.0 - ratio));
        let mask = graph.op("Reshape", &[&mask, &shape], vec![]);
        graph.op_as("Mul", &[x, &mask], vec![], output);
        NodeProto {
            op_type: Some("Mul".to_owned()),
            input: vec![x.to_owned(), mask],
            output: vec![output.to_owned()],
            ..NodeProto::default()
        }
    }

    /// A number below [`PRIME`] that depends on the step and on which dropout this is.
    fn key(&self, graph: &mut Graph, at: usize) -> String {
        let (by, salt) = (graph.int(KEYS[at]), graph.int((KEYS[at + 1] * self.dropouts) % PRIME));
        let scaled = graph.mul(&self.step, &by);
        let scaled = modulo(graph, &scaled);
        let salted = graph.add(&scaled, &salt);
        modulo(graph, &salted)
    }

    /// Hashes of `0..count`, each below [`PRIME`]. Beyond it the quotient enters as a further key.
    fn hashes(&self, graph: &mut Graph, count: &str, key: &str) -> String {
        let (zero, one, prime) = (graph.int(0), graph.int(1), graph.int(PRIME));
        let index = graph.op("Range", &[&zero, count, &one], vec![]);
        let low = modulo(graph, &index);
        let low = graph.add(&low, key);
        let low = cube(graph, &low);
        let high = graph.op("Div", &[&index, &prime], vec![]);
        let high = modulo(graph, &high);
        let sum = graph.add(&low, &high);
        cube(graph, &sum)
    }
}

fn modulo(graph: &mut Graph, a: &str) -> String {
    let prime = graph.int(PRIME);
    graph.op("Mod", &[a, &prime], vec![node::with_int("fmod", 0)])
}

/// `a³ mod p` for `a < 2p`.
fn cube(graph: &mut Graph, a: &str) -> String {
    let square = graph.mul(a, a);
    let square = modulo(graph, &square);
    let cube = graph.mul(&square, a);
    modulo(graph, &cube)
}
