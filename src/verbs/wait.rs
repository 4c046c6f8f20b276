//! `sedge wait`: until a resource is as asked for, or time is up.

use std::pin::pin;
use std::str::FromStr;

use futures::TryStreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use sedge_api::Period;
use serde_json::Value;

use crate::columns::exact;
use crate::failure::Failure;
use crate::jsonpath::JsonPath;
use crate::kinds::Kind;
use crate::objects::{self, Request};
use crate::screen;
use crate::server::{Access, Server};

/// Wait until resources are as asked for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `KIND/NAME…` or `KIND NAME…`
    #[arg(required = true, value_name = "KIND/NAME")]
    words: Vec<String>,
    /// condition=TYPE[=STATUS] or TYPE alone, phase=PHASE, jsonpath=PATH=VALUE, create or delete
    #[arg(long = "for", value_name = "WHAT", value_parser = str::parse::<Goal>)]
    goal: Goal,
    /// How long to wait at most, for all of them
    #[arg(long, default_value = "10m", value_name = "TIME")]
    timeout: Period,
}

/// What to wait for.
#[derive(Debug, Clone, PartialEq)]
enum Goal {
    Condition { kind: String, status: String },
    Phase(String),
    Path { path: JsonPath, value: Option<String>, text: String },
    Create,
    Delete,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "delete" => Ok(Self::Delete),
            None if text == "create" => Ok(Self::Create),
            // A condition's type, as `Ready`.
            None if text.starts_with(|c: char| c.is_ascii_uppercase()) => {
                Ok(Self::Condition { kind: text.to_owned(), status: "True".to_owned() })
            }
            Some(("condition", rest)) => {
                let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
                Ok(Self::Condition { kind: kind.to_owned(), status: capitalised(status) })
            }
            Some(("phase", phase)) => Ok(Self::Phase(phase.to_owned())),
            Some(("jsonpath", rest)) => {
                let rest = rest.trim_matches('\'');
                // The value follows the closing brace, or the last `=` of a path without braces.
                let (path, value) = match rest.rsplit_once("}=") {
                    Some((path, value)) => (format!("{path}}}"), Some(value)),
                    None if rest.ends_with('}') => (rest.to_owned(), None),
                    None => match rest.rsplit_once('=') {
                        Some((path, value)) => (path.to_owned(), Some(value)),
                        None => (rest.to_owned(), None),
                    },
                };
                let parsed = path.trim_matches('\'').parse().map_err(|error| format!("{error}"))?;
                let value = value.map(|value| value.trim_matches(['"', '\'']).to_owned());
                Ok(Self::Path { path: parsed, value, text: path })
            }
            _ => {
                Err("it is condition=TYPE[=STATUS], phase=PHASE, jsonpath=PATH[=VALUE], create or delete"
                    .into())
            }
        }
    }
}

/// How a resource stands to a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Reached,
    NotYet(String),
    /// It will never be reached, and why.
    Never(String),
}

impl Goal {
    /// How `document`, none if it is not there, stands to the goal.
    fn standing(&self, document: Option<&Value>) -> Standing {
        let Some(document) = document else {
            return match self {
                Self::Delete => Standing::Reached,
                _ => Standing::NotYet("it is not there".into()),
            };
        };
        match self {
            Self::Create => Standing::Reached,
            Self::Delete => Standing::NotYet("it is still there".into()),
            Self::Phase(wanted) => match objects::text(document, "/status/phase") {
                phase if phase == wanted => Standing::Reached,
                "Failed" => Standing::Never(format!("it has failed{}", reason(document))),
                "Succeeded" => Standing::Never("it has succeeded".into()),
                "" => Standing::NotYet("it has no phase yet".into()),
                phase => Standing::NotYet(format!("its phase is {phase}{}", reason(document))),
            },
            Self::Path { path, value, text } => {
                let found: Vec<String> = path.select(document).into_iter().map(exact).collect();
                match value {
                    Some(value) if found.iter().any(|found| found == value) => Standing::Reached,
                    None if !found.is_empty() => Standing::Reached,
                    _ if found.is_empty() => Standing::NotYet(format!("{text} is not set")),
                    _ => Standing::NotYet(format!("{text} is {}", found.join(","))),
                }
            }
            Self::Condition { kind, status } => {
                let conditions = document["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
                let named = |name: &str| conditions.iter().find(|c| c["type"].as_str() == Some(name));
                let state = |name: &str| named(name).map(|c| objects::text(c, "/status"));
                if state(kind) == Some(status) {
                    return Standing::Reached;
                }
                if kind == "Complete" && state("Failed") == Some("True") {
                    return Standing::Never(format!(
                        "it has failed{}",
                        named("Failed").map(words).unwrap_or_default()
                    ));
                }
                match named(kind) {
                    None => {
                        let (why, round) = (reason(document), progress(document));
                        Standing::NotYet(format!("it has no condition {kind} yet{why}{round}"))
                    }
                    Some(condition) => {
                        let state = objects::text(condition, "/status");
                        Standing::NotYet(format!(
                            "{kind} is {state}{}{}",
                            words(condition),
                            progress(document)
                        ))
                    }
                }
            }
        }
    }
}

/// A condition's reason and message.
fn words(condition: &Value) -> String {
    match (objects::text(condition, "/reason"), objects::text(condition, "/message")) {
        ("", "") => String::new(),
        (reason, "") => format!(" ({reason})"),
        (reason, message) => format!(" ({reason}: {message})"),
    }
}

fn reason(document: &Value) -> String {
    match (objects::text(document, "/status/reason"), objects::text(document, "/status/message")) {
        ("", "") => String::new(),
        (reason, "") => format!(" ({reason})"),
        (reason, message) => format!(" ({reason}: {message})"),
    }
}

/// How far a job is, where the resource is one.
fn progress(document: &Value) -> String {
    match (&document["status"]["round"], &document["spec"]["aggregation"]["rounds"]) {
        (Value::Number(round), Value::Number(rounds)) => format!(", round {round} of {rounds}"),
        _ => String::new(),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Wait until resources are as asked for.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let deadline = tokio::time::Instant::now() + args.timeout.duration();
    for request in Request::parse(&args.words)? {
        if request.names.is_empty() {
            return Err(Failure::new("name what to wait for").hint("write it like job/digits").into());
        }
        for name in &request.names {
            let kind = match objects::find(&server, &request.kinds, name).await? {
                Some((kind, _)) => kind,
                None if args.goal == Goal::Delete => continue,
                None if args.goal == Goal::Create => request.kinds[0].clone(),
                None => return Err(objects::absent(&server, &request.kinds, name).into()),
            };
            let mut last = Standing::NotYet("nothing is known of it".into());
            let label = format!("{}/{name}", kind.qualified());
            let waiting = until(&server, &kind, name, &args.goal, &mut last);
            match tokio::time::timeout_at(deadline, waiting).await {
                Ok(Ok(())) => screen::print(&format!("{label} condition met\n"))?,
                Ok(Err(failure)) => return Err(failure.into()),
                Err(_) => {
                    let Standing::NotYet(state) = last else { continue };
                    return Err(Failure::new(format!("{label} is not as asked for after {}", args.timeout))
                        .detail(format!("now: {state}"))
                        .hint(format!("`sedge describe {}/{name}` says more", kind.singular()))
                        .into());
                }
            }
        }
    }
    Ok(())
}

async fn until(
    server: &Server,
    kind: &Kind,
    name: &str,
    goal: &Goal,
    last: &mut Standing,
) -> Result<(), Failure> {
    let mut states = pin!(watcher::watch_object(objects::api(server, kind, false), name).default_backoff());
    loop {
        let document = match states.try_next().await {
            Ok(Some(state)) => state.map(|object| objects::document(kind, object)),
            Ok(None) => return Err(Failure::new("the watch ended")),
            Err(error) => {
                tracing::warn!(%error, "the watch was interrupted; trying again");
                continue;
            }
        };
        match goal.standing(document.as_ref()) {
            Standing::Reached => return Ok(()),
            Standing::Never(why) => {
                return Err(Failure::new(format!("{}/{name}: {why}", kind.qualified()))
                    .hint(format!("`sedge describe {}/{name}` says more", kind.singular())));
            }
            standing => *last = standing,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job() -> Value {
        json!({
            "spec": {"aggregation": {"rounds": 20}},
            "status": {"phase": "Running", "round": 7, "accuracy": 0.971_046_7, "conditions": [
                {"type": "Complete", "status": "False", "reason": "InProgress", "message": ""},
            ]},
        })
    }

    fn standing(goal: &str, document: &Value) -> Standing {
        goal.parse::<Goal>().unwrap().standing(Some(document))
    }

    #[test]
    fn goals_are_told_from_the_document() {
        let not_yet = |text: &str| Standing::NotYet(text.into());
        for (goal, wanted) in [
            ("condition=Complete", not_yet("Complete is False (InProgress), round 7 of 20")),
            ("condition=Complete=false", Standing::Reached),
            ("Complete", not_yet("Complete is False (InProgress), round 7 of 20")),
            ("condition=Accepted", not_yet("it has no condition Accepted yet, round 7 of 20")),
            ("phase=Running", Standing::Reached),
            ("phase=Succeeded", not_yet("its phase is Running")),
            ("jsonpath={.status.round}=7", Standing::Reached),
            ("jsonpath='{.status.round}'=7", Standing::Reached),
            ("jsonpath={.status.accuracy}=0.9710467", Standing::Reached),
            ("jsonpath=.status.round=8", not_yet(".status.round is 7")),
            (r#"jsonpath={.status.conditions[?(@.type=="Complete")].status}=False"#, Standing::Reached),
            ("jsonpath={.status.result}", not_yet("{.status.result} is not set")),
            ("create", Standing::Reached),
            ("delete", not_yet("it is still there")),
        ] {
            assert_eq!(standing(goal, &job()), wanted, "{goal}");
        }
        assert_eq!(Goal::Delete.standing(None), Standing::Reached);
    }

    #[test]
    fn a_failed_job_is_not_waited_for() {
        let mut failed = job();
        failed["status"]["conditions"] = json!([{"type": "Failed", "status": "True", "reason": "AggregatorFailed", "message": "it trapped"}]);
        assert_eq!(
            standing("condition=Complete", &failed),
            Standing::Never("it has failed (AggregatorFailed: it trapped)".into())
        );
    }

    #[test]
    fn what_is_no_goal_is_refused() {
        assert!("ready".parse::<Goal>().is_err());
        assert!("jsonpath=status".parse::<Goal>().is_err());
    }
}
