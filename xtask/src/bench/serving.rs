//! What joint inference costs, and what it costs the ordinary Python way: FastAPI, uvicorn and onnxruntime for edge and
//! cloud, aiohttp between them.
//!
//! ```text
//!  load ──HTTP──▶ edge: `sedge node`        ──▶ proxy, delays ──▶ cloud: `sedge node`
//!   │             edge: python/serving.py   ──▶ proxy, delays ──▶ cloud: python/serving.py
//!   └─▶ rows: median, p99, answers in a second and per second of processor time, memory, start to first answer
//! ```
//! Under load as well: Sedge's edge changes its parameters, and its cloud is killed.
//! Both answer the same held-out digits, one a request in JSON, with the models of `tests/data/digits-joint`, an edge and
//! a cloud of one process each. "Always cloud" is by way of the edge: Sedge's edge computes too, Python's has no model.

mod affinity;
mod echo;
mod load;
mod peer;
mod proxy;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use affinity::Affinity;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use load::Load;
use peer::Peer;
use proxy::Proxy;
use sedge_testbed::{Built, Platform, joint};

use super::rows::Rows;
use super::tensors;
use crate::shell;

const PATH: &str = "/v2/models/digits/infer";
const CONCURRENCY: [usize; 3] = [1, 16, 64];
const DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(50)];
const DURATION: Duration = Duration::from_secs(5);
const PIXELS: usize = 64;
/// How long a start may take, and how often it is looked whether it is over.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);
/// Aim for an edge that answers alone, one request at a time.
const EDGE: &str = "Sedge, edge only";
const EDGE_AIM_MICROS: f64 = 60.0;
/// How many times the Python way's answers per second of processor time we want to reach.
const THROUGHPUT_AIM: f64 = 5.0;
/// Connections while the edge's parameters are changed or the cloud is killed, and how long before and after that.
const BUSY: usize = 16;
const CALM: Duration = Duration::from_secs(4);
/// A change may make the slowest of a hundred requests take so many times what they took before.
const SWAP_AIM: f64 = 2.0;
/// As the example service has it.
const DEADLINE_MILLIS: f64 = 500.0;
/// Ticks of the kernel's account of processor time, in a second.
const TICKS: f64 = 100.0;

/// Measure and add the rows.
///
/// The Python packages, some hundred megabytes, are fetched only where `fetch` says so; without them there are Sedge's
/// rows alone.
pub fn measure(built: &Built, fetch: bool, rows: &mut Rows) -> Result<()> {
    let data = shell::root().join("tests/data");
    let bodies = requests(&data.join("digits.csv"))?;
    let to_beat = match tensors::packages("serving", fetch) {
        Ok(python) => peer(&python, &data, &bodies, rows)?,
        Err(error) if !fetch => {
            shell::say("Skipping", format!("joint inference the Python way: {error:#}"));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    for delay in DELAYS {
        shell::say("Measuring", format!("joint inference, link {} ms each way", delay.as_millis()));
        sedge(built, delay, &bodies, &to_beat, rows)?;
    }
    Ok(())
}

/// Sedge's rows: an edge and a cloud that answers by way of a link of that delay. `to_beat`: answers per core of a Python
/// edge, for each concurrency.
fn sedge(built: &Built, delay: Duration, bodies: &[Vec<u8>], to_beat: &[f64], rows: &mut Rows) -> Result<()> {
    let mut link = None;
    let mut platform = Platform::separate_with(built, 1, |name, port| {
        if name != "cloud" {
            return Ok(Vec::new());
        }
        let proxy = link.insert(Proxy::start((Ipv4Addr::LOCALHOST, port).into(), delay)?);
        Ok(vec!["--serving-advertise".to_owned(), format!("http://{}", proxy.address())])
    })?;
    platform.prepare_joint()?;
    let miner = "miner: cross-entropy\n    parameters: {threshold: 0.7}";
    let modes = [("edge only", "miner: never"), ("always cloud", "miner: always"), ("cascade", miner)];
    let mut always_cloud = Vec::new();
    for (mode, to) in modes {
        // How the edge does without a cloud has nothing to do with the link.
        if mode == "edge only" && !delay.is_zero() {
            continue;
        }
        platform.cli.apply(&joint::service(&[(miner, to)])?)?;
        platform.cli.run(&["rollout", "status", "digits", "--timeout", "1m"])?;
        let what = match mode {
            "edge only" => EDGE.to_owned(),
            _ => format!("Sedge, {mode}, link {} ms each way", delay.as_millis()),
        };
        platform.node("edge-1")?.kill();
        let started = Instant::now();
        platform.start_node("edge-1")?;
        let address = platform.serving_address("edge-1").context("the edge serves")?;
        let server = Server { process: platform.node("edge-1")?.id(), address, started };
        let aims = match mode {
            "edge only" => Aims { per_core: to_beat, ..Aims::default() },
            "cascade" => Aims { medians: &always_cloud, ..Aims::default() },
            _ => Aims::default(),
        };
        let reported = report(&what, &server, bodies, &aims, rows)?;
        match mode {
            "always cloud" => {
                always_cloud = reported.medians;
                rows.add(
                    format!("Sedge, cloud, link {} ms each way: memory at most", delay.as_millis()),
                    memory(platform.node("cloud")?.id())?,
                    "MB",
                );
            }
            "edge only" => {
                one_at_a_time(&server, bodies, rows)?;
                swap(&platform, &server, bodies, rows)?;
            }
            "cascade" if delay.is_zero() => lose_cloud(&mut platform, &server, bodies, rows)?,
            _ => {}
        }
    }
    Ok(())
}

/// One request at a time, beside what loopback takes by itself: wherever the system puts client and server, and both on one
/// core, where nobody waits for another core to wake.
fn one_at_a_time(server: &Server, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<()> {
    let micros = |address: SocketAddr| -> Result<f64> {
        let load = Load { address, path: PATH, bodies, concurrency: 1, duration: DURATION };
        let median = load.run()?.percentile(0.5).context("no answer")?;
        Ok(median.as_secs_f64() * 1e6)
    };
    let mut pair = |what: &str| -> Result<()> {
        let echo = micros(echo::start()?)?;
        let name = format!("{EDGE}, 1 at once, {what}");
        rows.add(name, micros(server.address)?, "µs")
            .limit(echo, "HTTP over loopback alone")
            .aim(EDGE_AIM_MICROS);
        Ok(())
    };
    pair("beside loopback alone")?;
    // Threads begin where the one that starts them may be.
    let here = Affinity::of(std::process::id(), false)?;
    let there = Affinity::of(server.process, true)?;
    here.to("0")?;
    there.to("0")?;
    let measured = pair("both on one core");
    here.back()?;
    there.back()?;
    measured
}

/// The edge's parameters are changed while it is busy.
fn swap(platform: &Platform, server: &Server, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<()> {
    let model = "model: digits-small:1";
    let changed = format!("{model}\n    parameters: {{graph: infer}}");
    let probation = "offload: {";
    let quick = format!("rollout: {{probation: 1s}}\n  {probation}");
    let service = joint::service(&[
        ("miner: cross-entropy\n    parameters: {threshold: 0.7}", "miner: never"),
        (model, &changed),
        (probation, &quick),
    ])?;
    let load = server.load(bodies, BUSY, 2 * CALM);
    let (measured, begun) = thread::scope(|scope| -> Result<_> {
        let loaded = scope.spawn(|| load.run());
        thread::sleep(CALM);
        let begun = Instant::now();
        platform.cli.apply(&service)?;
        platform.cli.run(&["rollout", "status", "digits", "--timeout", "1m"])?;
        let took = begun.elapsed();
        ensure!(took < CALM, "the change took {took:?}, longer than it was measured");
        Ok((loaded.join().map_err(|_| anyhow!("the load panicked"))??, begun))
    })?;
    ensure!(measured.failed == 0, "{} requests failed while the parameters were changed", measured.failed);
    let (before, after) = measured.split(begun);
    let (before, after) = before.percentile(0.99).zip(after.percentile(0.99)).context("answers")?;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    rows.add(format!("{EDGE}, {BUSY} at once, while it changes: p99"), micros(after), "µs")
        .limit(micros(before), "before the change")
        .aim(SWAP_AIM * micros(before));
    Ok(())
}

/// The cloud is killed while the edge is busy, and started again.
fn lose_cloud(platform: &mut Platform, server: &Server, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<()> {
    let load = server.load(bodies, BUSY, 2 * CALM);
    let measured = thread::scope(|scope| -> Result<_> {
        let loaded = scope.spawn(|| load.run());
        thread::sleep(CALM);
        platform.node("cloud")?.kill();
        Ok(loaded.join().map_err(|_| anyhow!("the load panicked"))??)
    })?;
    ensure!(measured.failed == 0, "{} requests failed without the cloud", measured.failed);
    let longest = measured.percentile(1.0).context("answers")?;
    rows.add(
        format!("Sedge, cascade, {BUSY} at once, cloud killed: longest answer"),
        longest.as_secs_f64() * 1e3,
        "ms",
    )
    .aim(DEADLINE_MILLIS);
    platform.start_node("cloud")?;
    Ok(())
}

/// The same the Python way; answers per core of the edge alone, for each concurrency.
fn peer(python: &Path, data: &Path, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<Vec<f64>> {
    let (small, large) = (data.join("digits-joint/small"), data.join("digits-joint/large"));
    shell::say("Measuring", "joint inference the Python way");

    let edge = Peer::start(python, Some(&small), None)?;
    let alone = report("Python, edge only", &edge.server(), bodies, &Aims::default(), rows)?.per_core;
    drop(edge);
    let cloud = Peer::start(python, Some(&large), None)?;
    for delay in DELAYS {
        let link = Proxy::start(cloud.address, delay)?;
        for (mode, model) in [("cascade", Some(&small)), ("always cloud", None)] {
            let edge = Peer::start(python, model.map(PathBuf::as_path), Some(link.address()))?;
            let what = format!("Python, {mode}, link {} ms each way", delay.as_millis());
            report(&what, &edge.server(), bodies, &Aims::default(), rows)?;
        }
    }
    rows.add("Python, cloud: memory at most", memory(cloud.server().process)?, "MB");
    Ok(alone)
}

/// A process that answers.
struct Server {
    process: u32,
    address: SocketAddr,
    started: Instant,
}

impl Server {
    fn load<'a>(&self, bodies: &'a [Vec<u8>], concurrency: usize, duration: Duration) -> Load<'a> {
        Load { address: self.address, path: PATH, bodies, concurrency, duration }
    }
}

/// What others did at each concurrency, of which this is to be ahead; nothing where there is no such aim.
#[derive(Debug, Default)]
struct Aims<'a> {
    /// Answers per core, of which there are to be some times as many.
    per_core: &'a [f64],
    /// Median latencies in µs.
    medians: &'a [f64],
}

/// What one server did at each concurrency.
struct Reported {
    per_core: Vec<f64>,
    medians: Vec<f64>,
}

/// All figures of one server that is loaded.
fn report(
    what: &str,
    server: &Server,
    bodies: &[Vec<u8>],
    aims: &Aims<'_>,
    rows: &mut Rows,
) -> Result<Reported> {
    // The first answer comes while nothing is warm.
    loop {
        match server.load(bodies, 1, Duration::from_millis(1)).run() {
            Ok(measured) if measured.failed == 0 => break,
            Ok(_) | Err(_) if server.started.elapsed() < PATIENCE => thread::sleep(LOOK),
            outcome => {
                outcome.with_context(|| format!("{what}: the first request"))?;
                bail!("{what}: the first request is refused");
            }
        }
    }
    rows.add(format!("{what}: start to first answer"), server.started.elapsed().as_secs_f64() * 1e3, "ms");
    let (mut per_core, mut medians) = (Vec::new(), Vec::new());
    for (at, concurrency) in CONCURRENCY.into_iter().enumerate() {
        let before = processor_time(server.process)?;
        let measured = server.load(bodies, concurrency, DURATION).run().with_context(|| what.to_owned())?;
        let busy = processor_time(server.process)? - before;
        ensure!(measured.failed == 0, "{what}: {} requests failed", measured.failed);
        let micros = |share| measured.percentile(share).map(|latency| latency.as_secs_f64() * 1e6);
        let (median, p99) = micros(0.5).zip(micros(0.99)).with_context(|| format!("{what}: no answer"))?;
        let row = rows.add(format!("{what}, {concurrency} at once"), median, "µs").p99(p99);
        if what == EDGE && concurrency == 1 {
            row.aim(EDGE_AIM_MICROS);
        } else if let Some(to_beat) = aims.medians.get(at) {
            row.aim(*to_beat);
        }
        medians.push(median);
        rows.add(format!("{what}, {concurrency} at once: answers"), measured.throughput(), "/s");
        // The load before what is counted is a tenth of it.
        let answers = measured.answers() * 1.1;
        per_core.push(answers / busy.max(1.0 / TICKS));
        let row = rows.add(format!("{what}, {concurrency} at once: answers per core"), per_core[at], "/s");
        if let Some(peer) = aims.per_core.get(at) {
            row.at_least(THROUGHPUT_AIM * peer);
        }
    }
    rows.add(format!("{what}: memory at most"), memory(server.process)?, "MB");
    Ok(Reported { per_core, medians })
}

/// Seconds of processor time that a process has used.
fn processor_time(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    ticks(&stat).map(|ticks| ticks / TICKS).with_context(|| format!("{path} does not say utime and stime"))
}

/// `utime` and `stime` of `/proc/PID/stat`, the fourteenth and fifteenth of its fields; the second is a name in brackets.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?)
}

/// The most memory that a process held, in MB.
fn memory(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    most_memory(&status).with_context(|| format!("{path} does not say VmHWM"))
}

/// `VmHWM` of `/proc/PID/status`, in MB.
fn most_memory(status: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0 / 1e6)
}

/// A request for each held-out digit, every fourth row: the last column is the label.
fn requests(digits: &Path) -> Result<Vec<Vec<u8>>> {
    let text =
        std::fs::read_to_string(digits).with_context(|| format!("cannot read {}", digits.display()))?;
    text.lines().skip(1).skip(3).step_by(4).map(request).collect()
}

fn request(row: &str) -> Result<Vec<u8>> {
    let pixels: Vec<f32> = row.split(',').take(PIXELS).map(str::parse).collect::<Result<_, _>>()?;
    ensure!(pixels.len() == PIXELS, "a digit of {} pixels", pixels.len());
    let input = serde_json::json!({"name": "x", "shape": [1, PIXELS], "datatype": "FP32", "data": pixels});
    Ok(serde_json::to_vec(&serde_json::json!({"inputs": [input]}))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_out_digits_are_asked_one_by_one() {
        let requests = requests(&shell::root().join("tests/data/digits.csv")).unwrap();
        assert_eq!(requests.len(), 449);
        let first: serde_json::Value = serde_json::from_slice(&requests[0]).unwrap();
        assert_eq!(first["inputs"][0]["data"].as_array().unwrap().len(), PIXELS);
    }

    #[test]
    fn processor_time_is_what_the_kernel_says() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 9 0 1000 1 2";
        assert_eq!(ticks(stat), Some(175.0));
        assert_eq!(ticks("12 (sedge) S 1"), None);
    }

    #[test]
    fn memory_is_what_the_kernel_says() {
        assert_eq!(most_memory("VmPeak:\t 9 kB\nVmHWM:\t    1000 kB\n"), Some(1.024));
        assert_eq!(most_memory("VmPeak:\t 9 kB\n"), None);
    }
}
