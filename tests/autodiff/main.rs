//! Generated training graphs against PyTorch's autodiff, where a Python with PyTorch is there.

use std::process::Command;

use anyhow::{Result, ensure};
use sedge_testbed::{Built, root};

#[test]
fn training_graphs_step_as_pytorch_does() -> Result<()> {
    let python = std::env::var_os("SEDGE_PYTHON").unwrap_or_else(|| "python3".into());
    let has_all = Command::new(&python).args(["-c", "import torch, onnx, onnxruntime, onnxscript"]).output();
    if !has_all.is_ok_and(|output| output.status.success()) {
        println!("skipped: no python3 (or SEDGE_PYTHON) with torch, onnx, onnxruntime and onnxscript");
        return Ok(());
    }
    let built = Built::from_environment()?;
    let script = root().join("tests/autodiff/compare.py");
    let output = Command::new(&python).arg(script).arg("--sedge").arg(&built.sedge).output()?;
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{table}");
    ensure!(output.status.success(), "steps differ:\n{table}{errors}");
    Ok(())
}
