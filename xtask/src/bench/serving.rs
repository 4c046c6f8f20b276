//! What joint inference costs the ordinary Python way: FastAPI, uvicorn and onnxruntime for edge and cloud, aiohttp
//! between them.
//!
//! ```text
//!  load ──HTTP──▶ edge: python/serving.py ──▶ proxy, delays ──▶ cloud: python/serving.py
//!   └─▶ rows: median, p99, answers in a second, memory, start to first answer
//! ```
//! Both sides answer the held-out digits, one a request, with the models of `tests/data/digits-joint`.

mod load;
mod proxy;

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use load::Load;
use proxy::Proxy;

use super::rows::Rows;
use super::tensors;
use crate::shell;

const PATH: &str = "/v2/models/digits/infer";
const CONCURRENCY: [usize; 3] = [1, 16, 64];
const DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(50)];
const DURATION: Duration = Duration::from_secs(5);
const PIXELS: usize = 64;

/// Measure and add the rows.
///
/// The Python packages, some hundred megabytes, are fetched only where `fetch` says so.
pub fn measure(fetch: bool, rows: &mut Rows) -> Result<()> {
    let python = tensors::venv("serving", fetch)?;
    let data = shell::root().join("tests/data");
    let bodies = requests(&data.join("digits.csv"))?;
    let (small, large) = (data.join("digits-joint/small"), data.join("digits-joint/large"));
    shell::say("Measuring", "joint inference the Python way");

    let edge = Peer::start(&python, Some(&small), None)?;
    report("Python, edge only", &edge, &bodies, rows)?;
    drop(edge);
    let cloud = Peer::start(&python, Some(&large), None)?;
    for delay in DELAYS {
        let link = Proxy::start(cloud.address, delay)?;
        for (mode, model) in [("cascade", Some(&small)), ("always cloud", None)] {
            let edge = Peer::start(&python, model.map(PathBuf::as_path), Some(link.address()))?;
            let what = format!("Python, {mode}, link {} ms each way", delay.as_millis());
            report(&what, &edge, &bodies, rows)?;
        }
    }
    rows.add("Python, cloud: memory at most", cloud.memory()?, "MB");
    Ok(())
}

/// All figures of one server that is loaded.
fn report(what: &str, server: &Peer, bodies: &[Vec<u8>], rows: &mut Rows) -> Result<()> {
    let load =
        |concurrency, duration| Load { address: server.address, path: PATH, bodies, concurrency, duration };
    // The first answer comes while nothing is warm.
    load(1, Duration::from_millis(1)).run().with_context(|| format!("{what}: the first request"))?;
    rows.add(format!("{what}: start to first answer"), server.started.elapsed().as_secs_f64() * 1e3, "ms");
    for concurrency in CONCURRENCY {
        let measured = load(concurrency, DURATION).run().with_context(|| what.to_owned())?;
        ensure!(measured.failed == 0, "{what}: {} requests failed", measured.failed);
        let micros = |share| measured.percentile(share).map(|latency| latency.as_secs_f64() * 1e6);
        let (median, p99) = micros(0.5).zip(micros(0.99)).with_context(|| format!("{what}: no answer"))?;
        rows.add(format!("{what}, {concurrency} at once"), median, "µs").p99(p99);
        rows.add(format!("{what}, {concurrency} at once: answers"), measured.throughput(), "/s");
    }
    rows.add(format!("{what}: memory at most"), server.memory()?, "MB");
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

    /// The most memory that it held, in MB.
    fn memory(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        most_memory(&status).with_context(|| format!("{path} does not say VmHWM"))
    }
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
