//! `sedge dataset`: samples of a Dataset as a file to be labelled, and a labelled file back into one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kube::api::Api;
use kube::client::Body;
use kube::core::Status;
use sedge_api::is_resource_name;
use sedge_api::node::MAX_TRANSFER_BYTES;
use sedge_api::resources::Dataset;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::screen;
use crate::server::{Access, Server};

/// Take samples out to be labelled, and bring labelled ones in.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a Dataset's samples to a file with an empty label column
    ///
    /// In CSV the label is empty; in NPZ it is -1, or NaN where labels are fractions. Fill in what you know, leave the rest,
    /// and bring the file back with `sedge dataset import`. At most 256 MiB leave a node as one file.
    Export(Export),
    /// Bring the labelled rows of a file into a Dataset whose path is a folder
    ///
    /// Rows are checked as the Dataset's own files are: a wrong column, a cell that is no number or a label that the Dataset
    /// does not have refuses the file, with its line. Rows without a label are left out. The others become a file of the
    /// folder, `labelled-….csv`; the same file, or a row of it, comes in once.
    Import(Import),
}

#[derive(Debug, clap::Args)]
struct Export {
    /// The Dataset, e.g. the one that a service keeps hard examples in
    #[arg(value_name = "NAME")]
    name: String,
    /// With the columns that the files of this Dataset have, so that it can be imported there
    #[arg(long, value_name = "DATASET")]
    like: Option<String>,
    /// Where to write it: a name that ends with .csv or .npz
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Only the latest so many samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// The Dataset
    #[arg(value_name = "NAME")]
    name: String,
    /// A file whose name ends with .csv or .npz
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take labels that the Dataset does not have yet
    #[arg(long)]
    new_labels: bool,
}

/// What the server says of a file that it gives.
#[derive(Debug, Default, Deserialize)]
struct Exported {
    samples: u64,
    empty: Vec<String>,
}

/// What came of a file that it was given.
#[derive(Debug, Default, Deserialize)]
struct Imported {
    samples: u64,
    taken: u64,
    unlabelled: u64,
    repeated: u64,
    file: String,
    already: bool,
    node: String,
}

/// Take samples out, or bring labelled ones in.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    match args.verb {
        Verb::Export(args) => export(args, access).await,
        Verb::Import(args) => import(args, access).await,
    }
}

async fn export(args: Export, access: &Access) -> anyhow::Result<()> {
    let format = format(&args.output)?;
    let mut query = format!("format={format}");
    if let Some(like) = &args.like {
        query += &format!("&like={}", named(like)?);
    }
    if let Some(limit) = args.limit {
        query += &format!("&limit={limit}");
    }
    let name = named(&args.name)?;
    let server = access.server().await?;
    let request =
        http::Request::get(format!("{}/{name}/samples?{query}", url(&server))).body(Body::empty())?;
    let response = answer(&server, request).await?;
    let said = response.headers().get("sedge-export").map(http::HeaderValue::as_bytes);
    let exported: Exported = said.and_then(|said| serde_json::from_slice(said).ok()).unwrap_or_default();
    let content = response.into_body().collect_bytes().await.context("the samples did not come whole")?;
    write(&args.output, &content).with_context(|| format!("cannot write {}", args.output.display()))?;
    screen::print(&exported_text(&exported, &args))?;
    Ok(())
}

fn exported_text(exported: &Exported, args: &Export) -> String {
    let file = args.output.display();
    let mut text = format!(
        "{} {} to {file}\n",
        screen::styled("exported", screen::GOOD),
        rows(exported.samples, "sample")
    );
    if !exported.empty.is_empty() {
        let columns = exported.empty.join("`, `");
        let back = args.like.as_deref().unwrap_or("DATASET");
        text += &format!("fill in `{columns}`, and bring it in with `sedge dataset import {back} {file}`\n");
    }
    text
}

/// Whole or not at all.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".sedge-").tempfile_in(folder)?;
    file.write_all(content)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Whoever labels may be another user; temporary files are for one alone.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

async fn import(args: Import, access: &Access) -> anyhow::Result<()> {
    let format = format(&args.file)?;
    let name = named(&args.name)?;
    let shown = args.file.display();
    let length = std::fs::metadata(&args.file).with_context(|| format!("cannot read {shown}"))?.len();
    if length > MAX_TRANSFER_BYTES {
        return Err(Failure::new(format!(
            "{shown} has {length} bytes; at most {} MiB come in as one file",
            MAX_TRANSFER_BYTES >> 20
        ))
        .hint("import it in parts, or put it into the dataset's folder on its node")
        .into());
    }
    let content = std::fs::read(&args.file).with_context(|| format!("cannot read {shown}"))?;
    let file = args.file.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
    let query = format!("format={format}&newLabels={}&file={}", args.new_labels, encoded(&file));
    let server = access.server().await?;
    let request =
        http::Request::post(format!("{}/{name}/labelled?{query}", url(&server))).body(Body::from(content))?;
    let response = answer(&server, request).await?;
    let imported: Imported = json(response).await?;
    screen::print(&imported_text(&imported, &args)?)?;
    Ok(())
}

fn imported_text(imported: &Imported, args: &Import) -> Result<String, Failure> {
    let shown = args.file.display();
    if imported.already {
        return Ok(format!("{shown} came in before, as {} on {}\n", imported.file, imported.node));
    }
    if imported.samples == imported.unlabelled {
        let failure = match imported.samples {
            0 => Failure::new(format!("{shown} has no rows")),
            rows => Failure::new(format!("none of the {rows} rows of {shown} has a label yet")),
        };
        return Err(failure.hint("fill in its label column, and import it again"));
    }
    let mut text = format!("{} of {} came in", rows(imported.taken, "row"), imported.samples);
    match imported.unlabelled {
        0 => {}
        1 => text += ", 1 has no label yet",
        more => text += &format!(", {more} have no label yet"),
    }
    match imported.repeated {
        0 => {}
        1 => text += ", 1 was there before",
        more => text += &format!(", {more} were there before"),
    }
    if imported.taken > 0 {
        text += &format!(", as {} on {}", imported.file, imported.node);
    }
    Ok(text + "\n")
}

fn rows(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn format(file: &Path) -> Result<&'static str, Failure> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "csv" => Ok("csv"),
        "npz" => Ok("npz"),
        _ => Err(Failure::new(format!("{} is neither CSV nor NPZ by its name", file.display()))
            .hint("name a file that ends with .csv or .npz")),
    }
}

/// A name that may be part of a URL. `ds/NAME` is understood too.
fn named(name: &str) -> Result<&str, Failure> {
    let bare =
        ["ds/", "dataset/", "datasets/"].iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name);
    match is_resource_name(bare) {
        true => Ok(bare),
        false => Err(Failure::new(format!("`{name}` is not the name of a Dataset"))
            .hint("`sedge get datasets` lists what there is")),
    }
}

/// As a value of a query.
fn encoded(text: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn url(server: &Server) -> String {
    Api::<Dataset>::namespaced(server.client.clone(), &server.namespace).resource_url().to_owned()
}

async fn answer(server: &Server, request: http::Request<Body>) -> anyhow::Result<http::Response<Body>> {
    let response = server.once()?.send(request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status();
    let body = response.into_body().collect_bytes().await?;
    match serde_json::from_slice::<Status>(&body) {
        Ok(status) if !status.message.is_empty() => Err(Failure::new(status.message).into()),
        _ => Err(Failure::new(format!("the server answers {code}"))
            .hint("it may be of a version that does not know this")
            .into()),
    }
}

async fn json<T: DeserializeOwned>(response: http::Response<Body>) -> anyhow::Result<T> {
    let body = response.into_body().collect_bytes().await?;
    serde_json::from_slice(&body).context("the server's answer is not understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import_of(file: &str) -> Import {
        Import { name: "stream".to_owned(), file: file.into(), new_labels: false }
    }

    #[test]
    fn what_came_in_is_said_in_a_line() {
        let imported = |samples, taken, unlabelled, repeated| Imported {
            samples,
            taken,
            unlabelled,
            repeated,
            file: "stream/labelled-0123456789ab.csv".to_owned(),
            node: "edge-1".to_owned(),
            ..Imported::default()
        };
        let said = |imported: Imported| imported_text(&imported, &import_of("hard.csv")).unwrap();
        assert_eq!(
            said(imported(50, 41, 9, 0)),
            "41 rows of 50 came in, 9 have no label yet, as stream/labelled-0123456789ab.csv on edge-1\n"
        );
        assert_eq!(
            said(imported(50, 0, 1, 49)),
            "0 rows of 50 came in, 1 has no label yet, 49 were there before\n"
        );
        let again = Imported { already: true, ..imported(0, 0, 0, 0) };
        assert_eq!(said(again), "hard.csv came in before, as stream/labelled-0123456789ab.csv on edge-1\n");
        let none = imported_text(&imported(5, 0, 5, 0), &import_of("hard.csv")).unwrap_err();
        assert_eq!(none.to_string(), "none of the 5 rows of hard.csv has a label yet");
    }

    #[test]
    fn what_is_to_be_filled_in_is_said() {
        let args = Export {
            name: "hard".to_owned(),
            like: Some("stream".to_owned()),
            output: "hard.csv".into(),
            limit: None,
        };
        let exported = Exported { samples: 50, empty: vec!["label".to_owned()] };
        assert_eq!(
            screen::plain(&exported_text(&exported, &args)),
            "exported 50 samples to hard.csv\nfill in `label`, and bring it in with `sedge dataset import stream hard.csv`\n"
        );
    }

    #[test]
    fn names_with_a_path_in_them_are_no_names() {
        assert_eq!(named("ds/stream").unwrap(), "stream");
        for name in ["../stream", "a/b", "a?b", "", "ds/../x", "A"] {
            assert!(named(name).is_err(), "{name}");
        }
        assert_eq!(encoded("a b&c=é.csv"), "a%20b%26c%3D%C3%A9.csv");
        assert!(format(Path::new("hard.parquet")).is_err());
    }
}
