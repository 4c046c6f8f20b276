//! Versions of an incremental learning job's model as the command line shows them. Called by `model history` and `diff`, and
//! by the job's page.

use k8s_openapi::jiff::Timestamp;
use sedge_api::resources::{LearningReport, Metric, ModelVersion, SourceRange};

use crate::age;
use crate::columns::{counted, decimal, measured};
use crate::screen;
use crate::table::{Cell, Table};

/// Sources that are written out.
const SOURCES: usize = 3;

/// The versions, the newest first, with the metric that says most: of the version, of what served before it on the same data,
/// and of the version on earlier data.
pub fn table(report: &LearningReport, now: Timestamp) -> Table {
    let metric = main_metric(report);
    let named = metric.as_deref().unwrap_or("metric").to_uppercase();
    let heading =
        ["VERSION", "STATE", "FROM", "DATA", "REPLAYED", &named, "BEFORE", "EARLIER", "MADE", "MODEL", "WHY"];
    let mut table = Table::new(heading);
    for version in report.versions.iter().rev() {
        let of = |metrics: &[Metric]| metric.as_deref().and_then(|name| value(metrics, name));
        let number = |value: Option<f64>| Cell::number(value.map(measured).unwrap_or_default());
        let measured = version.measured.as_ref();
        let digest = match (version.forgotten, version.model.or(version.weights)) {
            (true, _) => "(not kept)".to_owned(),
            (false, digest) => digest.map(|digest| digest.short()).unwrap_or_default(),
        };
        table.row(vec![
            Cell::number(version.number.to_string()),
            Cell::new(version.state.word()),
            Cell::number(version.parent.map(|parent| parent.to_string()).unwrap_or_default()),
            Cell::new(data(&version.data)),
            Cell::number(if version.replayed > 0 { counted(version.replayed) } else { String::new() }),
            number(measured.and_then(|measured| of(&measured.candidate))),
            number(measured.and_then(|measured| of(&measured.deployed))),
            number(measured.and_then(|measured| of(&measured.candidate_earlier))),
            Cell::new(version.created.as_ref().map(|at| age::since(at.0, now)).unwrap_or_default())
                .style(screen::DIM),
            Cell::new(digest).style(screen::DIM),
            Cell::new(&version.reason),
        ]);
    }
    table
}

/// `accuracy` where that was measured, else the first by name.
pub fn main_metric(report: &LearningReport) -> Option<String> {
    let all = || report.versions.iter().rev().filter_map(|version| version.measured.as_ref());
    let names = || all().flat_map(|measured| &measured.candidate).map(|metric| metric.name.as_str());
    names().find(|name| *name == "accuracy").or_else(|| names().min()).map(str::to_owned)
}

pub fn value(metrics: &[Metric], name: &str) -> Option<f64> {
    metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

/// `rows 0–119`, or `a.csv 0–9, b.csv 5–7`.
pub fn data(ranges: &[SourceRange]) -> String {
    let range = |range: &SourceRange| {
        let source = if range.source.is_empty() { "rows" } else { range.source.as_str() };
        format!("{source} {}–{}", range.first, range.end.saturating_sub(1))
    };
    let mut texts: Vec<String> = ranges.iter().take(SOURCES).map(range).collect();
    if ranges.len() > SOURCES {
        texts.push("…".to_owned());
    }
    texts.join(", ")
}

/// What is not the same of two versions: what it is, the one's and the other's.
pub fn differences(one: &ModelVersion, other: &ModelVersion) -> Vec<(String, String, String)> {
    let text = |value: Option<String>| value.unwrap_or_default();
    let digest = |digest: Option<sedge_api::Digest>| text(digest.map(|digest| digest.short()));
    let number = |number: u64| if number > 0 { counted(number) } else { String::new() };
    let mut rows = vec![];
    let mut row = |what: &str, of: &dyn Fn(&ModelVersion) -> String| {
        rows.push((what.to_owned(), of(one), of(other)));
    };
    row("state", &|v| v.state.word().to_owned());
    row("trained from", &|v| text(v.parent.map(|parent| format!("version {parent}"))));
    row("data", &|v| data(&v.data));
    row("data digest", &|v| digest(v.data_digest));
    row("samples", &|v| number(v.samples));
    row("replayed", &|v| number(v.replayed));
    row("trainer", &|v| digest(v.trainer));
    row("evaluator", &|v| digest(v.measured.as_ref().and_then(|measured| measured.evaluator)));
    row("weights", &|v| digest(v.weights));
    row("model", &|v| digest(v.model));
    let empty = serde_json::Map::new();
    let parameters = |v: &ModelVersion| v.parameters.clone().unwrap_or_else(|| empty.clone());
    for name in
        names([parameters(one).keys().cloned().collect(), parameters(other).keys().cloned().collect()])
    {
        row(&format!("parameter {name}"), &|v| text(parameters(v).get(&name).map(crate::columns::written)));
    }
    type Metrics = fn(&ModelVersion) -> &[Metric];
    let lists: [(&str, Metrics); 4] = [
        ("training", |v| &v.training),
        ("measured", |v| v.measured.as_ref().map_or(&[], |measured| &measured.candidate)),
        ("beside it", |v| v.measured.as_ref().map_or(&[], |measured| &measured.deployed)),
        ("earlier data", |v| v.measured.as_ref().map_or(&[], |measured| &measured.candidate_earlier)),
    ];
    for (list, of) in lists {
        let called = |v: &ModelVersion| of(v).iter().map(|metric| metric.name.clone()).collect();
        for name in names([called(one), called(other)]) {
            row(&format!("{list} {name}"), &|v| text(value(of(v), &name).map(decimal)));
        }
    }
    rows.retain(|(_, one, other)| one != other);
    rows
}

/// Names of both, each once, in order.
fn names(lists: [Vec<String>; 2]) -> Vec<String> {
    let mut names: Vec<String> = lists.into_iter().flatten().collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Three versions: the first one is what the job began with, the second serves, the third was kept out.
    pub(crate) fn report() -> LearningReport {
        let digest = |of: &str| sedge_api::Digest::of(of.as_bytes()).to_string();
        let version = |number: u32, state: &str, accuracy: (f64, f64), epochs: u32| {
            json!({
                "number": number, "model": digest(&number.to_string()), "uploaded": true, "parent": number - 1, "state": state,
                "data": [{"first": (number - 1) * 100, "end": number * 100}], "samples": 80, "replayed": (number - 1) * 20,
                "trainer": digest("sgd"), "parameters": {"epochs": epochs, "seed": 7},
                "measured": {"against": number - 1, "candidate": [{"name": "accuracy", "value": accuracy.0},
                             {"name": "loss", "value": 0.25}],
                             "deployed": [{"name": "accuracy", "value": accuracy.1}],
                             "candidateEarlier": [{"name": "accuracy", "value": 0.875}]},
                "created": "2026-11-24T12:00:00Z", "reason": format!("difference.accuracy is {}", accuracy.0 - accuracy.1),
            })
        };
        serde_json::from_value(json!({
            "round": 2, "deployed": 1, "serial": 1, "versions": [
                {"number": 0, "model": digest("0"), "uploaded": true, "state": "Superseded", "forgotten": true,
                 "reason": "version 1 took its place", "created": "2026-11-24T11:00:00Z"},
                version(1, "Deployed", (0.9, 0.5), 5),
                version(2, "KeptOut", (0.75, 0.9), 9),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_version_stands_first_with_what_it_was_measured_against() {
        let now = "2026-11-24T12:10:00Z".parse().unwrap();
        insta::assert_snapshot!(screen::plain(&table(&report(), now).render(None)), @"
        VERSION   STATE        FROM   DATA           REPLAYED   ACCURACY   BEFORE   EARLIER   MADE   MODEL          WHY
              2   KeptOut         1   rows 100–199         20     0.7500   0.9000    0.8750   10m    d4735e3a265e   difference.accuracy is -0.15000000000000002
              1   Deployed        0   rows 0–99                   0.9000   0.5000    0.8750   10m    6b86b273ff34   difference.accuracy is 0.4
              0   Superseded                                                                  70m    (not kept)     version 1 took its place
        ");
    }

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let report = report();
        let rows = differences(&report.versions[1], &report.versions[2]);
        let text = rows.iter().map(|(what, one, other)| format!("{what}: {one} | {other}\n"));
        insta::assert_snapshot!(text.collect::<String>(), @"
        state: Deployed | KeptOut
        trained from: version 0 | version 1
        data: rows 0–99 | rows 100–199
        replayed:  | 20
        model: 6b86b273ff34 | d4735e3a265e
        parameter epochs: 5 | 9
        measured accuracy: 0.9 | 0.75
        beside it accuracy: 0.5 | 0.9
        ");
        assert_eq!(differences(&report.versions[1], &report.versions[1]), []);
    }

    #[test]
    fn of_many_sources_the_first_are_named() {
        let range = |source: &str| SourceRange { source: source.to_owned(), first: 5, end: 10 };
        assert_eq!(data(&[range("")]), "rows 5–9");
        assert_eq!(data(&["a", "b", "c", "d"].map(range)), "a 5–9, b 5–9, c 5–9, …");
        assert_eq!(data(&[]), "");
    }
}
