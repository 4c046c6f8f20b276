//! Participants and seats over real loopback connections: what is whole is heard, what is not is refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sedge_api::federation::aggregator_message::Message as Down;
use sedge_api::federation::federation_client::FederationClient;
use sedge_api::federation::participant_message::Message as Up;
use sedge_api::federation::{
    AggregatorMessage, Failure, Hello, PROTOCOL, ParticipantMessage, ParticipantRole, Report, Update,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, Streaming};

use super::connection::{Event, Kind, Order, Work};
use super::payload::Payload;
use super::rounds::{Round, Terms, Verdict};
use super::seats::{Happened, Seats};
use super::service::{Door, Federation};

/// Nothing here takes that long unless it never comes.
const LONG: Duration = Duration::from_secs(20);
/// More than one chunk.
const WEIGHTS: usize = 1_500_000;

struct Stage {
    address: String,
    federation: Federation,
    seats: Seats,
    _shutdown: DropGuard,
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Stage {
    async fn set(trainers: &[&str], evaluators: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (federation, shutdown) = (Federation::default(), CancellationToken::new());
        let (door, guests) = Door::open();
        federation.set("job", "aggregator", "secret", door);
        let served = (federation.clone(), shutdown.clone());
        tokio::spawn(async move { served.0.serve(listener, served.1).await });
        let seats = Seats::new(guests, names(trainers), names(evaluators));
        Self { address, federation, seats, _shutdown: shutdown.drop_guard() }
    }

    async fn next(&mut self) -> Happened {
        timeout(LONG, self.seats.next(None)).await.expect("something happens")
    }

    async fn said(&mut self) -> (String, Event) {
        loop {
            if let Happened::Said(name, event) = self.next().await {
                return (name, event);
            }
        }
    }

    /// Seat participants, one after the other.
    async fn join(&mut self, names: &[&str]) -> Vec<Peer> {
        let mut peers = Vec::new();
        for name in names {
            let role =
                if name.starts_with("eval") { ParticipantRole::Evaluator } else { ParticipantRole::Trainer };
            let mut peer = Peer::dial(&self.address, hello(name, role, "secret")).await.unwrap();
            assert!(matches!(self.next().await, Happened::Seated));
            assert!(matches!(peer.hear().await, Down::Accepted(_)));
            peers.push(peer);
        }
        peers
    }

    fn invite(&mut self, number: u32, payload: &Payload) {
        let terms = Terms { minimum: 1, fraction: 1.0, deadline: LONG };
        let round = Round::new(terms, self.seats.trainers(), std::time::Instant::now());
        self.seats.invite(round, order(Kind::Train, number, payload));
    }
}

fn order(kind: Kind, round: u32, payload: &Payload) -> Order {
    let deadline = Instant::now() + LONG;
    Order::Work(Arc::new(Work { kind, round, rounds: 9, deadline, payload: payload.clone() }))
}

fn hello(worker: &str, role: ParticipantRole, token: &str) -> Hello {
    Hello {
        protocol: PROTOCOL,
        job_uid: "job".to_owned(),
        worker: worker.to_owned(),
        node: "node".to_owned(),
        role: role.into(),
        token: token.to_owned(),
    }
}

fn weights() -> Payload {
    let bytes: Vec<u8> = (0..WEIGHTS).map(|n| (n % 251) as u8).collect();
    Payload::new(vec![Bytes::from(bytes)])
}

/// A participant by hand.
struct Peer {
    outbound: mpsc::Sender<ParticipantMessage>,
    inbound: Streaming<AggregatorMessage>,
}

impl Peer {
    async fn dial(address: &str, hello: Hello) -> Result<Self, Status> {
        let mut client = FederationClient::connect(address.to_owned()).await.unwrap();
        let (outbound, messages) = mpsc::channel(4);
        outbound.send(ParticipantMessage { message: Some(Up::Hello(hello)) }).await.unwrap();
        let inbound = client.join(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { outbound, inbound })
    }

    async fn say(&self, message: Up) {
        self.outbound.send(ParticipantMessage { message: Some(message) }).await.unwrap();
    }

    async fn try_hear(&mut self) -> Result<Down, Status> {
        let message = timeout(LONG, self.inbound.message()).await.expect("something is said")?;
        Ok(message.expect("the stream goes on").message.unwrap())
    }

    async fn hear(&mut self) -> Down {
        self.try_hear().await.unwrap()
    }

    /// Hear an order for training to its end: its round and its payload, verified.
    async fn order(&mut self) -> (u32, Vec<u8>) {
        let Down::Train(train) = self.hear().await else { panic!("not an order to train") };
        let mut payload = Vec::new();
        loop {
            match self.hear().await {
                Down::Chunk(chunk) => payload.extend_from_slice(&chunk),
                Down::Checksum(checksum) => {
                    assert_eq!(checksum, Payload::new(vec![payload.clone().into()]).checksum());
                    assert_eq!(payload.len() as u64, train.bytes);
                    return (train.round, payload);
                }
                other => panic!("not part of an order: {other:?}"),
            }
        }
    }

    async fn announce(&self, round: u32, samples: u64, payload: &Payload) {
        self.say(Up::Update(Update { round, samples, metrics: Vec::new(), bytes: payload.len() })).await;
    }

    /// Hear whether the update announced is wanted; Err: why not.
    async fn granted(&mut self, round: u32) -> Result<(), String> {
        loop {
            match self.hear().await {
                Down::Grant(grant) if grant.round == round => return Ok(()),
                Down::Rejected(rejected) => return Err(rejected.reason),
                _ => {}
            }
        }
    }

    /// Announce an update and send it once it is granted.
    async fn update(&mut self, round: u32, samples: u64, payload: &Payload) {
        self.announce(round, samples, payload).await;
        self.granted(round).await.unwrap();
        self.send(payload).await;
    }

    async fn send(&self, payload: &Payload) {
        for chunk in payload.chunks() {
            self.say(Up::Chunk(chunk)).await;
        }
        self.say(Up::Checksum(payload.checksum())).await;
    }

    async fn rejection(&mut self) -> String {
        loop {
            if let Down::Rejected(rejected) = self.hear().await {
                return rejected.reason;
            }
        }
    }
}

#[tokio::test]
async fn weights_go_down_and_updates_come_up_whole() {
    let mut stage = Stage::set(&["a", "b"], &[]).await;
    let mut peers = stage.join(&["a", "b"]).await;
    let payload = weights();
    stage.invite(1, &payload);
    for peer in &mut peers {
        let (round, received) = peer.order().await;
        assert_eq!((round, received), (1, payload.chunks().collect::<Vec<_>>().concat()));
        peer.update(1, 10, &payload).await;
    }
    let mut heard = BTreeSet::new();
    for _ in 0..2 {
        let (name, event) = stage.said().await;
        let Event::Update { round: 1, samples: 10, mut safetensors, .. } = event else {
            panic!("not an update")
        };
        assert_eq!(safetensors.as_mut_slice(), payload.chunks().collect::<Vec<_>>().concat());
        stage.seats.folded(&name, 10);
        heard.insert(name);
    }
    assert_eq!(heard, names(&["a", "b"]));
    assert_eq!(stage.seats.verdict(std::time::Instant::now()), Verdict::Close);
}

#[tokio::test]
async fn an_update_that_is_not_what_was_announced_is_refused_and_named() {
    let mut stage = Stage::set(&["a"], &[]).await;
    let mut peers = stage.join(&["a"]).await;
    let payload = weights();
    stage.invite(1, &payload);
    let peer = &mut peers[0];
    peer.order().await;
    let header = |samples, bytes| Up::Update(Update { round: 1, samples, metrics: Vec::new(), bytes });
    let (whole, chunk) = (payload.len(), payload.chunks().next().unwrap());
    let cases: [(&str, Vec<Up>); 5] = [
        ("no samples", vec![header(0, whole)]),
        ("are taken", vec![header(1, u64::MAX)]),
        ("more than", (0..13).map(|_| Up::Chunk(chunk.clone())).collect()),
        ("bytes arrived", vec![Up::Chunk(chunk.clone()), Up::Checksum(payload.checksum())]),
        ("checksum", payload.chunks().map(Up::Chunk).chain([Up::Checksum(0)]).collect()),
    ];
    for (word, messages) in cases {
        if !matches!(messages[0], Up::Update(_)) {
            peer.say(header(1, whole)).await;
        }
        for message in messages {
            peer.say(message).await;
        }
        let (_, event) = stage.said().await;
        let Event::Refused { round: 1, why } = event else { panic!("{word}: not refused") };
        assert!(why.contains(word), "{word}: {why}");
        assert_eq!(peer.rejection().await, why);
    }
    peer.update(1, 5, &payload).await;
    assert!(matches!(stage.said().await.1, Event::Update { samples: 5, .. }), "the connection goes on");
}

#[tokio::test]
async fn a_participant_that_lost_its_link_is_given_the_round_again() {
    let mut stage = Stage::set(&["a"], &[]).await;
    let mut peers = stage.join(&["a"]).await;
    let payload = weights();
    stage.invite(1, &payload);
    let mut peer = peers.remove(0);
    peer.order().await;
    peer.announce(1, 1, &payload).await;
    peer.say(Up::Chunk(payload.chunks().next().unwrap())).await;
    drop(peer);
    assert!(matches!(stage.next().await, Happened::Seated), "it has left");
    let mut peers = stage.join(&["a"]).await;
    assert_eq!(peers[0].order().await.0, 1);
    peers[0].update(1, 7, &payload).await;
    assert!(matches!(stage.said().await.1, Event::Update { samples: 7, .. }));
}

#[tokio::test]
async fn an_update_for_a_round_that_has_closed_is_rejected_and_not_heard() {
    let mut stage = Stage::set(&["a"], &[]).await;
    let mut peers = stage.join(&["a"]).await;
    let payload = weights();
    stage.invite(1, &payload);
    peers[0].order().await;
    assert_eq!(stage.seats.rest().missing, 1);
    peers[0].announce(1, 10, &payload).await;
    assert_eq!(peers[0].granted(1).await.unwrap_err(), "the round has closed");
    stage.invite(2, &payload);
    assert_eq!(peers[0].order().await.0, 2);
    peers[0].update(2, 11, &payload).await;
    assert!(matches!(stage.said().await.1, Event::Update { round: 2, samples: 11, .. }));
}

#[tokio::test]
async fn a_newer_order_cuts_an_older_one_short() {
    let mut stage = Stage::set(&["a"], &[]).await;
    let mut peers = stage.join(&["a"]).await;
    let huge = Payload::new(vec![Bytes::from(vec![1; 64 << 20])]);
    stage.invite(1, &huge);
    assert!(matches!(peers[0].hear().await, Down::Train(train) if train.round == 1));
    stage.seats.rest();
    stage.invite(2, &weights());
    let mut chunks = 0;
    loop {
        match peers[0].hear().await {
            Down::Chunk(_) => chunks += 1,
            Down::Train(train) => {
                assert_eq!(train.round, 2);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(chunks < huge.chunks().count(), "all of the old weights were sent");
}

#[tokio::test]
async fn at_most_two_updates_are_held_at_once() {
    let all = ["a", "b", "c", "d"];
    let mut stage = Stage::set(&all, &[]).await;
    let mut peers = stage.join(&all).await;
    let payload = weights();
    stage.invite(1, &payload);
    for peer in &mut peers {
        peer.order().await;
    }
    let sending = peers.iter_mut().map(|peer| peer.update(1, 1, &payload));
    let sending = futures::future::join_all(sending);
    let folding = async {
        let mut held = Vec::new();
        for _ in 0..4 {
            // Two are held while the others are held back; each that is let go lets one more come.
            if held.len() == 2 {
                assert_eq!(stage.seats.free_permits(), 0);
                drop(held.remove(0));
            }
            let (_, Event::Update { permit, .. }) = stage.said().await else { panic!("not an update") };
            held.push(permit);
        }
    };
    tokio::join!(sending, folding);
}

#[tokio::test]
async fn who_stalls_half_way_loses_its_turn_to_the_others_and_may_come_again() {
    let all = ["a", "b", "c"];
    let mut stage = Stage::set(&all, &[]).await;
    stage.seats.silence = Duration::from_millis(50);
    let mut peers = stage.join(&all).await;
    let payload = weights();
    stage.invite(1, &payload);
    for peer in &mut peers {
        peer.order().await;
    }
    let mut c = peers.pop().unwrap();
    for peer in &mut peers {
        peer.announce(1, 1, &payload).await;
        peer.granted(1).await.unwrap();
        peer.say(Up::Chunk(payload.chunks().next().unwrap())).await;
    }
    // Both permits are held by those who send no more.
    c.update(1, 3, &payload).await;
    let (name, Event::Update { samples: 3, permit, .. }) = stage.said().await else { panic!("no update") };
    assert_eq!(name, "c");
    drop(permit);
    assert_eq!(peers[0].rejection().await, "its weights came too slowly");
    assert!(stage.seats.awaits("a"), "it is missing, not refused");
    stage.seats.silence = LONG;
    peers[0].update(1, 1, &payload).await;
    let (name, Event::Update { .. }) = stage.said().await else { panic!("no update") };
    assert_eq!(name, "a");
}

#[tokio::test]
async fn a_round_tried_again_gives_up_the_updates_of_the_try_before() {
    let mut stage = Stage::set(&["a"], &[]).await;
    let mut peers = stage.join(&["a"]).await;
    let payload = weights();
    stage.invite(1, &payload);
    peers[0].order().await;
    peers[0].announce(1, 1, &payload).await;
    peers[0].granted(1).await.unwrap();
    assert_eq!(stage.seats.free_permits(), 1);
    stage.invite(1, &payload);
    let freed = async {
        while stage.seats.free_permits() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, freed).await.expect("the permit is free for another");
}

#[tokio::test]
async fn of_two_participants_with_one_name_the_later_has_the_seat() {
    let mut stage = Stage::set(&["a"], &[]).await;
    let mut peers = stage.join(&["a", "a"]).await;
    let (mut later, mut earlier) = (peers.pop().unwrap(), peers.pop().unwrap());
    let payload = weights();
    stage.invite(1, &payload);
    assert!(timeout(LONG, earlier.inbound.message()).await.unwrap().unwrap().is_none(), "it is sent away");
    assert_eq!(later.order().await.0, 1);
    later.update(1, 7, &payload).await;
    assert!(matches!(stage.said().await.1, Event::Update { samples: 7, .. }));
    assert_eq!(stage.seats.trainers(), ["a"]);
}

#[tokio::test]
async fn a_worker_that_ends_late_does_not_close_the_door_of_the_next() {
    let federation = Federation::default();
    let (first, _guests) = Door::open();
    let (second, _guests) = Door::open();
    federation.set("job", "first", "secret", first);
    federation.set("job", "second", "other", second);
    federation.set("job", "first", "secret", Door::Failed("late".to_owned()));
    federation.close("job", "first");
    let hello = |token| hello("a", ParticipantRole::Trainer, token);
    assert!(matches!(federation.door(&hello("other")), Ok(Door::Open(_))));
    assert_eq!(federation.door(&hello("secret")).err().unwrap().code(), Code::Unauthenticated);
    federation.close("job", "second");
    assert_eq!(federation.door(&hello("other")).err().unwrap().code(), Code::NotFound);
}

#[tokio::test]
async fn evaluators_measure_and_failures_are_heard() {
    let mut stage = Stage::set(&["a"], &["eval"]).await;
    let mut peers = stage.join(&["eval", "a"]).await;
    stage.seats.measure(order(Kind::Evaluate, 3, &weights()));
    assert!(matches!(peers[0].hear().await, Down::Evaluate(evaluate) if evaluate.round == 3));
    let metrics = vec![
        sedge_api::node::Metric { name: "accuracy".to_owned(), value: 0.5 },
        sedge_api::node::Metric { name: "loss".to_owned(), value: f64::NAN },
    ];
    peers[0].say(Up::Report(Report { round: 3, samples: 4, metrics })).await;
    let (name, Event::Report { round: 3, samples: 4, metrics }) = stage.said().await else {
        panic!("no report")
    };
    assert_eq!((name.as_str(), metrics.len()), ("eval", 1), "what is not finite is left out");
    let failure =
        Failure { round: 3, reason: "Trapped".to_owned(), message: "x".repeat(5000), r#final: true };
    peers[1].say(Up::Failure(failure)).await;
    let (_, Event::Failure { reason, message, last: true, .. }) = stage.said().await else {
        panic!("no failure")
    };
    assert_eq!((reason.as_str(), message.len()), ("Trapped", 1024));
    stage.seats.lose("a");
    assert!(stage.seats.trainers().is_empty());
}

#[tokio::test]
async fn who_is_not_expected_is_turned_away() {
    let mut stage = Stage::set(&["a"], &[]).await;
    let refused =
        async |hello: Hello| Peer::dial(&stage.address, hello).await.err().map(|status| status.code());
    let good = hello("a", ParticipantRole::Trainer, "secret");
    assert_eq!(
        refused(Hello { token: "guess".to_owned(), ..good.clone() }).await,
        Some(Code::Unauthenticated)
    );
    assert_eq!(refused(Hello { job_uid: "other".to_owned(), ..good.clone() }).await, Some(Code::NotFound));
    assert_eq!(refused(Hello { protocol: 99, ..good.clone() }).await, Some(Code::FailedPrecondition));
    assert_eq!(refused(Hello { role: 0, ..good.clone() }).await, Some(Code::InvalidArgument));
    let mut stranger = Peer::dial(&stage.address, Hello { worker: "z".to_owned(), ..good }).await.unwrap();
    let happened = timeout(LONG, async {
        tokio::join!(stage.seats.next(Some(Instant::now() + Duration::from_millis(200))), stranger.try_hear())
    });
    let (happened, heard) = happened.await.unwrap();
    assert!(matches!(happened, Happened::Time));
    assert_eq!(heard.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn all_are_told_when_the_job_is_over_and_so_is_who_comes_later() {
    let mut stage = Stage::set(&["a", "b"], &[]).await;
    let mut peers = stage.join(&["a", "b"]).await;
    timeout(LONG, stage.seats.dismiss(5)).await.unwrap();
    for peer in &mut peers {
        assert!(matches!(peer.hear().await, Down::Finished(finished) if finished.rounds == 5));
    }
    stage.federation.set("job", "aggregator", "secret", Door::Finished { rounds: 5 });
    let mut late = Peer::dial(&stage.address, hello("a", ParticipantRole::Trainer, "secret")).await.unwrap();
    assert!(matches!(late.hear().await, Down::Accepted(_)));
    assert!(matches!(late.hear().await, Down::Finished(_)));
}
