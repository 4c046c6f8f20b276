//! What joint inference costs, and what it costs the ordinary Python way: FastAPI, uvicorn and onnxruntime for edge and
//! cloud, aiohttp between them.
//!
//! ```text
//!  load ──HTTP──▶ edge: `sedge node`        ──▶ proxy, delays ──▶ cloud: `sedge node`
//!   │             edge: python/serving.py   ──▶ proxy, delays ──▶ cloud: python/serving.py
//!   └─▶ rows: median, p99, answers in a second, memory, start to first answer
//! ```
//! Both answer the same held-out digits, one a request in JSON, with the models of `tests/data/digits-joint`, an edge and
//! a cloud of one process each. "Always cloud" is by way of the edge: Sedge's edge computes too, Python's has no model.

mod load;
mod proxy;

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use load::Load;
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

/// Measure and add the rows.
///
/// The Python packages, some hundred megabytes, are fetched only where `fetch` says so; without them there are Sedge's
/// rows alone.
pub fn measure(built: &Built, fetch: bool, rows: &mut Rows) -> Result<()> {
    let data = shell::root().join("tests/data");
    let bodies = requests(&data.join("digits.csv"))?;
    for delay in DELAYS {
        shell::say("Measuring", format!("joint inference, link {} ms each way", delay.as_millis()));
        sedge(built, delay, &bodies, rows)?;
    }
    match tensors::venv("serving", fetch) {
        Ok(python) => peer(&python, &data, &bodies, rows),
        Err(error) if !fetch => {
            shell::say("Skipping", format!("joint inference the Python way: {error:#}"));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Sedge's rows: an edge and a cloud that answers by way of a link of that delay.
fn sedge(built: &Built, delay: Duration, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<()> {
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
    let modes = [("edge only", "miner: never"), ("cascade", miner), ("always cloud", "miner: always")];
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
        report(&what, &server, bodies, rows)?;
    }
    rows.add(
        format!("Sedge, cloud, link {} ms each way: memory at most", delay.as_millis()),
        memory(platform.node("cloud")?.id())?,
        "MB",
    );
    Ok(())
}

/// The same the Python way.
fn peer(python: &Path, data: &Path, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<()> {
    let (small, large) = (data.join("digits-joint/small"), data.join("digits-joint/large"));
    shell::say("Measuring", "joint inference the Python way");

    let edge = Peer::start(python, Some(&small), None)?;
    report("Python, edge only", &edge.server(), bodies, rows)?;
    drop(edge);
    let cloud = Peer::start(python, Some(&large), None)?;
    for delay in DELAYS {
        let link = Proxy::start(cloud.address, delay)?;
        for (mode, model) in [("cascade", Some(&small)), ("always cloud", None)] {
            let edge = Peer::start(python, model.map(PathBuf::as_path), Some(link.address()))?;
            let what = format!("Python, {mode}, link {} ms each way", delay.as_millis());
            report(&what, &edge.server(), bodies, rows)?;
        }
    }
    rows.add("Python, cloud: memory at most", memory(cloud.process.id())?, "MB");
    Ok(())
}

/// A process that answers.
struct Server {
    process: u32,
    address: SocketAddr,
    started: Instant,
}

/// All figures of one server that is loaded.
fn report(what: &str, server: &Server, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<()> {
    let load =
        |concurrency, duration| Load { address: server.address, path: PATH, bodies, concurrency, duration };
    // The first answer comes while nothing is warm.
    loop {
        match load(1, Duration::from_millis(1)).run() {
            Ok(measured) if measured.failed == 0 => break,
            Ok(_) | Err(_) if server.started.elapsed() < PATIENCE => thread::sleep(LOOK),
            outcome => {
                outcome.with_context(|| format!("{what}: the first request"))?;
                bail!("{what}: the first request is refused");
            }
        }
    }
    rows.add(format!("{what}: start to first answer"), server.started.elapsed().as_secs_f64() * 1e3, "ms");
    for concurrency in CONCURRENCY {
        let measured = load(concurrency, DURATION).run().with_context(|| what.to_owned())?;
        ensure!(measured.failed == 0, "{what}: {} requests failed", measured.failed);
        let micros = |share| measured.percentile(share).map(|latency| latency.as_secs_f64() * 1e6);
        let (median, p99) = micros(0.5).zip(micros(0.99)).with_context(|| format!("{what}: no answer"))?;
        let row = rows.add(format!("{what}, {concurrency} at once"), median, "µs").p99(p99);
        if what == EDGE && concurrency == 1 {
            row.aim(EDGE_AIM_MICROS);
        }
        rows.add(format!("{what}, {concurrency} at once: answers"), measured.throughput(), "/s");
    }
    rows.add(format!("{what}: memory at most"), memory(server.process)?, "MB");
    Ok(())
}

/// A process of `python/serving.py`, ended when this is dropped.
#[derive(Debug)]
struct Peer {
    process: Child,
    address: SocketAddr,
    started: Instant,
}

impl Peer {
    fn start(python: &Path, model: Option<&Path>, cloud: Option<SocketAddr>) -> Result<Self> {
        let mut command = Command::new(python);
        command.arg(tensors::script("serving.py")).args(model).stdout(Stdio::piped());
        if let Some(cloud) = cloud {
            command.arg("--cloud").arg(format!("http://{cloud}"));
        }
        let started = Instant::now();
        let process = command.spawn().with_context(|| format!("cannot start {}", python.display()))?;
        let mut peer = Self { process, address: (Ipv4Addr::LOCALHOST, 0).into(), started };
        let mut port = String::new();
        if let Some(stdout) = peer.process.stdout.take() {
            BufReader::new(stdout).read_line(&mut port)?;
        }
        peer.address.set_port(port.trim().parse().context("serving.py ended before it listened")?);
        Ok(peer)
    }

    fn server(&self) -> Server {
        Server { process: self.process.id(), address: self.address, started: self.started }
    }
}

/// The most memory that a process held, in MB.
fn memory(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    most_memory(&status).with_context(|| format!("{path} does not say VmHWM"))
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
    fn memory_is_what_the_kernel_says() {
        assert_eq!(most_memory("VmPeak:\t 9 kB\nVmHWM:\t    1000 kB\n"), Some(1.024));
        assert_eq!(most_memory("VmPeak:\t 9 kB\n"), None);
    }
}
