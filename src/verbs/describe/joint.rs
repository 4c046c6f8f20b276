//! The page of a JointInferenceService: how it does, what it is made of, where it answers, and its last rollout.

use sedge_api::resources::{
    JointInferenceService, Latency, NodeSelection, PinnedArtifact, PinnedSide, ServingEndpoint,
};

use super::page::{Page, pairs};
use super::{Surroundings, job};
use crate::age;
use crate::columns::{counted, decimal};
use crate::screen;
use crate::table::{Cell, Table};

pub fn describe(page: &mut Page, service: &JointInferenceService, around: &Surroundings) {
    let status = service.status.clone().unwrap_or_default();
    page.state("Phase", status.phase.word(), status.reason.as_deref());
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    page.field("Message", ready.map(|ready| ready.message.clone()).unwrap_or_default());
    page.field("Revision", status.revision.map(|revision| revision.to_string()).unwrap_or_default());
    if let Some(edges) = &status.edges {
        page.field(
            "Edges",
            format!("{} of {} answer, {} instances", edges.ready, edges.wanted, edges.instances),
        );
    }
    if let Some(requests) = status.requests {
        let rate = status.requests_per_second.unwrap_or_default();
        let trouble = (status.failed.unwrap_or_default(), status.refused.unwrap_or_default());
        page.field(
            "Requests",
            format!("{} ({rate} a second), {} failed, {} refused", counted(requests), trouble.0, trouble.1),
        );
    }
    page.field(
        "Hard",
        status.hard_share.map(|share| format!("{} of samples", percent(share))).unwrap_or_default(),
    );
    page.field("Latency", status.latency.as_ref().map(latency).unwrap_or_default());
    if let Some(offload) = &status.offload {
        let twice = match offload.hedges {
            0 => String::new(),
            hedges => format!(", {} sent twice", counted(hedges)),
        };
        page.field(
            "Asked cloud",
            format!("{} times, {} without an answer{twice}", counted(offload.requests), offload.failures),
        );
    }
    spec(page, service);
    if let Some(rollout) = &status.rollout {
        page.section("Last rollout");
        page.field("  Revision", rollout.revision.to_string());
        page.state("  State", rollout.state.word(), rollout.reason.as_deref());
        page.field("  Why", rollout.message.as_deref().unwrap_or_default());
        page.field("  At", format!("{} ago", age::since(rollout.at.0, page.now)));
        page.field(
            "  Before it",
            status.previous.map(|p| format!("revision {}", p.revision)).unwrap_or_default(),
        );
    }
    page.conditions(&status.conditions);
    endpoints(page, &status.endpoints);
    job::workers(page, &around.workers);
}

fn spec(page: &mut Page, service: &JointInferenceService) {
    let spec = &service.spec;
    let pins = service.status.as_ref().and_then(|status| status.current.as_ref());
    let runs = |plugin: String, model: Option<String>, pins: Option<&PinnedSide>| {
        let digest = |pin: Option<&PinnedArtifact>| {
            pin.map(|pin| screen::styled(&format!(" ({})", pin.digest.short()), screen::DIM))
                .unwrap_or_default()
        };
        let plugin = format!("{plugin}{}", digest(pins.map(|pins| &pins.plugin)));
        let model =
            model.map(|model| format!(", {model}{}", digest(pins.and_then(|pins| pins.model.as_ref()))));
        format!("{plugin}{}", model.unwrap_or_default())
    };
    page.section("Service");
    let edge = &spec.edge;
    let name = |model: &Option<sedge_api::ArtifactRef>| model.as_ref().map(ToString::to_string);
    page.field("  Edge", runs(edge.plugin.to_string(), name(&edge.model), pins.map(|pins| &pins.edge)));
    page.field("    with", pairs(Some(&edge.parameters)));
    page.field("    on", nodes(&edge.nodes));
    if let Some(cloud) = &spec.cloud {
        let pins = pins.and_then(|pins| pins.cloud.as_ref());
        page.field("  Cloud", runs(cloud.plugin.to_string(), name(&cloud.model), pins));
        page.field("    with", pairs(Some(&cloud.parameters)));
        let node = service.status.as_ref().and_then(|status| status.cloud_node.clone());
        page.field("    on", node.unwrap_or_else(|| "no node yet".to_owned()));
        let again = spec.offload.hedge_after.map(|after| format!(", once more after {after}"));
        page.field("    within", format!("{}{}", spec.offload.deadline, again.unwrap_or_default()));
    }
    if let Some(mining) = &spec.hard_example_mining {
        let plugin = mining.plugin.as_ref().map(ToString::to_string);
        let miner = mining.miner.map(|miner| miner.word().to_owned()).or(plugin).unwrap_or_default();
        page.field("  Miner", miner);
        page.field("    with", pairs(Some(&mining.parameters)));
        page.field("    keeps in", mining.keep.as_ref().map(|keep| keep.dataset.clone()).unwrap_or_default());
    }
    page.field(
        "  Rollout",
        format!(
            "{} probes; watched for {}, up to {} may fail",
            spec.rollout.probes.len(),
            spec.rollout.probation,
            percent(spec.rollout.error_budget)
        ),
    );
}

fn endpoints(page: &mut Page, endpoints: &[ServingEndpoint]) {
    let mut table = Table::new([
        "NODE",
        "SIDE",
        "STATE",
        "URL",
        "REV",
        "MODEL",
        "INST",
        "REQUESTS",
        "HARD",
        "P50/P90/P99 MS",
        "BREAKER",
    ]);
    for endpoint in endpoints {
        let state =
            if endpoint.ready { "Ready".to_owned() } else { endpoint.reason.clone().unwrap_or_default() };
        let version = endpoint.model.or(endpoint.plugin).map(|digest| digest.short()).unwrap_or_default();
        let times =
            endpoint.latency.as_ref().map(|l| format!("{}/{}/{}", l.p50_millis, l.p90_millis, l.p99_millis));
        table.row(vec![
            Cell::new(&endpoint.node),
            Cell::new(endpoint.role.word()),
            Cell::new(state),
            Cell::new(endpoint.url.clone().unwrap_or_default()).style(screen::CYAN),
            Cell::number(endpoint.revision.map(|revision| revision.to_string()).unwrap_or_default()),
            Cell::new(version).style(screen::DIM),
            Cell::number(endpoint.instances.to_string()),
            Cell::number(counted(endpoint.requests)),
            Cell::number(endpoint.hard_share.map(percent).unwrap_or_default()),
            Cell::number(times.unwrap_or_default()),
            Cell::new(endpoint.breaker.map(|breaker| breaker.word()).unwrap_or_default()),
        ]);
    }
    page.table(&format!("Endpoints ({})", endpoints.len()), table);
}

fn nodes(selection: &NodeSelection) -> String {
    let names = selection.names.iter().cloned();
    let selector = selection.selector.as_ref();
    let labels = selector.and_then(|selector| selector.match_labels.as_ref()).into_iter().flatten();
    let labels = labels.map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.and_then(|selector| selector.match_expressions.as_ref()).into_iter().flatten();
    let expressions = expressions.map(|e| {
        format!("{} {} ({})", e.key, e.operator, e.values.clone().unwrap_or_default().join(","))
            .replace(" ()", "")
    });
    names.chain(labels).chain(expressions).collect::<Vec<_>>().join(", ")
}

fn latency(latency: &Latency) -> String {
    let Latency { p50_millis, p90_millis, p99_millis } = latency;
    format!("{p50_millis} ms (p50), {p90_millis} ms (p90), {p99_millis} ms (p99)")
}

fn percent(share: f64) -> String {
    format!("{} %", decimal(share * 100.0))
}
