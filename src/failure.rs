//! What a person reads when something failed: one line of what, details, and hints of what to do.
//!
//! Verbs return `anyhow::Error`s; those that know more make a [`Failure`]. `main` prints either through [`report`].

use std::fmt;
use std::io;

use kube::core::Status;

use crate::screen;

/// An error with details and advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    details: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// What failed, in one line.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: Vec::new(), hints: Vec::new() }
    }

    /// One more line of what.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// One line of what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What was wrong with a request, as the server said it; the causes one per line.
    fn from_status(status: &Status) -> Self {
        let causes = status.details.as_ref().map(|d| d.causes.as_slice()).unwrap_or_default();
        let message = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
        let message = if causes.is_empty() { message } else { summary(&message, causes.len()) };
        let failure = causes.iter().fold(Self::new(message), |failure, cause| {
            failure.detail(match cause.field.as_str() {
                "" => cause.message.clone(),
                field => format!("{field}: {}", cause.message),
            })
        });
        match status.code {
            401 | 403 => {
                failure.hint("the kubeconfig's token is not the server's; pass the right --kubeconfig")
            }
            _ => failure,
        }
    }
}

/// The server's message repeats its causes after the object's name: keep the name.
fn summary(message: &str, causes: usize) -> String {
    match message.split_once(" is invalid:") {
        Some((object, _)) => {
            format!("{object} is invalid: {causes} problem{}", if causes == 1 { "" } else { "s" })
        }
        None => message.to_owned(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// What to say of `error`, met while talking to the server at `address` if there was one.
fn explain(error: &anyhow::Error, address: Option<&str>) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    let status = error.chain().find_map(|cause| match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status),
        _ => None,
    });
    if let Some(status) = status {
        return Failure::from_status(status);
    }
    let refused = error.chain().find_map(connection_failure);
    match (refused, address) {
        (Some(kind), Some(address)) => Failure::new(format!("cannot reach the server at {address}: {kind}"))
            .hint("run `sedge up` to start one, or pass --kubeconfig of one that runs"),
        _ => Failure::new(sentence(error)),
    }
}

/// The chain of an error's causes in one line, leaving out those that the one before already says.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn connection_failure(cause: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let kind = cause.downcast_ref::<io::Error>()?.kind();
    let unreachable = matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
    );
    unreachable.then_some(kind)
}

/// Whether the reader of our output has gone, as `head` does: no error worth a word.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}

/// The text for standard error, styled.
pub fn report(error: &anyhow::Error, address: Option<&str>) -> String {
    let failure = explain(error, address);
    let (red, cyan) = (screen::ERROR, screen::HINT);
    let mut text = format!("{red}error{red:#}: {}\n", failure.message);
    for detail in &failure.details {
        text.push_str(&format!("  {detail}\n"));
    }
    for hint in &failure.hints {
        text.push_str(&format!("  {cyan}hint{cyan:#}: {hint}\n"));
    }
    text
}

/// The same in one line and without advice, where other work goes on.
pub fn brief(error: &anyhow::Error) -> String {
    let failure = explain(error, None);
    std::iter::once(failure.message).chain(failure.details).collect::<Vec<_>>().join(": ")
}

/// A server's error in one line, for lists of them.
pub fn one_line(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            let failure = Failure::from_status(status);
            std::iter::once(failure.message).chain(failure.details).collect::<Vec<_>>().join("\n    ")
        }
        other => sentence(&anyhow::anyhow!(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(error: anyhow::Error, address: Option<&str>) -> String {
        screen::plain(&report(&error, address))
    }

    #[test]
    fn a_refused_object_lists_its_problems_one_per_line() {
        let status: Status = serde_json::from_value(json!({
            "code": 422, "reason": "Invalid",
            "message": "FederatedLearningJob.sedge.dev \"digits\" is invalid: [spec.aggregation.rounds: Required value, spec.model: bad]",
            "details": {"causes": [
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.aggregation.rounds"},
                {"reason": "FieldValueInvalid", "message": "`Fed:1` is not a name", "field": "spec.model"},
            ]},
        }))
        .unwrap();
        insta::assert_snapshot!(plain(kube::Error::Api(Box::new(status)).into(), None), @r#"
        error: FederatedLearningJob.sedge.dev "digits" is invalid: 2 problems
          spec.aggregation.rounds: Required value
          spec.model: `Fed:1` is not a name
        "#);
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = kube::Error::Service(Box::new(refused));
        insta::assert_snapshot!(plain(error.into(), Some("http://127.0.0.1:7400/")), @"
        error: cannot reach the server at http://127.0.0.1:7400/: connection refused
          hint: run `sedge up` to start one, or pass --kubeconfig of one that runs
        ");
    }

    #[test]
    fn causes_are_said_once() {
        let error = anyhow::anyhow!("No such file").context("cannot read x.yaml");
        insta::assert_snapshot!(plain(error, None), @"error: cannot read x.yaml: No such file");
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        assert!(is_broken_pipe(&io::Error::from(io::ErrorKind::BrokenPipe).into()));
    }
}
