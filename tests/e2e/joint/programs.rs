//! What applications do: the Python client's example, and a model that a package ships, asked by a program. Skipped, with
//! the reason, where `cargo xtask test` found no Python with numpy, or did not fetch the model.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sedge_client::Tensor;
use sedge_testbed::joint::{PATIENCE, service};
use sedge_testbed::{Built, Platform, root};

use super::serving;

/// What `cargo xtask test` names, or None, which is said.
fn named(variable: &str, what: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    if named.is_none() {
        eprintln!("skipped: {variable} is not set: {what}");
    }
    named
}

/// What a program in Python prints that has the client's package.
fn python(program: &str, arguments: &[&str]) -> Option<Result<String>> {
    let python = named("SEDGE_PYTHON", "no Python with numpy")?;
    let packages = named("SEDGE_PYTHON_CLIENT", "the Python client is not built")?;
    let run = || {
        let mut command = Command::new(python);
        command.arg(root().join(program)).args(arguments).current_dir(root());
        let output = command.env("PYTHONPATH", packages).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    Some(run())
}

fn url(platform: &Platform) -> Result<String> {
    let node = platform.cli.get("edgenodes edge-1")?;
    Ok(node["status"]["servingEndpoint"].as_str().context("edge-1 says where it serves")?.to_owned())
}

#[test]
fn the_python_example_asks_about_digits() -> Result<()> {
    if named("SEDGE_PYTHON_CLIENT", "the Python client is not built").is_none() {
        return Ok(());
    }
    let platform = serving(&Built::from_environment()?, &service(&[])?)?;
    let printed =
        python("clients/python/examples/digits.py", &[&url(&platform)?]).context("it has run")??;
    assert!(printed.starts_with("449 digits: 9") && printed.contains("answered by cloud: "), "{printed}");
    Ok(())
}

#[test]
fn the_rust_example_asks_about_digits() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &service(&[])?)?;
    let example = built.example("digits");
    let output = Command::new(&example).arg(url(&platform)?).output();
    let output =
        output.with_context(|| format!("{}: `cargo build --examples` makes it", example.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout)?;
    assert!(printed.starts_with("449 digits: 9") && printed.contains("answered by cloud: "), "{printed}");
    Ok(())
}

#[test]
fn tritons_client_is_served_unchanged() -> Result<()> {
    if named("SEDGE_TRITONCLIENT", "Triton's client is not installed").is_none() {
        return Ok(());
    }
    let platform = serving(&Built::from_environment()?, &service(&[])?)?;
    let printed = python("tests/serving/triton.py", &[&url(&platform)?, "digits", "x", "64"]);
    let printed = printed.context("it has run")??;
    assert_eq!(printed.matches(": ok").count(), 3, "{printed}");
    Ok(())
}

/// As `examples/magika/identify.py` takes them.
fn features(content: &[u8]) -> Vec<i32> {
    const BLOCK: usize = 4096;
    const PART: usize = 1024;
    const PADDING: i32 = 256;
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let begin = &content[..content.len().min(BLOCK)];
    let begin = begin.iter().skip_while(|byte| is_space(byte)).take(PART).map(|byte| i32::from(*byte));
    let end = content[content.len().saturating_sub(BLOCK)..].iter().rev();
    let end = end.skip_while(|byte| is_space(byte)).take(PART).map(|byte| i32::from(*byte));
    let mut taken = vec![PADDING; 2 * PART];
    begin.enumerate().for_each(|(at, byte)| taken[at] = byte);
    end.enumerate().for_each(|(at, byte)| taken[2 * PART - 1 - at] = byte);
    taken
}

const UNKNOWN: &str = "tests/data/digits-mlp/weights.safetensors";

#[test]
fn a_model_out_of_a_package_tells_what_files_are() -> Result<()> {
    let Some(folder) = named("SEDGE_MAGIKA", "`cargo xtask setup --model magika` did not fetch it") else {
        return Ok(());
    };
    let platform = Platform::up(&Built::from_environment()?, 1)?;
    platform.push_plugins(&["onnx-inferencer"])?;
    platform.cli.run(&["model", "push", &folder.display().to_string(), "magika:1"])?;
    platform.cli.apply(&std::fs::read_to_string(root().join("examples/magika/service.yaml"))?)?;
    let wait = ["wait", "jis/magika", "--for", "condition=RolledOut", "--timeout", "2m"];
    platform.cli.run(&wait).map_err(|error| platform.with_logs(error))?;

    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let files = [
        ("Cargo.toml", "toml"),
        ("README.md", "markdown"),
        ("src/main.rs", "rust"),
        ("tests/data/make.py", "python"),
        ("tests/data/digits.csv", "csv"),
        ("tests/data/digits-joint/service.yaml", "yaml"),
        ("tests/data/digits-joint/three.png", "png"),
        ("tests/data/digits-joint/held-out.npz", "npz"),
        ("tests/data/digits-mlp/infer.onnx", "onnx"),
        // It knows none such.
        (UNKNOWN, ""),
    ];
    let mut bytes = Vec::new();
    for (file, _) in files {
        bytes.extend(features(&std::fs::read(root().join(file))?));
    }
    let x = Tensor::new(&[files.len() as u64, 2048], &bytes)?;
    let answer = platform.client("edge-1")?.infer("magika", &[("bytes", x)], PATIENCE)?;
    let scores = answer.output("target_label")?.elements::<f32>()?;
    let kinds = config["target_labels_space"].as_array().context("names of kinds")?;
    for (at, ((file, kind), row)) in files.into_iter().zip(scores.chunks_exact(kinds.len())).enumerate() {
        let best = (0..kinds.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or_default();
        let hard = answer.hard_samples.contains(&at);
        eprintln!("{file}: {} {:.3}{}", kinds[best], row[best], if hard { ", hard" } else { "" });
        assert_eq!(hard, file == UNKNOWN, "{file}");
        assert!(hard || kinds[best] == kind, "{file} is {kind}");
    }
    assert_eq!(answer.answered_by.as_deref(), Some("edge"));

    let url = url(&platform)?;
    if let Some(printed) = python("examples/magika/identify.py", &[&url, "README.md", "src/main.rs", UNKNOWN])
    {
        let printed = printed?;
        assert!(printed.contains("README.md: markdown") && printed.contains("main.rs: rust"), "{printed}");
        assert!(printed.trim_end().ends_with(", and unsure"), "{printed}");
    }
    Ok(())
}
