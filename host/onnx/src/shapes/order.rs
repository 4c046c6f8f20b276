//! The order in which rten runs the nodes of a graph, which decides what is held at the same time.
//!
//! It takes the nodes that outputs need, depth first, and then runs whatever is ready, those first that cannot
//! work in place. A graph of many branches is so run breadth first: all their first nodes, then all their second.

use std::collections::{HashMap, VecDeque};

use super::evaluation::{Step, Trace};
use crate::outline::Slot;

/// Indices of steps, without those that are constant.
pub(super) fn breadth_first(trace: &Trace<'_>) -> Vec<usize> {
    let maker: HashMap<Slot, usize> = trace
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| !step.constant)
        .flat_map(|(at, step)| step.made.iter().map(move |(slot, _)| (*slot, at)))
        .collect();
    let plan = depth_first(trace, &maker);

    let mut users: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut waits: HashMap<usize, usize> = HashMap::new();
    let (mut ready, mut ready_in_place) = (VecDeque::new(), VecDeque::new());
    let enqueue = |at: usize, ready: &mut VecDeque<_>, in_place: &mut VecDeque<_>| {
        if works_in_place(&trace.steps[at]) { in_place.push_back(at) } else { ready.push_back(at) }
    };
    for &at in &plan {
        let mut needs: Vec<_> =
            needed(&trace.steps[at]).filter_map(|slot| maker.get(&slot).copied()).collect();
        needs.sort_unstable();
        needs.dedup();
        if needs.is_empty() {
            enqueue(at, &mut ready, &mut ready_in_place);
        }
        waits.insert(at, needs.len());
        needs.into_iter().for_each(|need| users.entry(need).or_default().push(at));
    }
    let mut order = Vec::with_capacity(plan.len());
    while let Some(at) = ready.pop_front().or_else(|| ready_in_place.pop_front()) {
        order.push(at);
        for &user in users.get(&at).into_iter().flatten() {
            let left = waits.entry(user).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                enqueue(user, &mut ready, &mut ready_in_place);
            }
        }
    }
    order
}

fn needed<'a>(step: &'a Step<'_>) -> impl DoubleEndedIterator<Item = Slot> + 'a {
    step.node.inputs.iter().flatten().chain(&step.node.captures).copied()
}

/// Not by recursion: chains are as long as graphs.
fn depth_first(trace: &Trace<'_>, maker: &HashMap<Slot, usize>) -> Vec<usize> {
    enum Visit {
        Enter(usize),
        Leave(usize),
    }
    let mut entered = vec![false; trace.steps.len()];
    let mut plan = Vec::with_capacity(trace.steps.len());
    for output in &trace.graph.outputs {
        let mut stack: Vec<_> = maker.get(output).map(|&at| Visit::Enter(at)).into_iter().collect();
        while let Some(visit) = stack.pop() {
            match visit {
                Visit::Enter(at) if entered[at] => {}
                Visit::Enter(at) => {
                    entered[at] = true;
                    stack.push(Visit::Leave(at));
                    // The first need is on top.
                    let needs = needed(&trace.steps[at]).rev();
                    stack.extend(needs.filter_map(|slot| maker.get(&slot)).map(|&at| Visit::Enter(at)));
                }
                Visit::Leave(at) => plan.push(at),
            }
        }
    }
    plan
}

fn works_in_place(step: &Step<'_>) -> bool {
    let node = step.node;
    node.domain.is_empty()
        && matches!(
            node.operator.as_str(),
            "Abs"
                | "Acos"
                | "Acosh"
                | "Add"
                | "Asin"
                | "Asinh"
                | "Atan"
                | "Atanh"
                | "Attention"
                | "BitCast"
                | "BatchNormalization"
                | "Cast"
                | "CastLike"
                | "Ceil"
                | "Clip"
                | "Concat"
                | "Cos"
                | "Cosh"
                | "Div"
                | "Elu"
                | "Erf"
                | "Exp"
                | "Expand"
                | "Flatten"
                | "Floor"
                | "Gelu"
                | "HardSigmoid"
                | "HardSwish"
                | "Identity"
                | "InstanceNormalization"
                | "LayerNormalization"
                | "LeakyRelu"
                | "Log"
                | "LogSoftmax"
                | "LpNormalization"
                | "Mul"
                | "Neg"
                | "Not"
                | "PRelu"
                | "Pow"
                | "RMSNormalization"
                | "Reciprocal"
                | "Relu"
                | "Reshape"
                | "Round"
                | "Scatter"
                | "ScatterElements"
                | "ScatterND"
                | "SequenceErase"
                | "SequenceInsert"
                | "Sigmoid"
                | "Sign"
                | "Sin"
                | "Sinh"
                | "Slice"
                | "Softmax"
                | "Softplus"
                | "Softsign"
                | "Sqrt"
                | "Squeeze"
                | "Sub"
                | "Swish"
                | "Tan"
                | "Tanh"
                | "Tile"
                | "Unsqueeze"
        )
}
