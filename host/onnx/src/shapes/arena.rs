//! What a trace of allocations comes to in a pool of buffers that works as rten's does.
//!
//! A buffer that is no longer needed goes to the pool, which never shrinks during a compute; an allocation takes
//! the smallest one from there that is large enough, or a new one. Small ones do not go there.

use std::collections::{BTreeMap, HashMap};

use super::evaluation::Trace;
use super::order;
use crate::outline::Slot;

/// Smaller buffers are given back to the allocator.
const POOLED: u64 = 128;

/// Bytes at most: in the file's order or in rten's, whichever holds more.
pub(super) fn peak(trace: &Trace<'_>) -> f64 {
    let in_order = |breadth_first: bool| {
        let mut arena = Arena { breadth_first, ..Arena::default() };
        arena.play(trace);
        arena.most
    };
    in_order(false).max(in_order(true)) as f64
}

#[derive(Default)]
struct Arena {
    breadth_first: bool,
    /// Loops around; one round of those inside is enough.
    loops: usize,
    /// Sizes of free buffers, and how many there are of each.
    free: BTreeMap<u64, usize>,
    /// All buffers, free or not.
    held: u64,
    most: u64,
}

impl Arena {
    fn take(&mut self, bytes: f64) -> u64 {
        let bytes = bytes.ceil() as u64;
        if bytes >= POOLED
            && let Some((&size, count)) = self.free.range_mut(bytes..).next()
        {
            *count -= 1;
            if *count == 0 {
                self.free.remove(&size);
            }
            return size;
        }
        self.held = self.held.saturating_add(bytes);
        self.most = self.most.max(self.held);
        bytes
    }

    fn give(&mut self, bytes: u64) {
        if bytes < POOLED {
            self.held = self.held.saturating_sub(bytes);
        } else {
            *self.free.entry(bytes).or_default() += 1;
        }
    }

    fn play(&mut self, trace: &Trace<'_>) {
        let order = match self.breadth_first {
            true => order::breadth_first(trace),
            false => (0..trace.steps.len()).filter(|&at| !trace.steps[at].constant).collect(),
        };
        let mut uses: HashMap<Slot, usize> = HashMap::new();
        let used = order.iter().flat_map(|&at| {
            let node = trace.steps[at].node;
            node.inputs.iter().flatten().chain(&node.captures)
        });
        used.chain(&trace.graph.outputs).for_each(|slot| *uses.entry(*slot).or_default() += 1);

        // Of the round before: what goes from round to round is there twice.
        let mut before: Vec<u64> = Vec::new();
        let rounds = if self.loops == 0 { trace.rounds } else { 1 };
        let repeats = usize::from(trace.rounds > 1);
        self.loops += repeats;
        for _ in 0..rounds {
            let mut uses = uses.clone();
            let mut live: HashMap<Slot, u64> = HashMap::new();
            for &at in &order {
                let step = &trace.steps[at];
                let scratch = self.take(step.scratch);
                step.inner.iter().for_each(|inner| self.play(inner));
                for (slot, bytes) in &step.made {
                    let size = self.take(*bytes);
                    live.insert(*slot, size);
                }
                self.give(scratch);
                for slot in step.node.inputs.iter().flatten().chain(&step.node.captures) {
                    let left = uses.entry(*slot).or_insert(1);
                    *left = left.saturating_sub(1);
                    if *left == 0
                        && let Some(size) = live.remove(slot)
                    {
                        self.give(size);
                    }
                }
            }
            before.drain(..).for_each(|size| self.give(size));
            before.extend(live.into_values());
        }
        self.loops -= repeats;
        before.into_iter().for_each(|size| self.give(size));
    }
}
