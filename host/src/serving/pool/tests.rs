use futures::FutureExt as _;

use super::*;
use crate::runtime::Metric;

struct Silent;

impl Observer for Silent {
    fn log(&self, _: &str) {}
    fn progress(&self, _: u64, _: u64, _: &[Metric]) {}
    fn should_stop(&self) -> bool {
        false
    }
}

/// Instances that double a number, and end at zero. `gate`: none starts while it is locked.
fn doubling(gate: Arc<Mutex<bool>>) -> Start<u32, u32> {
    Box::new(move || {
        let double = |input| match input {
            0 => Err(Failure::new(Reason::Trapped, "zero")),
            1000 => Err(Failure::new(Reason::PluginError, "too large")),
            _ => Ok(input * 2),
        };
        let started = match *gate.lock() {
            true => Ok(Instance::closure(double)),
            false => Err(Failure::new(Reason::PluginError, "not today")),
        };
        std::future::ready(started).boxed()
    })
}

async fn open(sizes: Sizes, start: Start<u32, u32>) -> Pool<u32, u32> {
    let calls = Calls { gather: Box::new(single), alone: |_| true };
    let (graphs, cancel) = (Arc::new(Graphs::new(1)), CancellationToken::new());
    Pool::open(sizes, start, calls, graphs, Arc::new(Silent), cancel).await.unwrap()
}

async fn pool(sizes: Sizes) -> (Pool<u32, u32>, Arc<Mutex<bool>>) {
    let gate = Arc::new(Mutex::new(true));
    (open(sizes, doubling(Arc::clone(&gate))).await, gate)
}

async fn call(pool: &Pool<u32, u32>, input: u32) -> Result<u32, ServeError> {
    pool.call(input, None).await.unwrap_or_else(|_| Err(lost()))
}

#[tokio::test]
async fn an_instance_that_fails_answers_with_its_failure_and_is_replaced() {
    let (pool, _) = pool(Sizes { minimum: 1, maximum: 1, queue: 8 }).await;
    for round in 1..10 {
        assert_eq!(call(&pool, round).await.unwrap(), round * 2);
        let error = call(&pool, 0).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ServeErrorKind::Internal, "Trapped: zero"));
    }
}

#[tokio::test]
async fn while_none_can_be_started_calls_are_refused_with_the_reason() {
    let (pool, gate) = pool(Sizes { minimum: 1, maximum: 1, queue: 8 }).await;
    *gate.lock() = false;
    call(&pool, 0).await.unwrap_err();
    let error = call(&pool, 1).await.unwrap_err();
    assert_eq!(error.kind, ServeErrorKind::Unavailable);
    assert!(error.message.contains("not today"), "{error}");
    *gate.lock() = true;
    while call(&pool, 1).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_pool_that_is_drained_answers_what_it_has_and_gives_back_what_comes() {
    let (pool, _) = pool(Sizes { minimum: 2, maximum: 4, queue: 64 }).await;
    let waiting = futures::future::join_all((1..40).map(|input| call(&pool, input)));
    let (answers, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        pool.drain().await;
    });
    assert!(answers.iter().zip(1..).all(|(answer, input)| answer == &Ok(input * 2)), "{answers:?}");
    assert!(matches!(pool.call(7, None).await, Err(Closed(7))));
    assert_eq!(pool.instances(), 0);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses() {
    let gate: Arc<Mutex<()>> = Arc::default();
    let held = Arc::clone(&gate);
    let start: Start<u32, u32> = Box::new(move || {
        let held = Arc::clone(&held);
        let answer = move |input| {
            drop(held.lock());
            Ok(input)
        };
        std::future::ready(Ok(Instance::closure(answer))).boxed()
    });
    let pool = open(Sizes { minimum: 1, maximum: 1, queue: 2 }, start).await;
    let shut = gate.lock();
    // One may be with the instance and two wait, or one is yet to be taken and two wait.
    let mut answers: Vec<_> = (0..16).map(|input| Box::pin(call(&pool, input))).collect();
    let refused = answers.iter_mut().filter_map(|answer| answer.now_or_never());
    assert!(refused.filter(is_overloaded).count() >= 12);
    drop(shut);
}

fn is_overloaded(answer: &Result<u32, ServeError>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind == ServeErrorKind::Overloaded)
}

/// On a thread for serving, whose executor runs nothing else.
fn on_a_serving_thread<F: Future<Output = ()> + Send + 'static>(body: F) {
    let threads = threads::Threads::start(1, &Arc::new(Graphs::new(1))).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    threads.serve(&mut connections, body);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        connections.join_next().await.unwrap().unwrap();
        threads.end().await;
    });
}

#[test]
fn a_quick_call_is_answered_on_the_thread_it_came_in_on() {
    on_a_serving_thread(async {
        let start: Start<u32, std::thread::ThreadId> = Box::new(|| {
            std::future::ready(Ok(Instance::closure(|_| Ok(std::thread::current().id())))).boxed()
        });
        let (graphs, cancel) = (Arc::new(Graphs::new(1)), CancellationToken::new());
        let calls = Calls { gather: Box::new(single), alone: |input| *input < 2 };
        let sizes = Sizes { minimum: 1, maximum: 1, queue: 8 };
        let pool = Pool::open(sizes, start, calls, graphs, Arc::new(Silent), cancel).await.unwrap();
        let here = std::thread::current().id();
        let call = async |input| pool.call(input, None).await.ok().unwrap().unwrap();
        // Nothing is known yet.
        assert_ne!(call(1).await, here);
        while call(1).await != here {}
        assert_ne!(call(2).await, here, "it is to be answered with others");
        pool.drain().await;
    });
}

#[test]
fn an_instance_that_fails_where_the_call_came_in_is_replaced() {
    on_a_serving_thread(async {
        let (pool, _) = pool(Sizes { minimum: 1, maximum: 2, queue: 8 }).await;
        for input in 1..100 {
            assert_eq!(call(&pool, input).await.unwrap(), input * 2);
            assert_eq!(call(&pool, 1000).await.unwrap_err().message, "PluginError: too large");
            let error = call(&pool, 0).await.unwrap_err();
            assert_eq!(error.message, "Trapped: zero");
        }
        pool.drain().await;
    });
}
