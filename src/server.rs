//! Where the server is: the kubeconfig that says it, and the client made of it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::failure::Failure;

/// Where `sedge up` keeps its data unless told otherwise, and the client looks for its kubeconfig.
pub const DATA: &str = "./sedge-data";

/// How to reach the server: options of every verb that asks it something.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Access {
    /// Kubeconfig of the server [default: ./sedge-data/kubeconfig]
    #[arg(long, global = true, value_name = "FILE", env = "SEDGE_KUBECONFIG", hide_env_values = true)]
    kubeconfig: Option<PathBuf>,
    /// Use the cluster of KUBECONFIG or ~/.kube/config, as kubectl does
    #[arg(long, global = true, conflicts_with = "kubeconfig")]
    cluster: bool,
    /// Namespace of the resources
    #[arg(short, long, global = true, default_value = "default")]
    pub namespace: String,
}

/// A server that answers, or will be tried.
#[derive(Clone)]
pub struct Server {
    /// Its client.
    pub client: Client,
    /// Its URL.
    pub address: String,
    /// The token that it wants from us.
    pub token: Option<String>,
    /// The namespace asked for.
    pub namespace: String,
    config: Config,
}

impl Server {
    /// A client that asks once. Others ask for minutes where the server cannot answer now, which a person would rather know:
    /// that a node is not in touch, say.
    pub fn once(&self) -> anyhow::Result<Client> {
        let mut config = self.config.clone();
        config.default_retry = false;
        Client::try_from(config).context("no client can be made of the kubeconfig")
    }
}

impl Access {
    /// The client of the server that the options mean. Nothing is sent yet.
    pub async fn server(&self) -> anyhow::Result<Server> {
        let (kubeconfig, token) = self.kubeconfig()?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .context("the kubeconfig cannot be used")?;
        let address = config.cluster_url.to_string();
        let client = Client::try_from(config.clone()).context("no client can be made of the kubeconfig")?;
        Ok(Server { client, address, token, namespace: self.namespace.clone(), config })
    }

    /// The server's URL for messages, if the kubeconfig can be read.
    pub fn address(&self) -> Option<String> {
        let (kubeconfig, _) = self.kubeconfig().ok()?;
        let current = kubeconfig.current_context?;
        let context = kubeconfig.contexts.into_iter().find(|c| c.name == current)?.context?;
        kubeconfig.clusters.into_iter().find(|c| c.name == context.cluster)?.cluster?.server
    }

    fn kubeconfig(&self) -> anyhow::Result<(Kubeconfig, Option<String>)> {
        if self.cluster {
            return Ok((Kubeconfig::read().context("the cluster's kubeconfig cannot be read")?, None));
        }
        let path = match &self.kubeconfig {
            Some(path) => path.clone(),
            None => Path::new(DATA).join("kubeconfig"),
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.kubeconfig.is_none() => {
                return Err(Failure::new(format!("no server is known: {} is not there", path.display()))
                    .hint("run `sedge up` here, or pass --kubeconfig FILE of a running server")
                    .hint("to use the cluster that kubectl uses, pass --cluster")
                    .into());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let kubeconfig =
            Kubeconfig::from_yaml(&text).with_context(|| format!("{} is no kubeconfig", path.display()))?;
        let token = token(&text);
        Ok((kubeconfig, token))
    }
}

/// The token of the current context's user: kube keeps it to itself, and the registry wants it too.
fn token(text: &str) -> Option<String> {
    let document: serde_json::Value = serde_yaml_ng::from_str(text).ok()?;
    let named = |list: &str, name: &str| {
        document[list].as_array()?.iter().find(|entry| entry["name"] == name).cloned()
    };
    let context = named("contexts", document["current-context"].as_str()?)?;
    let user = named("users", context["context"]["user"].as_str()?)?;
    user["user"]["token"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_that_of_the_current_contexts_user() {
        let text = "
            current-context: b
            contexts: [{name: a, context: {user: u1}}, {name: b, context: {user: u2}}]
            users: [{name: u1, user: {token: one}}, {name: u2, user: {token: two}}]
        ";
        assert_eq!(token(text).as_deref(), Some("two"));
        assert_eq!(token("users: 7"), None);
    }

    #[test]
    fn without_a_server_the_error_says_how_to_get_one() {
        let access = Access {
            kubeconfig: Some("/nowhere/kubeconfig".into()),
            cluster: false,
            namespace: "default".into(),
        };
        let error = access.kubeconfig().unwrap_err();
        let text = crate::screen::plain(&crate::failure::report(&error, None));
        assert!(text.starts_with("error: cannot read /nowhere/kubeconfig: No such file"), "{text}");
    }
}
