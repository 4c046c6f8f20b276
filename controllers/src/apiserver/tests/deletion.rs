//! Delete, and what follows from it.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Resource as _, ResourceExt as _};
use sedge_api::resources::{EdgeNode, FederatedLearningJob};
use serde_json::json;

use super::{Server, job, node, refusal};

fn secrets(server: &Server) -> Api<Secret> {
    Api::default_namespaced(server.client.clone())
}

/// A secret owned by `owners`.
fn owned(name: &str, owners: &[&FederatedLearningJob]) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.to_owned());
    secret.metadata.owner_references = Some(owners.iter().filter_map(|owner| owner.owner_ref(&())).collect());
    secret
}

async fn create(server: &Server, name: &str) -> FederatedLearningJob {
    server.jobs().create(&PostParams::default(), &job(name)).await.unwrap()
}

async fn names(api: &Api<Secret>) -> Vec<String> {
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items.iter().map(|secret| secret.name_any()).collect()
}

fn finalizers(list: &[&str]) -> Patch<serde_json::Value> {
    Patch::Merge(json!({"metadata": {"finalizers": list}}))
}

#[tokio::test]
async fn an_object_goes_at_once_or_with_its_last_finalizer() {
    let server = Server::start();
    create(&server, "plain").await;
    assert!(server.jobs().delete("plain", &DeleteParams::default()).await.unwrap().is_right());
    assert_eq!(refusal(server.jobs().get("plain").await).code, 404);

    create(&server, "held").await;
    let (jobs, parameters) = (server.jobs(), PatchParams::default());
    jobs.patch("held", &parameters, &finalizers(&["sedge.dev/a", "sedge.dev/b"])).await.unwrap();
    let marked = jobs.delete("held", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    let again = jobs.delete("held", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(again, marked);
    let status = refusal(jobs.patch("held", &parameters, &finalizers(&["sedge.dev/c"])).await);
    assert_eq!(status.details.unwrap().causes[0].field, "metadata.finalizers");
    jobs.patch("held", &parameters, &finalizers(&["sedge.dev/b"])).await.unwrap();
    jobs.patch("held", &parameters, &finalizers(&[])).await.unwrap();
    assert_eq!(refusal(jobs.get("held").await).code, 404);
}

#[tokio::test]
async fn preconditions_protect_an_object_that_was_made_anew() {
    let server = Server::start();
    let made = create(&server, "digits").await;
    let preconditions = Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let wrong = DeleteParams::default().preconditions(preconditions);
    assert_eq!(refusal(server.jobs().delete("digits", &wrong).await).code, 409);
    let right = DeleteParams::default()
        .preconditions(Preconditions { uid: made.uid(), resource_version: made.resource_version() });
    server.jobs().delete("digits", &right).await.unwrap();
}

#[tokio::test]
async fn dependents_go_with_their_last_owner() {
    let server = Server::start();
    let (one, two) = (create(&server, "one").await, create(&server, "two").await);
    let secrets = secrets(&server);
    for secret in [owned("of-one", &[&one]), owned("of-both", &[&one, &two])] {
        secrets.create(&PostParams::default(), &secret).await.unwrap();
    }
    server.jobs().delete("one", &DeleteParams::default()).await.unwrap();
    assert_eq!(names(&secrets).await, ["of-both"]);
    let left = secrets.get("of-both").await.unwrap().metadata.owner_references.unwrap();
    assert_eq!(left.iter().map(|owner| &owner.name[..]).collect::<Vec<_>>(), ["two"]);
    server.jobs().delete("two", &DeleteParams::default()).await.unwrap();
    assert!(names(&secrets).await.is_empty());
}

#[tokio::test]
async fn dependents_go_when_the_last_finalizer_of_their_owner_does() {
    let server = Server::start();
    let owner = create(&server, "one").await;
    let secrets = secrets(&server);
    secrets.create(&PostParams::default(), &owned("of-one", &[&owner])).await.unwrap();
    let jobs = server.jobs();
    jobs.patch("one", &PatchParams::default(), &finalizers(&["sedge.dev/a"])).await.unwrap();
    jobs.delete("one", &DeleteParams::default()).await.unwrap();
    assert_eq!(names(&secrets).await, ["of-one"]);
    jobs.patch("one", &PatchParams::default(), &finalizers(&[])).await.unwrap();
    assert!(names(&secrets).await.is_empty());
}

#[tokio::test]
async fn a_dependent_that_comes_after_its_owner_went_goes_too() {
    let server = Server::start();
    let (gone, stays) = (create(&server, "gone").await, create(&server, "stays").await);
    server.jobs().delete("gone", &DeleteParams::default()).await.unwrap();
    let secrets = secrets(&server);
    let made = secrets.create(&PostParams::default(), &owned("late", &[&gone])).await.unwrap();
    assert_eq!(made.name_any(), "late", "the writer is not told of a failure, as on a cluster");
    secrets.create(&PostParams::default(), &owned("of-both", &[&gone, &stays])).await.unwrap();
    assert_eq!(names(&secrets).await, ["of-both"]);
    let given = json!({"metadata": {"ownerReferences": [gone.owner_ref(&()).unwrap()]}});
    secrets.patch("of-both", &PatchParams::default(), &Patch::Merge(given)).await.unwrap();
    assert!(names(&secrets).await.is_empty());
}

#[tokio::test]
async fn a_dependent_with_a_finalizer_waits_for_it() {
    let server = Server::start();
    let owner = create(&server, "one").await;
    let secrets = secrets(&server);
    let mut secret = owned("of-one", &[&owner]);
    secret.metadata.finalizers = Some(vec!["sedge.dev/a".to_owned()]);
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    server.jobs().delete("one", &DeleteParams::default()).await.unwrap();
    assert!(secrets.get("of-one").await.unwrap().metadata.deletion_timestamp.is_some());
    secrets.patch("of-one", &PatchParams::default(), &finalizers(&[])).await.unwrap();
    assert!(names(&secrets).await.is_empty());
}

#[tokio::test]
async fn orphans_stay() {
    let server = Server::start();
    let owner = create(&server, "one").await;
    let secrets = secrets(&server);
    secrets.create(&PostParams::default(), &owned("of-one", &[&owner])).await.unwrap();
    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    server.jobs().delete("one", &orphan).await.unwrap();
    assert_eq!(secrets.get("of-one").await.unwrap().metadata.owner_references, None);
}

#[tokio::test]
async fn a_collection_goes_by_its_labels_with_its_dependents() {
    let server = Server::start();
    let owner = create(&server, "one").await;
    let secrets = secrets(&server);
    secrets.create(&PostParams::default(), &owned("of-one", &[&owner])).await.unwrap();
    let mut other = job("other");
    other.metadata.labels = None;
    server.jobs().create(&PostParams::default(), &other).await.unwrap();
    let deleted = server
        .jobs()
        .delete_collection(&DeleteParams::default(), &ListParams::default().labels("task=digits"))
        .await
        .unwrap();
    assert_eq!(deleted.left().unwrap().items.len(), 1);
    assert_eq!(server.jobs().list(&ListParams::default()).await.unwrap().items[0].name_any(), "other");
    assert!(names(&secrets).await.is_empty());
}

#[tokio::test]
async fn a_long_chain_of_owners_goes_in_one_deletion() {
    let server = Server::start();
    let nodes: Api<EdgeNode> = server.nodes();
    let mut last = nodes.create(&PostParams::default(), &node("n0")).await.unwrap();
    for index in 1..200 {
        let mut next = node(&format!("n{index}"));
        next.metadata.owner_references = Some(vec![last.owner_ref(&()).unwrap()]);
        last = nodes.create(&PostParams::default(), &next).await.unwrap();
    }
    nodes.delete("n0", &DeleteParams::default()).await.unwrap();
    assert!(nodes.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_namespace_goes_with_the_last_of_its_contents() {
    let server = Server::start();
    let namespaces: Api<Namespace> = Api::all(server.client.clone());
    assert_eq!(refusal(namespaces.delete("default", &DeleteParams::default()).await).code, 403);
    let other = serde_json::from_value(json!({"metadata": {"name": "other"}})).unwrap();
    namespaces.create(&PostParams::default(), &other).await.unwrap();
    let there: Api<FederatedLearningJob> = Api::namespaced(server.client.clone(), "other");
    there.create(&PostParams::default(), &job("plain")).await.unwrap();
    let mut held = job("held");
    held.metadata.finalizers = Some(vec!["sedge.dev/a".to_owned()]);
    there.create(&PostParams::default(), &held).await.unwrap();

    let waiting = namespaces.delete("other", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(waiting.status.unwrap().phase.as_deref(), Some("Terminating"));
    assert_eq!(refusal(there.get("plain").await).code, 404);
    assert_eq!(refusal(there.create(&PostParams::default(), &job("late")).await).code, 403);
    there.patch("held", &PatchParams::default(), &finalizers(&[])).await.unwrap();
    assert_eq!(refusal(namespaces.get("other").await).code, 404);
}
