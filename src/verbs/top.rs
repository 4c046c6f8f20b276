//! `sedge top`: rates and latencies of services by node, again and again in the same place.

use std::time::Duration;

use sedge_api::resources::{JointInferenceService, ServingEndpoint};

use crate::columns::counted;
use crate::screen;
use crate::server::Access;
use crate::services;
use crate::table::{Cell, Table};

/// Between two looks; the manager writes counts no oftener.
const PAUSE: Duration = Duration::from_secs(2);

/// Show rates and latencies of services as they change.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// This service alone
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Show them once, as in a pipe
    #[arg(long)]
    once: bool,
}

/// Show rates and latencies of services as they change.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let once = args.once || !screen::is_terminal();
    let mut lines = 0;
    loop {
        let found = match &args.name {
            Some(name) => vec![services::find(&server, name).await?],
            None => services::all(&server).await?,
        };
        let text = shown(&found, screen::width());
        screen::print(&format!("{}{text}", screen::rewind(lines)))?;
        if once {
            return Ok(());
        }
        lines = text.lines().count();
        tokio::time::sleep(PAUSE).await;
    }
}

fn shown(found: &[JointInferenceService], width: Option<usize>) -> String {
    let heading = [
        "SERVICE", "NODE", "SIDE", "STATE", "REV", "RATE/S", "P50 MS", "P99 MS", "HARD", "INST", "BREAKER",
        "REQUESTS", "FAILED", "REFUSED",
    ];
    let mut table = Table::new(heading);
    for service in found {
        let name = service.metadata.name.clone().unwrap_or_default();
        let endpoints = service.status.iter().flat_map(|status| &status.endpoints);
        endpoints.for_each(|endpoint| table.row(row(&name, endpoint)));
    }
    if table.is_empty() {
        return "No service has a node yet.\n".to_owned();
    }
    table.render(width)
}

fn row(service: &str, endpoint: &ServingEndpoint) -> Vec<Cell> {
    let state = match (&endpoint.reason, endpoint.ready) {
        (_, true) => Cell::new("Ready"),
        (reason, false) => Cell::new(reason.clone().unwrap_or_default()).style(screen::WAITING),
    };
    let millis = |of: fn(&sedge_api::resources::Latency) -> f64| {
        Cell::number(
            endpoint.latency.as_ref().map(|latency| format!("{:.3}", of(latency))).unwrap_or_default(),
        )
    };
    let trouble = |count: u64| {
        let style = if count > 0 { screen::WAITING } else { screen::DIM };
        Cell::number(counted(count)).style(style)
    };
    vec![
        Cell::new(service).style(screen::BOLD),
        Cell::new(&endpoint.node).style(screen::PLAIN),
        Cell::new(endpoint.role.word()),
        state,
        Cell::number(endpoint.revision.map(|revision| revision.to_string()).unwrap_or_default()),
        Cell::number(format!("{:.1}", endpoint.requests_per_second)),
        millis(|latency| latency.p50_millis),
        millis(|latency| latency.p99_millis),
        Cell::number(endpoint.hard_share.map(|share| format!("{:.1} %", share * 100.0)).unwrap_or_default()),
        Cell::number(endpoint.instances.to_string()),
        Cell::new(endpoint.breaker.map(|breaker| breaker.word()).unwrap_or_default()),
        Cell::number(counted(endpoint.requests)),
        trouble(endpoint.failed),
        trouble(endpoint.refused),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_node_has_a_row() {
        let service: JointInferenceService = serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "JointInferenceService",
            "metadata": {"name": "digits"},
            "spec": {"edge": {"plugin": "p:1", "nodes": {"names": ["edge-1"]}}},
            "status": {"endpoints": [
                {"node": "cloud", "role": "cloud", "ready": false, "reason": "Starting"},
                {"node": "edge-1", "role": "edge", "ready": true, "revision": 2, "instances": 1, "requests": 12_345,
                 "requestsPerSecond": 431.25, "failed": 1, "hardShare": 0.4321, "breaker": "Open",
                 "latency": {"p50Millis": 0.061, "p90Millis": 0.1, "p99Millis": 1.5}},
            ]},
        }))
        .unwrap();
        insta::assert_snapshot!(screen::plain(&shown(&[service], None)), @"
        SERVICE   NODE     SIDE    STATE      REV   RATE/S   P50 MS   P99 MS     HARD   INST   BREAKER   REQUESTS   FAILED   REFUSED
        digits    cloud    cloud   Starting            0.0                                 0                    0        0         0
        digits    edge-1   edge    Ready        2    431.2    0.061    1.500   43.2 %      1   Open        12,345        1         0
        ");
        assert_eq!(shown(&[], None), "No service has a node yet.\n");
    }
}
