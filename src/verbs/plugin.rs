//! `sedge plugin`: upload components, list them, and say what one can do.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sedge_api::artifact::{MAX_PLUGIN_BYTES, PLUGIN_LAYER};
use sedge_api::resources::Role;
use sedge_api::{ArtifactRef, Digest};
use sedge_controllers::registry::client::Shelf;
use sedge_controllers::registry::component::{self, ComponentSummary};

use crate::columns::bytes;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::publish::publish;
use crate::registry;
use crate::screen;
use crate::server::Access;

/// Upload plugins and look at them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Upload a component and make its Plugin resource
    Push {
        /// The component, built for wasm32-wasip2
        file: PathBuf,
        /// What to call it
        #[arg(value_name = "NAME:TAG")]
        reference: ArtifactRef,
    },
    /// List plugins
    #[command(alias = "list")]
    Ls {
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Say what a component can do and what it asks for
    Inspect {
        /// A plugin in the registry, or a file
        #[arg(value_name = "NAME:TAG|FILE")]
        what: String,
    },
}

/// Upload plugins and look at them.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    match args.verb {
        Verb::Push { file, reference } => push(&file, &reference, access).await,
        Verb::Ls { all_namespaces } => super::get::table("plugins", all_namespaces, access).await,
        Verb::Inspect { what } => inspect(&what, access).await,
    }
}

async fn push(file: &Path, reference: &ArtifactRef, access: &Access) -> anyhow::Result<()> {
    let component = read(file)?;
    let summary = summarise(&file.display().to_string(), &component)?;
    let server = access.server().await?;
    let digest = registry::push_plugin(&server, reference, component).await?;
    let kind = Kind::named("plugin")?.remove(0);
    publish(&server, &kind, reference, digest).await?;
    screen::print(&format!(
        "{} {reference} ({})\n{digest}\n",
        screen::styled("pushed", screen::GOOD),
        words(&summary.roles)
    ))?;
    Ok(())
}

async fn inspect(what: &str, access: &Access) -> anyhow::Result<()> {
    let is_file = Path::new(what).is_file();
    let (component, digest) = if is_file {
        (read(Path::new(what))?, None)
    } else {
        let reference: ArtifactRef = what.parse().map_err(|error| {
            Failure::new(format!("{error}")).detail(format!("nor is there a file `{what}`"))
        })?;
        let server = access.server().await?;
        let (digest, manifest) = registry::manifest(&server, Shelf::Plugins, &reference).await?;
        let layer = manifest.layers.iter().find(|layer| layer.media_type == PLUGIN_LAYER);
        let layer = layer.with_context(|| format!("{what} in the registry has no component"))?;
        let registry = registry::client(&server)?;
        let component = registry.blob(Shelf::Plugins, &reference, layer, MAX_PLUGIN_BYTES).await?;
        (component, Some(digest))
    };
    let summary = summarise(what, &component)?;
    screen::print(&page(what, component.len() as u64, digest, Digest::of(&component), &summary))?;
    Ok(())
}

fn page(
    name: &str,
    size: u64,
    manifest: Option<Digest>,
    content: Digest,
    summary: &ComponentSummary,
) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: String| {
        text.push_str(&format!("{}{value}\n", screen::styled(&format!("{name:<12}"), screen::DIM)));
    };
    field("Plugin", screen::styled(name, screen::BOLD));
    field("Roles", words(&summary.roles));
    field("Size", bytes(size));
    if let Some(digest) = manifest {
        field("Digest", digest.to_string());
    }
    field("Component", content.to_string());
    for (title, interfaces) in [("Exports", &summary.exports), ("Imports", &summary.imports)] {
        for (at, interface) in interfaces.iter().enumerate() {
            field(if at == 0 { title } else { "" }, interface.clone());
        }
    }
    text
}

fn summarise(name: &str, component: &[u8]) -> anyhow::Result<ComponentSummary> {
    component::inspect(component).map_err(|error| {
        Failure::new(format!("{name} is no plugin: {error}"))
            .hint("build it with `cargo build --target wasm32-wasip2` and an `export!` of the SDK")
            .into()
    })
}

fn words(roles: &[Role]) -> String {
    roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(", ")
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || format!("cannot read {}", file.display());
    let size = std::fs::metadata(file).with_context(context)?.len();
    if size > MAX_PLUGIN_BYTES {
        return Err(Failure::new(format!(
            "{} has {}; a component may have {}",
            file.display(),
            bytes(size),
            bytes(MAX_PLUGIN_BYTES)
        ))
        .into());
    }
    std::fs::read(file).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspected_component_says_all_it_can_and_asks_for() {
        let summary = ComponentSummary {
            roles: vec![Role::Aggregator],
            imports: vec!["sedge:worker/model@0.1.0".into(), "wasi:nn/tensor@0.2.0-rc-2024-10-28".into()],
            exports: vec!["sedge:worker/aggregation@0.1.0".into()],
        };
        let digest = Digest::of(b"");
        insta::assert_snapshot!(screen::plain(&page("fedavg:0.1.0", 58_982, Some(digest), digest, &summary)), @"
        Plugin      fedavg:0.1.0
        Roles       aggregator
        Size        57.6 KiB
        Digest      sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        Component   sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        Exports     sedge:worker/aggregation@0.1.0
        Imports     sedge:worker/model@0.1.0
                    wasi:nn/tensor@0.2.0-rc-2024-10-28
        ");
    }
}
