//! `sedge apply`: make resources what files say.

pub mod manifest;
mod merge;

use std::path::PathBuf;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::Request;
use serde_json::{Map, Value};

use self::manifest::Manifest;
use crate::failure::{self, Failure};
use crate::objects;
use crate::screen;
use crate::server::{Access, Server};

/// Who the server says has written a field.
const MANAGER: &str = "sedge";

/// Create or change resources as files say.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file, a folder of files, or `-` for standard input; may be given again
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Let the server merge: fields that others manage are conflicts
    #[arg(long)]
    server_side: bool,
    /// With --server-side: take over fields that others manage
    #[arg(long, requires = "server_side")]
    force_conflicts: bool,
}

/// Create or change resources as files say; every one is tried before a failure is reported.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let mut manifests = Vec::new();
    let mut problems = Vec::new();
    for path in &args.files {
        for (file, text) in manifest::read(path)? {
            for found in manifest::parse(&file, &text) {
                match found {
                    Ok(manifest) => manifests.push(manifest),
                    Err(bad) => problems.push(bad.to_string()),
                }
            }
        }
    }
    if manifests.is_empty() && problems.is_empty() {
        return Err(Failure::new("there is no resource in what was given").into());
    }
    let total = manifests.len() + problems.len();
    for manifest in &manifests {
        let done = match args.server_side {
            true => server_side(&server, manifest, args.force_conflicts).await,
            false => client_side(&server, manifest).await,
        };
        match done {
            Ok(done) => screen::print(&format!("{} {}\n", manifest.label(), done.word()))?,
            Err(Refusal::Refused(why)) => {
                problems.push(format!("{} ({}): {why}", manifest.label(), manifest.place));
            }
            Err(Refusal::Unreachable(error)) => return Err(error.into()),
        }
    }
    match problems.len() {
        0 => Ok(()),
        count => {
            let failure = Failure::new(format!("{count} of {total} resources could not be applied"));
            Err(problems.into_iter().fold(failure, Failure::detail).into())
        }
    }
}

/// What came of applying one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Created,
    Configured,
    Unchanged,
}

impl Done {
    fn word(self) -> String {
        let word = match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => return screen::styled("unchanged", screen::DIM),
        };
        screen::styled(word, screen::style_of_state(word))
    }

    /// From the resourceVersion before and after.
    fn between(before: Option<&str>, after: Option<&str>) -> Self {
        match before {
            None => Self::Created,
            Some(before) if Some(before) == after => Self::Unchanged,
            Some(_) => Self::Configured,
        }
    }
}

/// Why one resource was not applied.
enum Refusal {
    /// The server, or we, will not have it; the next may go well.
    Refused(String),
    /// No server answers; none of the next will go well.
    Unreachable(kube::Error),
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(_) | kube::Error::SerdeError(_) => Self::Refused(failure::one_line(&error)),
            other => Self::Unreachable(other),
        }
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

async fn client_side(server: &Server, manifest: &Manifest) -> Result<Done, Refusal> {
    let server = manifest.server(server);
    let api = objects::api(&server, &manifest.kind, false);
    let wanted = merge::annotated(&manifest.document);
    let Some(live) = api.get_opt(manifest.name()).await? else {
        return create(&server, manifest, &wanted).await;
    };
    let before = live.metadata.resource_version.clone();
    let live = objects::document(&manifest.kind, live);
    let patch: Map<String, Value> = merge::patch(merge::last_applied(&live).as_ref(), &wanted, &live);
    if patch.is_empty() {
        return Ok(Done::Unchanged);
    }
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let params = params.validation_strict();
    let after = api.patch(manifest.name(), &params, &Patch::Merge(Value::Object(patch))).await?;
    Ok(Done::between(before.as_deref(), after.metadata.resource_version.as_deref()))
}

/// POST with strict field validation, which kube's own `create` cannot ask for.
async fn create(server: &Server, manifest: &Manifest, wanted: &Value) -> Result<Done, Refusal> {
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let url = objects::api(server, &manifest.kind, false).resource_url().to_owned();
    let mut request = Request::new(url)
        .create(&params, serde_json::to_vec(wanted)?)
        .map_err(|error| Refusal::Refused(error.to_string()))?;
    let strict = format!("{}&fieldValidation={}", request.uri(), ValidationDirective::Strict.as_str());
    *request.uri_mut() = strict.parse().map_err(|_| Refusal::Refused("its name makes no URL".into()))?;
    server.client.request::<DynamicObject>(request).await?;
    Ok(Done::Created)
}

async fn server_side(server: &Server, manifest: &Manifest, force: bool) -> Result<Done, Refusal> {
    let api = objects::api(&manifest.server(server), &manifest.kind, false);
    let before = api.get_opt(manifest.name()).await?.and_then(|live| live.metadata.resource_version);
    let params = PatchParams { force, ..PatchParams::apply(MANAGER) }.validation_strict();
    let after = api.patch(manifest.name(), &params, &Patch::Apply(&manifest.document)).await?;
    Ok(Done::between(before.as_deref(), after.metadata.resource_version.as_deref()))
}
