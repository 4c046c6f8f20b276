//! The cloud is a server of the protocol; between it and who asks lies a link that holds up some connections.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;

use futures::future::BoxFuture;
use sedge_api::Digest;
use tokio::net::{TcpListener, TcpStream};

use super::super::endpoint::{
    Answer, AnsweredBy, Endpoint, Metadata, Request, ServeError, ServeErrorKind, Services, Versions,
};
use super::super::protocol::{Limits, serve};
use super::super::threads::Threads;
use super::*;
use crate::nn::{Graphs, Tensor};

/// Longer than a test takes on a slow machine.
const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(10);

/// Answers with the request, but never the first `hangs` requests; the next `refusals` it refuses.
#[derive(Default)]
struct Echo {
    hangs: usize,
    refusals: usize,
    asked: AtomicUsize,
    hanging: Arc<AtomicUsize>,
}

struct Hanging(Arc<AtomicUsize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn versions() -> Versions {
    Versions { plugin: Digest::of(b"plugin"), model: None }
}

impl Endpoint for Echo {
    fn metadata(&self) -> Arc<Metadata> {
        Arc::new(Metadata { versions: versions(), inputs: Vec::new(), outputs: Vec::new() })
    }

    fn ready(&self) -> bool {
        true
    }

    fn infer(&self, request: Request) -> BoxFuture<'_, Result<Answer, ServeError>> {
        Box::pin(async move {
            let at = self.asked.fetch_add(1, Ordering::SeqCst);
            if at < self.hangs {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                let _hanging = Hanging(Arc::clone(&self.hanging));
                std::future::pending::<()>().await;
            }
            if at < self.hangs + self.refusals {
                return Err(ServeError::new(ServeErrorKind::Overloaded, "the queue is full"));
            }
            let answered_by = AnsweredBy::Cloud;
            Ok(Answer { outputs: request.inputs, answered_by, hard: Vec::new(), versions: versions() })
        })
    }
}

/// A cloud on a free port.
async fn cloud(echo: Echo) -> (SocketAddr, Arc<Echo>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (services, echo) = (Services::default(), Arc::new(echo));
    services.put("digits", Arc::clone(&echo) as Arc<dyn Endpoint>);
    let threads = Threads::start(1, &Arc::new(Graphs::new(1))).unwrap();
    tokio::spawn(serve(listener, services, threads, Limits::default(), CancellationToken::new()));
    (address, echo)
}

/// A link to `cloud` whose first connection goes nowhere.
async fn link(cloud: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (_held_up, _) = listener.accept().await.unwrap();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(cloud).await.unwrap();
                // Whoever closes it first ends it.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

fn asking(address: SocketAddr, deadline: Duration, hedge_after: Option<Duration>, rates: Rates) -> Cloud {
    let cloud = Cloud::new("digits");
    let endpoint = format!("http://{address}");
    let policy =
        Policy { endpoint, deadline, hedge_after, rates, sends_outputs: false, fails_without_cloud: false };
    cloud.set(Some(policy)).unwrap();
    cloud
}

async fn ask(cloud: &Cloud) -> Result<Vec<f32>, Unanswered> {
    let x = Tensor::from_vec(&[1, 2], vec![1f32, 2.0]).unwrap();
    let answer = cloud.ask(vec![("x".to_owned(), x)], None).await?;
    Ok(answer[0].1.as_slice::<f32>().unwrap().to_vec())
}

#[tokio::test]
async fn a_connection_that_is_held_up_costs_the_time_to_the_second_request() {
    let (address, echo) = cloud(Echo::default()).await;
    let cloud = asking(link(address).await, LONG, Some(SOON), Rates::default());
    assert_eq!(ask(&cloud).await, Ok(vec![1.0, 2.0]));
    assert_eq!((cloud.hedges(), echo.asked.load(Ordering::SeqCst)), (1, 1), "the first never came");
    assert_eq!(cloud.breaker(), State::Closed);
}

#[tokio::test]
async fn the_request_that_is_not_answered_first_is_given_up() {
    let (address, echo) = cloud(Echo { hangs: 1, ..Echo::default() }).await;
    let cloud = asking(address, LONG, Some(SOON), Rates::default());
    assert_eq!(ask(&cloud).await, Ok(vec![1.0, 2.0]));
    assert_eq!((cloud.hedges(), echo.asked.load(Ordering::SeqCst)), (1, 2));
    let given_up = async {
        while echo.hanging.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, given_up).await.unwrap();
}

#[tokio::test]
async fn what_is_answered_soon_is_sent_once_and_so_is_all_without_hedging() {
    let (address, echo) = cloud(Echo::default()).await;
    let cloud = asking(address, LONG, Some(LONG / 2), Rates::default());
    ask(&cloud).await.unwrap();
    assert_eq!((cloud.hedges(), echo.asked.load(Ordering::SeqCst)), (0, 1));

    let (address, echo) = self::cloud(Echo { hangs: 1, ..Echo::default() }).await;
    let cloud = asking(address, 5 * SOON, None, Rates::default());
    assert_eq!(ask(&cloud).await, Err(Unanswered::TimedOut));
    assert_eq!((cloud.hedges(), echo.asked.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(cloud.breaker(), State::Open);
}

#[tokio::test]
async fn a_second_request_counts_against_the_budget() {
    let (address, echo) = cloud(Echo { hangs: 1, ..Echo::default() }).await;
    // Spent by the first.
    let once = Rates { per_second: Some(1e-3), share: None };
    let cloud = asking(address, 5 * SOON, Some(SOON), once);
    assert_eq!(ask(&cloud).await, Err(Unanswered::TimedOut));
    assert_eq!((cloud.hedges(), echo.asked.load(Ordering::SeqCst)), (0, 1));

    let (address, _) = self::cloud(Echo { hangs: 1, ..Echo::default() }).await;
    let twice = Rates { per_second: Some(2.0), share: None };
    let cloud = asking(address, LONG, Some(SOON), twice);
    ask(&cloud).await.unwrap();
    assert_eq!(cloud.hedges(), 1);
}

#[tokio::test]
async fn where_neither_is_answered_the_first_ones_failure_counts() {
    // The first hangs until the deadline, the second is refused.
    let (address, _) = cloud(Echo { hangs: 1, refusals: 1, ..Echo::default() }).await;
    let cloud = asking(address, 20 * SOON, Some(SOON), Rates::default());
    assert_eq!(ask(&cloud).await, Err(Unanswered::TimedOut));
    assert_eq!((cloud.hedges(), cloud.breaker()), (1, State::Open));
}
