//! What does not fit is refused with the reason; what is not there yet is waited for.

use std::fs;

use anyhow::Result;
use sedge_testbed::{Built, Platform};

use crate::job::{self, example};

#[test]
fn what_is_no_plugin_is_refused_at_push() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 0)?;
    let fedavg = fs::read(built.plugin("fedavg"))?;
    let other_import = String::from_utf8_lossy(&fedavg).contains("sedge:worker/job@0.1.0");
    assert!(other_import, "fedavg imports the interface that is renamed below");
    let renamed = replaced(&fedavg, b"sedge:worker/job@0.1.0", b"sedge:worker/jab@0.1.0");
    let cases: [(&str, &[u8], &[&str]); 5] = [
        ("truncated", &fedavg[..fedavg.len() / 2], &["end"]),
        ("core", b"\0asm\x01\0\0\0", &["core", "wasm32-wasip2"]),
        (
            "roleless",
            b"\0asm\x0d\0\x01\0",
            &["sedge:worker/training@0.1.0", "sedge:worker/aggregation@0.1.0"],
        ),
        ("foreign", &renamed, &["sedge:worker/jab@0.1.0"]),
        ("text", b"(component)", &["WebAssembly"]),
    ];
    for (name, bytes, words) in cases {
        let file = platform.folder().join(format!("{name}.wasm"));
        fs::write(&file, bytes)?;

        let refusal =
            platform.cli.refusal(&["plugin", "push", &file.display().to_string(), &format!("{name}:1")])?;

        for word in words {
            assert!(refusal.contains(word), "{name}: `{word}` is not in:\n{refusal}");
        }
    }
    let plugins = platform.cli.get("plugins")?;
    assert_eq!(plugins["items"].as_array().map(Vec::len), Some(0), "{plugins}");
    Ok(())
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        at += 1;
    }
    bytes
}

#[test]
fn a_job_waits_for_what_it_names_and_starts_when_it_appears() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    platform.cli.apply(&example(&[("rounds: 20", "rounds: 2")]))?;

    job::await_reason(&platform, "digits", "Accepted", "ModelNotFound")?;
    platform.push_digits_model()?;
    job::await_reason(&platform, "digits", "Accepted", "PluginNotFound")?;
    platform.push_plugins(&["sgd-trainer", "evaluator", "fedavg"])?;
    job::await_reason(&platform, "digits", "Accepted", "NoDatasetMatches")?;
    platform.place_digits(&sedge_testbed::digits::partition(2, 0.5, 10)?)?;

    let job = job::await_complete(&platform, "digits", "2m")?;
    assert_eq!(job::rounds(&job)?.len(), 2);
    Ok(())
}

#[test]
fn a_plugin_of_another_role_is_named() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    platform.prepare_digits(2, 11)?;
    platform.cli.apply(&example(&[("plugin: sgd-trainer:0.1.0", "plugin: evaluator:0.1.0")]))?;

    job::await_reason(&platform, "digits", "Accepted", "PluginWrongRole")?;

    let described = platform.cli.run(&["describe", "federatedlearningjob", "digits"])?;
    assert!(described.contains("evaluator:0.1.0") && described.contains("trainer"), "{described}");
    Ok(())
}

#[test]
fn a_resource_that_does_not_validate_names_the_field() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 0)?;
    let file = platform.folder().join("job.yaml");
    fs::write(&file, example(&[("rounds: 20", "rounds: 0"), ("epochs: 5", "epochs: 5\n      seed: 1")]))?;

    let refusal = platform.cli.refusal(&["apply", "-f", &file.display().to_string()])?;

    assert!(refusal.contains("spec.aggregation.rounds") && refusal.contains("job.yaml"), "{refusal}");
    Ok(())
}
