//! The Python way: `python/serving.py` as an edge or a cloud.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Server;
use crate::bench::tensors;

/// A process of `python/serving.py`, ended when this is dropped.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    started: Instant,
}

impl Peer {
    /// Start it: with a model, and a cloud that it asks.
    pub fn start(python: &Path, model: Option<&Path>, cloud: Option<SocketAddr>) -> Result<Self> {
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

    /// As others are loaded.
    pub fn server(&self) -> Server {
        Server { process: self.process.id(), address: self.address, started: self.started }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
