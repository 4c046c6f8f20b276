//! `sedge model history`, `diff` and `rollback`: the versions that an incremental learning job has made, what differs between
//! two of them, and going back to another.

use std::pin::pin;

use futures::TryStreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use sedge_api::Period;
use sedge_api::resources::{
    IncrementalLearningJob, LearningReport, ModelVersion, ModelVersionState, RollbackPhase, RollbackRequest,
};
use serde_json::json;

use crate::failure::Failure;
use crate::lineage;
use crate::screen;
use crate::server::{Access, Server};
use crate::services::bare;
use crate::table::{Cell, Table};

/// Show the versions that a job has made.
#[derive(Debug, clap::Args)]
pub struct History {
    /// The IncrementalLearningJob
    #[arg(value_name = "NAME")]
    name: String,
}

/// Show what differs between two versions.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The IncrementalLearningJob
    #[arg(value_name = "NAME")]
    name: String,
    /// The one; by default what the other was trained from
    #[arg(value_name = "VERSION", requires = "other")]
    one: Option<u32>,
    /// The other; by default the one that serves
    #[arg(value_name = "VERSION")]
    other: Option<u32>,
}

/// Let another version serve.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The IncrementalLearningJob
    #[arg(value_name = "NAME")]
    name: String,
    /// The version; by default the one that served before
    #[arg(long, value_name = "VERSION")]
    to: Option<u32>,
    /// How long to wait until it serves
    #[arg(long, default_value = "1m", value_name = "TIME")]
    timeout: Period,
}

fn api(server: &Server) -> Api<IncrementalLearningJob> {
    Api::namespaced(server.client.clone(), &server.namespace)
}

async fn find(server: &Server, name: &str) -> anyhow::Result<IncrementalLearningJob> {
    let name = bare(name);
    api(server).get_opt(name).await?.ok_or_else(|| {
        Failure::new(format!("there is no IncrementalLearningJob `{name}` in namespace {}", server.namespace))
            .hint("`sedge get ilj -A` lists what there is")
            .into()
    })
}

fn report(job: &IncrementalLearningJob) -> Result<LearningReport, Failure> {
    let name = job.name_any();
    let report = job.status.as_ref().and_then(|status| status.learning.clone());
    report.ok_or_else(|| {
        Failure::new(format!("job `{name}` has not begun to learn"))
            .hint(format!("`sedge describe ilj {name}` says what it waits for"))
    })
}

/// Show the versions that a job has made.
pub async fn history(args: History, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let report = report(&find(&server, &args.name).await?)?;
    let mut table = lineage::table(&report, Timestamp::now()).wrapping();
    screen::print(&table.render(screen::width()))?;
    Ok(())
}

/// Show what differs between two versions.
pub async fn diff(args: Diff, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let report = report(&find(&server, &args.name).await?)?;
    let (one, other) = pair(&report, args.one, args.other)?;
    screen::print(&page(one, other, screen::width()))?;
    Ok(())
}

/// The two versions that are asked for.
fn pair(
    report: &LearningReport,
    one: Option<u32>,
    other: Option<u32>,
) -> Result<(&ModelVersion, &ModelVersion), Failure> {
    let find = |number: u32| {
        report.version(number).ok_or_else(|| {
            let known: Vec<String> = report.versions.iter().map(|v| v.number.to_string()).collect();
            Failure::new(format!("version {number} is not on record"))
                .hint(format!("there are {}", known.join(", ")))
        })
    };
    let other = find(other.unwrap_or(report.deployed))?;
    let one = one.or(other.parent).ok_or_else(|| {
        Failure::new(format!("version {} was trained from none", other.number))
            .hint("name two versions: `sedge model diff NAME ONE OTHER`")
    })?;
    Ok((find(one)?, other))
}

fn page(one: &ModelVersion, other: &ModelVersion, width: Option<usize>) -> String {
    let rows = lineage::differences(one, other);
    if rows.is_empty() {
        return format!(
            "Versions {} and {} are the same in all that is recorded.\n",
            one.number, other.number
        );
    }
    let heading = ["".to_owned(), format!("VERSION {}", one.number), format!("VERSION {}", other.number)];
    let mut table = Table::new(heading);
    for (what, one, other) in rows {
        table.row(vec![Cell::new(what).style(screen::BOLD), Cell::new(one), Cell::new(other)]);
    }
    table.render(width)
}

/// Let another version serve.
pub async fn rollback(args: Rollback, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let job = find(&server, &args.name).await?;
    let name = job.name_any();
    let request = ask(&job, args.to)?;
    // Only if it is still what was looked at: two people may ask at once.
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": job.resource_version()},
        {"op": "add", "path": "/spec/rollback", "value": request},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch)?);
    api(&server).patch(&name, &PatchParams::default(), &patch).await?;
    let done = until_done(&server, &name, request.request);
    match tokio::time::timeout(args.timeout.duration(), done).await {
        Ok(done) => done,
        Err(_) => Err(Failure::new(format!("job `{name}` has not rolled back after {}", args.timeout))
            .detail("the wish stands: it is heard when its node is in touch")
            .hint(format!("`sedge describe ilj {name}` says more"))
            .into()),
    }
}

/// The wish to write; what cannot be is refused here, with what can.
fn ask(job: &IncrementalLearningJob, to: Option<u32>) -> Result<RollbackRequest, Failure> {
    let report = report(job)?;
    let kept = |version: &&ModelVersion| !version.forgotten && version.number != report.deployed;
    let others = || report.versions.iter().filter(kept).map(|version| version.number.to_string());
    let hint = || match others().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "there is no other version yet".to_owned(),
        others => format!("there are {others}: name one with --to"),
    };
    match to {
        Some(number) if number == report.deployed => {
            return Err(Failure::new(format!("version {number} serves already")).hint(hint()));
        }
        Some(number) if !report.versions.iter().filter(kept).any(|version| version.number == number) => {
            return Err(Failure::new(format!("the weights of version {number} are not kept")).hint(hint()));
        }
        Some(_) => {}
        None => {
            let served = |version: &&ModelVersion| version.state == ModelVersionState::Superseded;
            if !report.versions.iter().filter(kept).any(|version| served(&version)) {
                return Err(Failure::new("no version served before this one").hint(hint()));
            }
        }
    }
    let heard = report.rollback.map_or(0, |rollback| rollback.request);
    let asked = job.spec.rollback.map_or(0, |rollback| rollback.request);
    Ok(RollbackRequest { version: to, request: heard.max(asked) + 1 })
}

async fn until_done(server: &Server, name: &str, request: u64) -> anyhow::Result<()> {
    let mut states = pin!(watcher::watch_object(api(server), name).default_backoff());
    loop {
        let job = match states.try_next().await {
            Ok(Some(Some(job))) => job,
            Ok(Some(None) | None) => return Err(Failure::new(format!("job `{name}` is gone")).into()),
            Err(error) => {
                tracing::warn!(%error, "the watch was interrupted; trying again");
                continue;
            }
        };
        let report = job.status.and_then(|status| status.learning);
        let Some(rollback) = report.and_then(|report| report.rollback).filter(|r| r.request >= request)
        else {
            continue;
        };
        let version = rollback.version.map(|version| format!("version {version}")).unwrap_or_default();
        match rollback.state {
            RollbackPhase::Asked => {}
            RollbackPhase::Done => {
                screen::print(&format!("{name}: {version} serves again\n"))?;
                return Ok(());
            }
            RollbackPhase::Refused => {
                return Err(Failure::new(format!("job `{name}` does not roll back"))
                    .detail(rollback.reason)
                    .into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(versions: Value, rollback: Value) -> IncrementalLearningJob {
        let trigger = json!({"expression": "newSamples >= 1"});
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "IncrementalLearningJob", "metadata": {"name": "digits"},
            "spec": {
                "dataset": "d", "model": "m:1", "train": {"plugin": "t:1", "trigger": trigger},
                "evaluate": {"plugin": "e:1", "trigger": trigger}, "deploy": {"service": {"name": "s"}},
                "rollback": {"request": 3},
            },
            "status": {"learning": {"round": 2, "deployed": 2, "serial": 2, "versions": versions, "rollback": rollback}},
        }))
        .unwrap()
    }

    fn version(number: u32, state: &str) -> Value {
        json!({"number": number, "state": state, "parent": number.checked_sub(1)})
    }

    fn three() -> Value {
        let mut first = version(0, "Superseded");
        first["forgotten"] = json!(true);
        json!([first, version(1, "Superseded"), version(2, "Deployed")])
    }

    #[test]
    fn a_wish_has_a_number_that_was_not_heard_yet() {
        let wish = |job: IncrementalLearningJob, to| ask(&job, to).map(|wish| (wish.version, wish.request));
        assert_eq!(wish(job(three(), Value::Null), None), Ok((None, 4)));
        let heard = json!({"request": 7, "state": "Done"});
        assert_eq!(wish(job(three(), heard), Some(1)), Ok((Some(1), 8)));
    }

    #[test]
    fn what_cannot_be_gone_back_to_is_refused_with_what_can() {
        for (versions, to, why) in [
            (three(), Some(2), "version 2 serves already"),
            (three(), Some(0), "the weights of version 0 are not kept"),
            (three(), Some(9), "the weights of version 9 are not kept"),
            (
                json!([version(2, "Deployed"), version(1, "KeptOut")]),
                None,
                "no version served before this one",
            ),
        ] {
            let refusal = ask(&job(versions, Value::Null), to).unwrap_err();
            assert_eq!(refusal, Failure::new(why).hint("there are 1: name one with --to"));
        }
        let only = ask(&job(json!([version(2, "Deployed")]), Value::Null), None).unwrap_err();
        assert_eq!(
            only,
            Failure::new("no version served before this one").hint("there is no other version yet")
        );
    }

    #[test]
    fn two_versions_are_the_ones_named_or_the_deployed_and_its_parent() {
        let report = report(&job(three(), Value::Null)).unwrap();
        let numbers = |one, other| pair(&report, one, other).map(|(one, other)| (one.number, other.number));
        assert_eq!(numbers(None, None), Ok((1, 2)));
        assert_eq!(numbers(None, Some(1)), Ok((0, 1)));
        assert_eq!(numbers(Some(0), Some(2)), Ok((0, 2)));
        assert_eq!(numbers(Some(0), Some(5)).unwrap_err().to_string(), "version 5 is not on record");
        assert!(numbers(None, Some(0)).unwrap_err().to_string().contains("trained from none"));
        let (one, other) = pair(&report, Some(1), Some(2)).unwrap();
        insta::assert_snapshot!(screen::plain(&page(one, other, None)), @"
                       VERSION 1    VERSION 2
        state          Superseded   Deployed
        trained from   version 0    version 1
        ");
        assert!(page(one, one, None).starts_with("Versions 1 and 1 are the same"));
    }
}
