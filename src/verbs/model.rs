//! `sedge model`: upload graphs and weights, list models, say what one consists of, and what became of those that a job
//! made.

mod onnx;
mod trainable;
mod versions;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sedge_api::artifact::{MODEL_GRAPH, MODEL_WEIGHTS};
use sedge_api::{ArtifactRef, Digest};
use sedge_controllers::registry::client::Shelf;

use super::describe::shape;
use crate::columns::{bytes, counted};
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::publish::publish;
use crate::registry;
use crate::screen;
use crate::server::Access;
use crate::table::{Cell, Table};
use crate::weights::{self, Tensor};

/// Upload models and look at them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Upload graphs (*.onnx, named by their file) and weights (*.safetensors), and make the Model resource
    Push {
        /// A folder or files, and last what to call the model
        #[arg(required = true, num_args = 2.., value_names = ["DIR|FILE", "NAME:TAG"])]
        words: Vec<String>,
    },
    /// List models
    #[command(alias = "list")]
    Ls {
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Make training graphs out of an inference graph, as PyTorch, TensorFlow and scikit-learn export it
    Trainable(trainable::Args),
    /// Show the versions that an incremental learning job has made
    History(versions::History),
    /// Show what differs between two of them
    Diff(versions::Diff),
    /// Let another of them serve
    Rollback(versions::Rollback),
    /// Say what a model consists of
    Inspect {
        /// A model in the registry, a folder or a file
        #[arg(value_name = "NAME:TAG|DIR|FILE")]
        what: String,
    },
}

/// Upload models and look at them.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    match args.verb {
        Verb::Push { mut words } => {
            let reference = words.pop().unwrap_or_default();
            let reference = reference.parse().map_err(|error| {
                Failure::new(format!("{error}")).hint("the name comes last: `sedge model push DIR NAME:TAG`")
            })?;
            push(&words, &reference, access).await
        }
        Verb::Ls { all_namespaces } => super::get::table("models", all_namespaces, access).await,
        Verb::Trainable(args) => trainable::run(&args),
        Verb::History(args) => versions::history(args, access).await,
        Verb::Diff(args) => versions::diff(args, access).await,
        Verb::Rollback(args) => versions::rollback(args, access).await,
        Verb::Inspect { what } => inspect(&what, access).await,
    }
}

/// The files of a model.
#[derive(Debug, Default)]
struct Files {
    graphs: BTreeMap<String, PathBuf>,
    weights: Option<PathBuf>,
}

impl Files {
    fn of(words: &[String]) -> anyhow::Result<Self> {
        let mut files = Self::default();
        for word in words {
            let path = Path::new(word);
            let context = || format!("cannot read {}", path.display());
            if path.is_dir() {
                for entry in std::fs::read_dir(path).with_context(context)? {
                    let file = entry.with_context(context)?.path();
                    if file.extension().is_some_and(|e| e == "onnx" || e == "safetensors") {
                        files.add(&file)?;
                    }
                }
            } else {
                std::fs::metadata(path).with_context(context)?;
                files.add(path)?;
            }
        }
        if files.graphs.is_empty() {
            return Err(Failure::new(format!("{} has no graph", words.join(" ")))
                .hint("a model has one .onnx file per graph: train.onnx, evaluate.onnx, infer.onnx")
                .into());
        }
        Ok(files)
    }

    fn add(&mut self, file: &Path) -> Result<(), Failure> {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let twice = |what: &str, other: &Path| {
            Failure::new(format!("{what}: {} and {}", other.display(), file.display()))
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("onnx") => match self.graphs.insert(stem.clone(), file.to_owned()) {
                Some(other) => Err(twice(&format!("two graphs are called `{stem}`"), &other)),
                None => Ok(()),
            },
            Some("safetensors") => match self.weights.replace(file.to_owned()) {
                Some(other) => Err(twice("a model has one file of weights", &other)),
                None => Ok(()),
            },
            _ => Err(Failure::new(format!("{} is neither .onnx nor .safetensors", file.display()))),
        }
    }
}

/// What a registry and a node would refuse is not uploaded. A graph that has weights in files beside it is written into
/// `folder` as one file, which is what is uploaded.
fn one_file(path: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let refused = |why: &dyn std::fmt::Display| Failure::new(format!("{}: {why:#}", path.display()));
    let file = onnx::read(path).map_err(|error| refused(&error))?;
    let (bytes, path_of_one) = match file.brought_in {
        0 => (file.bytes, path.to_owned()),
        _ => {
            let whole = folder.join(path.file_name().unwrap_or_default());
            let bytes = sedge_onnx::write(&file.model);
            std::fs::write(&whole, &bytes).with_context(|| format!("cannot write {}", whole.display()))?;
            (bytes, whole)
        }
    };
    sedge_onnx::Outline::of(&bytes).map_err(|error| refused(&error))?;
    Ok(path_of_one)
}

async fn push(words: &[String], reference: &ArtifactRef, access: &Access) -> anyhow::Result<()> {
    let mut files = Files::of(words)?;
    let folder = tempfile::tempdir().context("cannot make a folder for graphs with weights beside them")?;
    for graph in files.graphs.values_mut() {
        *graph = one_file(graph, folder.path())?;
    }
    if let Some(weights) = &files.weights {
        local_tensors(weights)?;
    }
    let server = access.server().await?;
    let graphs = files.graphs.keys().cloned().collect::<Vec<_>>().join(", ");
    let digest = registry::push_model(&server, reference, files.graphs, files.weights).await?;
    let kind = Kind::named("model")?.remove(0);
    publish(&server, &kind, reference, digest).await?;
    let pushed = screen::styled("pushed", screen::GOOD);
    screen::print(&format!("{pushed} {reference} ({graphs})\n{digest}\n"))?;
    Ok(())
}

/// What is shown of a model, wherever it lies.
#[derive(Debug, Default)]
struct Contents {
    digest: Option<Digest>,
    /// Name and size of each graph.
    graphs: Vec<(String, u64)>,
    /// Size and tensors.
    weights: Option<(u64, Vec<Tensor>)>,
}

async fn inspect(what: &str, access: &Access) -> anyhow::Result<()> {
    let contents = if Path::new(what).exists() { local(what)? } else { remote(what, access).await? };
    screen::print(&page(what, &contents, screen::width()))?;
    Ok(())
}

fn local(what: &str) -> anyhow::Result<Contents> {
    // Weights may be looked at without any graph.
    let path = Path::new(what);
    let files = match path.extension().is_some_and(|e| e == "safetensors") && path.is_file() {
        true => Files { weights: Some(path.to_owned()), ..Files::default() },
        false => Files::of(&[what.to_owned()])?,
    };
    let size = |path: &Path| {
        std::fs::metadata(path).map(|m| m.len()).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut contents = Contents::default();
    for (name, path) in &files.graphs {
        contents.graphs.push((name.clone(), size(path)?));
    }
    if let Some(path) = &files.weights {
        contents.weights = Some((size(path)?, local_tensors(path)?));
    }
    Ok(contents)
}

fn local_tensors(path: &Path) -> anyhow::Result<Vec<Tensor>> {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let mut prefix = [0; weights::PREFIX];
        file.read_exact(&mut prefix)?;
        let mut header = vec![0; weights::header_length(prefix)?];
        file.read_exact(&mut header)?;
        weights::tensors(&header)
    };
    read().with_context(|| format!("cannot read the weights {}", path.display()))
}

async fn remote(what: &str, access: &Access) -> anyhow::Result<Contents> {
    let reference: ArtifactRef = what.parse().map_err(|error| {
        Failure::new(format!("{error}")).detail(format!("nor is there a file or folder `{what}`"))
    })?;
    let server = access.server().await?;
    let (digest, manifest) = registry::manifest(&server, Shelf::Models, &reference).await?;
    let mut contents = Contents { digest: Some(digest), ..Contents::default() };
    for layer in &manifest.layers {
        match layer.media_type.as_str() {
            MODEL_GRAPH => contents.graphs.push((layer.title().unwrap_or_default().to_owned(), layer.size)),
            MODEL_WEIGHTS => {
                let tensors = registry::tensors(&server, &reference, layer.digest).await?;
                contents.weights = Some((layer.size, tensors));
            }
            _ => {}
        }
    }
    Ok(contents)
}

fn page(name: &str, contents: &Contents, width: Option<usize>) -> String {
    let field =
        |name: &str, value: &str| format!("{}{value}\n", screen::styled(&format!("{name:<12}"), screen::DIM));
    let mut text = field("Model", &screen::styled(name, screen::BOLD));
    if let Some(digest) = contents.digest {
        text.push_str(&field("Digest", &digest.to_string()));
    }
    for (at, (graph, size)) in contents.graphs.iter().enumerate() {
        text.push_str(&field(if at == 0 { "Graphs" } else { "" }, &format!("{graph} ({})", bytes(*size))));
    }
    let Some((size, tensors)) = &contents.weights else { return text };
    let parameters: u64 = tensors.iter().map(Tensor::elements).fold(0, u64::saturating_add);
    text.push_str(&field(
        "Weights",
        &format!("{} tensors, {} parameters, {}", tensors.len(), counted(parameters), bytes(*size)),
    ));
    let mut table = Table::new(["TENSOR", "TYPE", "SHAPE", "PARAMETERS"]);
    for tensor in tensors {
        table.row(vec![
            Cell::new(&tensor.name),
            Cell::new(tensor.dtype.to_lowercase()),
            Cell::new(shape(&tensor.shape)),
            Cell::number(counted(tensor.elements())),
        ]);
    }
    if !table.is_empty() {
        text.push_str(&format!("\n{}", table.render(width)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_shown_with_its_tensors() {
        let tensor = |name: &str, shape: &[u64]| Tensor {
            name: name.into(),
            dtype: "F32".into(),
            shape: shape.into(),
        };
        let contents = Contents {
            digest: Some(Digest::of(b"")),
            graphs: vec![("infer".into(), 700), ("train".into(), 1_300)],
            weights: Some((19_400, vec![tensor("b1", &[64]), tensor("w1", &[64, 64])])),
        };
        insta::assert_snapshot!(screen::plain(&page("digits-mlp:1", &contents, None)), @"
        Model       digits-mlp:1
        Digest      sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        Graphs      infer (700 B)
                    train (1.3 KiB)
        Weights     2 tensors, 4,160 parameters, 18.9 KiB

        TENSOR   TYPE   SHAPE      PARAMETERS
        b1       f32    [64]               64
        w1       f32    [64, 64]        4,096
        ");
    }

    #[test]
    fn a_graph_that_no_node_would_take_is_not_uploaded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let temporary = tempfile::tempdir().unwrap();
        let graph = folder.join("digits-mlp/infer.onnx");
        assert_eq!(one_file(&graph, temporary.path()).unwrap(), graph, "it is uploaded as it is");
        let error = one_file(&folder.join("digits.csv"), temporary.path()).unwrap_err().to_string();
        assert!(error.contains("digits.csv: the ONNX file is damaged"), "{error}");
    }

    #[test]
    fn weights_that_an_exporter_put_beside_a_graph_are_uploaded_in_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("host/tests/data/exports");
        let temporary = tempfile::tempdir().unwrap();
        let graph = folder.join("torch-cnn-default.onnx");
        let outside = sedge_onnx::Outline::of(&std::fs::read(&graph).unwrap().into()).unwrap_err();
        assert!(outside.to_string().contains("torch-cnn-default.onnx.data"), "{outside}");

        let whole = one_file(&graph, temporary.path()).unwrap();
        assert_eq!(whole, temporary.path().join("torch-cnn-default.onnx"));
        assert!(sedge_onnx::Outline::of(&std::fs::read(&whole).unwrap().into()).is_ok());

        let alone = temporary.path().join("alone.onnx");
        std::fs::copy(&graph, &alone).unwrap();
        let error = one_file(&alone, temporary.path()).unwrap_err().to_string();
        assert!(error.contains("in \"torch-cnn-default.onnx.data\""), "{error}");
    }

    #[test]
    fn a_model_has_one_file_of_weights_and_a_graph() {
        let mut files = Files::default();
        files.add(Path::new("a/train.onnx")).unwrap();
        files.add(Path::new("a/w.safetensors")).unwrap();
        assert_eq!(files.graphs.keys().collect::<Vec<_>>(), ["train"]);
        let refused = |files: &mut Files, path: &str| files.add(Path::new(path)).unwrap_err().to_string();
        assert_eq!(
            refused(&mut files, "b/train.onnx"),
            "two graphs are called `train`: a/train.onnx and b/train.onnx"
        );
        assert!(refused(&mut files, "b/w.safetensors").starts_with("a model has one file of weights"));
        assert_eq!(refused(&mut files, "x.pt"), "x.pt is neither .onnx nor .safetensors");
    }
}
