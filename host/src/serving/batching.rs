//! Requests that come close together, computed as one.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::endpoint::ServeError;
use super::pool::{Call, Calls, failed, single};
use super::queue::{Queue, Waiting};
use super::samples;
use crate::runtime::NamedTensors;

/// When requests are computed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batching {
    /// Samples in one batch, at most; a request of more is computed by itself.
    pub samples: usize,
    /// How long the first request waits for others.
    pub delay: Duration,
}

type Reply = oneshot::Sender<Result<NamedTensors, ServeError>>;

/// Bytes of a request that may be computed where it came in: a large one takes longer than others did.
const SMALL: usize = 64 << 10;

/// Joins requests along their first dimension as `batching` says; without it, each is computed by itself.
pub(super) fn calls(batching: Option<Batching>) -> Calls<NamedTensors, NamedTensors> {
    match batching {
        None => alone(),
        Some(batching) => {
            // One that is answered at once waits for no others.
            Calls { gather: Box::new(move |queue, first| batch(queue, first, batching)), alone: |_| false }
        }
    }
}

/// Each request is computed by itself.
pub(super) fn alone<O: Send + 'static>() -> Calls<NamedTensors, O> {
    let small =
        |input: &NamedTensors| input.iter().map(|(_, tensor)| tensor.byte_len()).sum::<usize>() <= SMALL;
    Calls { gather: Box::new(single), alone: small }
}

fn batch(
    queue: &Queue<NamedTensors, NamedTensors>,
    first: Waiting<NamedTensors, NamedTensors>,
    batching: Batching,
) -> Option<Call<NamedTensors, NamedTensors>> {
    // The service has counted the samples of every request before it put it in.
    let count = |input: &NamedTensors| samples::count(input).unwrap_or_default();
    let until = Instant::now() + batching.delay;
    let mut total = count(&first.input);
    let mut parts = vec![first];
    while total < batching.samples {
        let fits = |input: &NamedTensors| {
            total + count(input) <= batching.samples && samples::alike(&parts[0].input, input)
        };
        let Some(more) = queue.pop_more(until, fits) else { break };
        total += count(&more.input);
        parts.push(more);
    }
    if parts.len() == 1
        && let Some(alone) = parts.pop()
    {
        return single(queue, alone);
    }
    let sizes: Vec<usize> = parts.iter().map(|part| count(&part.input)).collect();
    let (inputs, replies): (Vec<_>, Vec<Reply>) =
        parts.into_iter().map(|part| (part.input, part.reply)).unzip();
    match samples::join(&inputs) {
        Ok(input) => {
            let reply = move |outcome: Result<_, _>| answer(outcome.map_err(failed), &sizes, replies);
            Some(Call { input, reply: Box::new(reply) })
        }
        Err(error) => {
            answer(Err(error), &sizes, replies);
            None
        }
    }
}

/// Give each request its part of the outputs, or the error.
fn answer(outputs: Result<NamedTensors, ServeError>, sizes: &[usize], replies: Vec<Reply>) {
    match outputs.and_then(|outputs| samples::split(&outputs, sizes)) {
        Ok(parts) => {
            for (reply, part) in replies.into_iter().zip(parts) {
                // A client that has left hears nothing.
                let _ = reply.send(Ok(part));
            }
        }
        Err(error) => {
            let text = format!("computed as one of {} requests: {}", replies.len(), error.message);
            let error = ServeError::new(error.kind, text);
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Tensor;
    use crate::runtime::Instance;

    fn request(values: &[f32]) -> NamedTensors {
        vec![("x".to_owned(), Tensor::from_vec(&[values.len()], values.to_vec()).unwrap())]
    }

    fn floats(answer: &NamedTensors) -> Vec<f32> {
        answer[0].1.as_slice().unwrap().to_vec()
    }

    fn queue() -> Queue<NamedTensors, NamedTensors> {
        let queue = Queue::new(8, 1);
        queue.add(Instance::closure(Ok));
        queue
    }

    fn first(queue: &Queue<NamedTensors, NamedTensors>) -> Waiting<NamedTensors, NamedTensors> {
        let (call, instance) = queue.pop(Duration::ZERO).unwrap();
        queue.give_back(instance);
        call
    }

    fn gather(
        samples: usize,
    ) -> impl Fn(&Queue<NamedTensors, NamedTensors>) -> Call<NamedTensors, NamedTensors> {
        let calls = calls(Some(Batching { samples, delay: Duration::ZERO }));
        move |queue| (calls.gather)(queue, first(queue)).unwrap()
    }

    #[test]
    fn requests_that_wait_are_one_call_and_each_gets_its_own_answer() {
        let queue = queue();
        let mut answers: Vec<_> = [&[1.0][..], &[2.0, 3.0], &[4.0], &[5.0]]
            .iter()
            .map(|values| queue.push(request(values), None).ok().unwrap())
            .collect();
        let gather = gather(4);
        let call = gather(&queue);
        assert_eq!(floats(&call.input), [1.0, 2.0, 3.0, 4.0]);
        (call.reply)(Ok(call.input));
        assert_eq!(floats(&answers[1].try_recv().unwrap().unwrap()), [2.0, 3.0]);
        assert_eq!(floats(&answers[2].try_recv().unwrap().unwrap()), [4.0]);
        // The fourth would have made it five samples.
        assert_eq!(floats(&gather(&queue).input), [5.0]);
    }

    #[test]
    fn outputs_without_a_row_for_each_sample_are_an_error_for_all() {
        let queue = queue();
        let mut answers: Vec<_> = (0..2).map(|_| queue.push(request(&[1.0]), None).ok().unwrap()).collect();
        let gather = gather(4);
        let call = gather(&queue);
        (call.reply)(Ok(request(&[1.0])));
        for answer in &mut answers {
            let error = answer.try_recv().unwrap().unwrap_err();
            assert!(error.message.contains("cannot be batched"), "{error}");
        }
    }
}
