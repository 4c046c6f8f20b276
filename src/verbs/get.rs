//! `sedge get`: resources as a table or as documents, once or as they change.

use std::collections::HashMap;
use std::pin::pin;

use futures::TryStreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

use crate::columns::{self, Layout};
use crate::failure::Failure;
use crate::jsonpath::JsonPath;
use crate::kinds::Kind;
use crate::objects::{self, Request};
use crate::screen;
use crate::server::{Access, Server};
use crate::table::{Cell, Table};

/// Show resources.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `KIND [NAME…]`, `KIND,KIND` or `KIND/NAME…`; also `jobs` and `all`
    #[arg(required = true, value_name = "KIND")]
    words: Vec<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those whose labels match, e.g. `task=digits,site!=a`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// table, wide, yaml, json, name, or jsonpath=PATH
    #[arg(short, long, default_value = "table", value_parser = output, value_name = "FORM")]
    output: Output,
    /// Go on and show every change
    #[arg(short, long)]
    watch: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Output {
    Table,
    Wide,
    Yaml,
    Json,
    Name,
    Path(JsonPath),
}

fn output(text: &str) -> Result<Output, String> {
    Ok(match text {
        "table" => Output::Table,
        "wide" => Output::Wide,
        "yaml" => Output::Yaml,
        "json" => Output::Json,
        "name" => Output::Name,
        _ => match text.strip_prefix("jsonpath=") {
            Some(path) => Output::Path(path.trim_matches('\'').parse().map_err(|e| format!("{e}"))?),
            None => return Err("it is one of table, wide, yaml, json, name, jsonpath=PATH".into()),
        },
    })
}

/// Show resources.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let requests = Request::parse(&args.words)?;
    if args.watch {
        return watch(&args, &server, requests).await;
    }
    let mut found: Vec<(Kind, Vec<Value>)> = Vec::new();
    let mut named = 0;
    for request in requests {
        if request.names.is_empty() {
            for kind in request.kinds.clone() {
                let documents = objects::list(&server, &kind, args.all_namespaces, &args.list()).await?;
                found.push((kind, documents));
            }
        }
        for name in &request.names {
            named += 1;
            let (kind, document) = objects::get(&server, &request.kinds, name).await?;
            match found.last_mut() {
                Some((last, documents)) if last.resource == kind.resource => documents.push(document),
                _ => found.push((kind, vec![document])),
            }
        }
    }
    if named == 0 && args.output.is_table() && found.iter().all(|(_, documents)| documents.is_empty()) {
        let place = match args.all_namespaces || found.iter().all(|(kind, _)| !kind.namespaced) {
            true => String::new(),
            false => format!(" in namespace {}", server.namespace),
        };
        screen::complain(&format!("No resources found{place}.\n"));
        return Ok(());
    }
    screen::print(&show(&args, found, named == 1, Timestamp::now(), screen::width())?)?;
    Ok(())
}

/// All resources of one kind as a wide table, as `plugin ls` and `model ls` show them.
pub async fn table(kind: &str, all_namespaces: bool, access: &Access) -> anyhow::Result<()> {
    let (words, output) = (vec![kind.to_owned()], Output::Wide);
    run(Args { words, all_namespaces, selector: None, output, watch: false }, access).await
}

impl Args {
    fn list(&self) -> ListParams {
        ListParams { label_selector: self.selector.clone(), ..ListParams::default() }
    }

    fn layout(&self, kind: &Kind, prefix: bool) -> Layout {
        let wide = self.output == Output::Wide;
        Layout { wide, namespaces: self.all_namespaces, prefix, ..Layout::new(kind) }
    }
}

impl Output {
    fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// What was found, in the form asked for; `single`: one resource was named, so no list is made of it.
fn show(
    args: &Args,
    found: Vec<(Kind, Vec<Value>)>,
    single: bool,
    now: Timestamp,
    width: Option<usize>,
) -> anyhow::Result<String> {
    if args.output.is_table() {
        let prefix = found.len() > 1;
        let mut tables = Vec::new();
        for (kind, documents) in found.iter().filter(|(_, documents)| !documents.is_empty()) {
            let layout = args.layout(kind, prefix);
            let mut table = layout.table();
            documents.iter().for_each(|document| table.row(layout.row(document, now)));
            tables.push(table.render(width));
        }
        return Ok(tables.join("\n"));
    }
    let each = |write: &dyn Fn(&Kind, &Value) -> String| {
        found.iter().flat_map(|(kind, list)| list.iter().map(move |d| write(kind, d))).collect::<String>()
    };
    Ok(match &args.output {
        Output::Name => each(&|kind, document| format!("{}/{}\n", kind.qualified(), objects::name(document))),
        Output::Path(path) => each(&|_, document| {
            let values: Vec<String> = path.select(document).into_iter().map(columns::exact).collect();
            values.join(" ") + "\n"
        }),
        form => {
            let mut documents: Vec<Value> = found.into_iter().flat_map(|(_, documents)| documents).collect();
            let document = match single {
                true => documents.pop().unwrap_or_default(),
                false => json!({"apiVersion": "v1", "kind": "List", "items": documents}),
            };
            written_as(form, &document)?
        }
    })
}

fn written_as(form: &Output, document: &Value) -> anyhow::Result<String> {
    Ok(match form {
        Output::Json => serde_json::to_string_pretty(document)? + "\n",
        _ => serde_yaml_ng::to_string(document)?,
    })
}

/// Print what there is, then every change, until interrupted.
async fn watch(args: &Args, server: &Server, requests: Vec<Request>) -> anyhow::Result<()> {
    let [request] = requests.as_slice() else {
        return Err(Failure::new("`get -w` watches one kind of resource at a time").into());
    };
    let [kind] = request.kinds.as_slice() else {
        return Err(Failure::new("`get -w` watches one kind of resource at a time")
            .hint("name one, e.g. `sedge get federatedlearningjobs -w`")
            .into());
    };
    let api = objects::api(server, kind, args.all_namespaces);
    // A server that is not there is an error now; one that goes away later is waited for.
    api.list(&args.list().limit(1)).await?;
    let mut config = watcher::Config::default();
    config.label_selector.clone_from(&args.selector);
    let wanted = |document: &Value| {
        request.names.is_empty() || request.names.iter().any(|name| name == objects::name(document))
    };
    let mut changes = Changes::new(args, kind);
    let mut initial = Vec::new();
    let mut events = pin!(watcher(api, config).default_backoff());
    loop {
        let text = match events.try_next().await {
            Ok(None) => return Ok(()),
            Ok(Some(watcher::Event::Init)) => {
                initial.clear();
                continue;
            }
            Ok(Some(watcher::Event::InitApply(object))) => {
                initial.push(objects::document(kind, object));
                continue;
            }
            Ok(Some(watcher::Event::InitDone)) => {
                initial.retain(wanted);
                changes.listed(&std::mem::take(&mut initial))?
            }
            Ok(Some(watcher::Event::Apply(object))) => {
                let document = objects::document(kind, object);
                if wanted(&document) { changes.changed(&document)? } else { continue }
            }
            Ok(Some(watcher::Event::Delete(object))) => {
                let document = objects::document(kind, object);
                if wanted(&document) { changes.deleted(&document)? } else { continue }
            }
            Err(error) => {
                tracing::warn!(%error, "the watch was interrupted; trying again");
                continue;
            }
        };
        screen::print(&text)?;
    }
}

/// What has been shown of a watch, so that nothing is shown twice after a reconnection.
struct Changes<'a> {
    args: &'a Args,
    kind: &'a Kind,
    layout: Layout,
    table: Table,
    begun: bool,
    /// The resourceVersion last shown, by uid.
    shown: HashMap<String, String>,
}

impl<'a> Changes<'a> {
    fn new(args: &'a Args, kind: &'a Kind) -> Self {
        let layout = args.layout(kind, false);
        Self { args, kind, table: layout.table().growing(), layout, begun: false, shown: HashMap::new() }
    }

    /// The first list as a whole; of a later one, after a reconnection, what has changed.
    fn listed(&mut self, documents: &[Value]) -> anyhow::Result<String> {
        if !std::mem::replace(&mut self.begun, true) && self.args.output.is_table() {
            for document in documents {
                self.is_new(document);
                self.table.row(self.layout.row(document, Timestamp::now()));
            }
            return Ok(self.table.render(screen::width()));
        }
        documents.iter().map(|document| self.changed(document)).collect()
    }

    fn changed(&mut self, document: &Value) -> anyhow::Result<String> {
        if self.is_new(document) { self.one(document, false) } else { Ok(String::new()) }
    }

    fn deleted(&mut self, document: &Value) -> anyhow::Result<String> {
        self.shown.remove(objects::text(document, "/metadata/uid"));
        self.one(document, true)
    }

    fn is_new(&mut self, document: &Value) -> bool {
        let text = |pointer| objects::text(document, pointer).to_owned();
        let version = text("/metadata/resourceVersion");
        self.shown.insert(text("/metadata/uid"), version.clone()).is_none_or(|shown| shown != version)
    }

    fn one(&mut self, document: &Value, gone: bool) -> anyhow::Result<String> {
        if !self.args.output.is_table() {
            let text = show(
                self.args,
                vec![(self.kind.clone(), vec![document.clone()])],
                true,
                Timestamp::now(),
                None,
            )?;
            return Ok(if self.args.output == Output::Yaml { format!("---\n{text}") } else { text });
        }
        let mut row = self.layout.row(document, Timestamp::now());
        if gone {
            row = row.into_iter().map(|cell| cell.style(screen::DIM)).collect();
            row.pop();
            row.push(Cell::new("deleted").style(screen::DIM));
        }
        Ok(self.table.render_row(&row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_parsed_once() {
        assert_eq!(output("wide"), Ok(Output::Wide));
        assert_eq!(output("jsonpath={.spec.node}"), Ok(Output::Path(".spec.node".parse().unwrap())));
        assert!(output("xml").unwrap_err().contains("table, wide, yaml"));
    }
}
