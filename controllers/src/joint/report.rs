//! A service's status from its Workers' statuses: endpoints, totals, and a word for the whole. Called by `decide`.

use sedge_api::resources::{
    EdgeCount, EdgeNode, JointInferenceServiceStatus, Latency, OffloadCount, ServicePhase, ServingEndpoint,
    ServingReport, ServingSide, Worker,
};

use super::place::endpoint;
use super::rollout::has_undone;
use crate::jobs::{failure, in_touch, phase};

/// Endpoints that a status has in full.
const ENDPOINTS: usize = 100;
/// Names that a sentence has.
const NAMED: usize = 3;

/// A node that is to serve, and what serves on it.
pub(super) struct Place<'a> {
    pub name: String,
    pub side: ServingSide,
    pub node: Option<&'a EdgeNode>,
    pub worker: Option<&'a Worker>,
}

impl Place<'_> {
    fn report(&self) -> Option<&ServingReport> {
        self.worker?.status.as_ref()?.serving.as_ref()
    }

    /// Why it does not answer; none where it does.
    fn reason(&self) -> Option<String> {
        let word = |word: &str| Some(word.to_owned());
        let Some(node) = self.node else { return word("NodeNotFound") };
        let Some(worker) = self.worker else {
            return word(match endpoint(node) {
                None => "NodeDoesNotServe",
                Some(_) if node.spec.unschedulable => "NodeUnschedulable",
                Some(_) => "NotDeclared",
            });
        };
        if !in_touch(node) {
            return word("NodeLost");
        }
        if phase(worker).is_final() {
            return worker.status.as_ref().map(|status| failure(status).0);
        }
        match self.report() {
            Some(report) if report.revision > 0 && report.instances > 0 => None,
            _ => self.undone().or_else(|| word("Starting")),
        }
    }

    /// Why it will not serve the revision that it was told.
    fn undone(&self) -> Option<String> {
        let worker = self.worker?;
        has_undone(worker, super::workers::told(worker)?).map(|why| why.reason)
    }

    fn endpoint(&self) -> ServingEndpoint {
        let missing = self.reason();
        let ready = missing.is_none();
        // One that answers with an earlier revision is ready, and says why it does not take up the present one.
        let reason = missing.or_else(|| self.undone());
        let none = ServingReport::default();
        let report = self.report().unwrap_or(&none);
        ServingEndpoint {
            node: self.name.clone(),
            url: self.node.and_then(endpoint).map(str::to_owned),
            role: self.side,
            ready,
            reason,
            instances: report.instances,
            revision: (report.revision > 0).then_some(report.revision),
            plugin: report.plugin,
            model: report.model,
            requests: report.requests,
            requests_per_second: report.requests_per_second,
            failed: report.failed,
            refused: report.refused,
            hard_share: share(report.hard, report.samples),
            latency: latency([report].into_iter()),
            offload: (self.side == ServingSide::Edge && report.breaker.is_some()).then_some(OffloadCount {
                requests: report.offloaded,
                failures: report.offload_failures,
                hedges: report.hedges,
            }),
            breaker: report.breaker,
        }
    }
}

/// Put into `status` what `places`, the cloud's first, say; whether a cloud is wanted, and what a person is told.
pub(super) fn report(
    status: &mut JointInferenceServiceStatus,
    places: &[Place<'_>],
    cloud_wanted: bool,
) -> (&'static str, String) {
    status.endpoints = places.iter().take(ENDPOINTS).map(Place::endpoint).collect();
    let edges = || places.iter().filter(|place| place.side == ServingSide::Edge);
    let reports = || edges().filter_map(Place::report);
    let sum = |of: fn(&ServingReport) -> u64| reports().map(of).fold(0_u64, u64::saturating_add);
    let any = reports().next().is_some();
    status.requests = any.then(|| sum(|r| r.requests));
    status.failed = any.then(|| sum(|r| r.failed));
    status.refused = any.then(|| sum(|r| r.refused));
    status.requests_per_second =
        any.then(|| rounded(reports().map(|r| r.requests_per_second).sum::<f64>(), 10.0));
    status.hard_share = share(sum(|r| r.hard), sum(|r| r.samples));
    status.latency = latency(reports());
    status.offload = (any && cloud_wanted).then(|| OffloadCount {
        requests: sum(|r| r.offloaded),
        failures: sum(|r| r.offload_failures),
        hedges: sum(|r| r.hedges),
    });

    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (wanted, waiting): (usize, Vec<(&Place<'_>, String)>) =
        (edges().count(), edges().filter_map(|place| Some((place, place.reason()?))).collect());
    let ready = wanted - waiting.len();
    status.edges = Some(EdgeCount {
        ready: count(ready),
        wanted: count(wanted),
        instances: reports().map(|r| r.instances).fold(0, u32::saturating_add),
        summary: format!("{ready}/{wanted}"),
    });
    let cloud = places.iter().find(|place| place.side == ServingSide::Cloud);
    let failed = |place: &&Place<'_>| {
        place.undone().is_some() || place.worker.is_some_and(|worker| phase(worker).is_final())
    };
    let said = |list: &[(&Place<'_>, String)]| {
        let named = list.iter().take(NAMED).map(|(place, why)| format!("`{}` ({why})", place.name));
        let more =
            if list.len() > NAMED { format!(" and {} more", list.len() - NAMED) } else { String::new() };
        format!("{}{more}", named.collect::<Vec<_>>().join(", "))
    };
    let (phase, reason, message) = match (ready, cloud) {
        (_, _) if wanted == 0 => (
            ServicePhase::Pending,
            "NoNodeMatches",
            "no node has the labels of spec.edge.nodes.selector".to_owned(),
        ),
        (0, _) if edges().any(|place| failed(&place)) => {
            (ServicePhase::Failed, "NoEdgeServes", format!("no edge answers: {}", said(&waiting)))
        }
        (0, _) => (ServicePhase::Pending, "Starting", format!("no edge answers yet: {}", said(&waiting))),
        (ready, _) if ready < wanted => (
            ServicePhase::Degraded,
            "EdgesNotReady",
            format!("{ready} of {wanted} edges answer; not yet {}", said(&waiting)),
        ),
        (_, None) if cloud_wanted => (
            ServicePhase::Degraded,
            "CloudAbsent",
            "the edges answer alone: no node that may serve the cloud's side is ready".to_owned(),
        ),
        (_, Some(place)) if place.reason().is_some() => (
            ServicePhase::Degraded,
            "CloudNotReady",
            format!(
                "the edges answer alone: not yet {}",
                said(&[(place, place.reason().unwrap_or_default())])
            ),
        ),
        _ => (ServicePhase::Ready, "Ready", format!("{ready} of {wanted} edges answer")),
    };
    status.phase = phase;
    (reason, message)
}

/// The status without what moves while all goes well: a change of the rest is worth a write at once.
pub(super) fn quiet(status: &JointInferenceServiceStatus) -> JointInferenceServiceStatus {
    let mut status = status.clone();
    for endpoint in &mut status.endpoints {
        endpoint.requests = 0;
        endpoint.requests_per_second = 0.0;
        endpoint.failed = 0;
        endpoint.refused = 0;
        endpoint.hard_share = None;
        endpoint.latency = None;
        endpoint.offload = None;
        endpoint.instances = endpoint.instances.min(1);
    }
    if let Some(edges) = &mut status.edges {
        edges.instances = 0;
    }
    status.requests = None;
    status.requests_per_second = None;
    status.failed = None;
    status.refused = None;
    status.hard_share = None;
    status.latency = None;
    status.offload = None;
    status
}

/// `part` of `of`, to four decimals; none of nothing.
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| rounded(part as f64 / of as f64, 10_000.0).min(1.0))
}

/// Of several nodes, the median is the mean of theirs, weighted by their rates; the others are the slowest's.
fn latency<'a>(reports: impl Iterator<Item = &'a ServingReport>) -> Option<Latency> {
    let (mut weights, mut p50, mut p90, mut p99) = (0.0, 0.0, 0_u64, 0_u64);
    for report in reports.filter(|report| report.p50_micros > 0) {
        // One request in the latest minute weighs something still.
        let weight = report.requests_per_second.max(0.01);
        weights += weight;
        p50 += weight * report.p50_micros as f64;
        p90 = p90.max(report.p90_micros);
        p99 = p99.max(report.p99_micros);
    }
    let millis = |micros: f64| rounded(micros / 1000.0, 1000.0);
    (weights > 0.0).then(|| Latency {
        p50_millis: millis(p50 / weights),
        p90_millis: millis(p90 as f64),
        p99_millis: millis(p99 as f64),
    })
}

/// To a `parts`-th.
fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(rate: f64, p50: u64, p99: u64) -> ServingReport {
        ServingReport {
            requests_per_second: rate,
            p50_micros: p50,
            p90_micros: p50,
            p99_micros: p99,
            ..Default::default()
        }
    }

    #[test]
    fn a_busy_node_weighs_more_in_the_median_and_the_slowest_sets_the_tail() {
        let (busy, idle, silent) =
            (served(90.0, 100, 200), served(10.0, 1100, 5000), ServingReport::default());
        let latency = latency([&busy, &idle, &silent].into_iter()).unwrap();
        assert_eq!((latency.p50_millis, latency.p99_millis), (0.2, 5.0));
        assert_eq!(super::latency([&silent].into_iter()), None);
    }

    #[test]
    fn shares_are_rounded_and_none_of_nothing() {
        assert_eq!((share(1, 3), share(0, 0)), (Some(0.3333), None));
    }
}
