//! Create, read, list, replace, patch.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Resource as _, ResourceExt as _};
use sedge_api::resources::{FederatedLearningJob, FederatedLearningJobStatus, JobPhase};
use serde_json::json;

use super::{Server, job, node, refusal};

#[tokio::test]
async fn an_object_is_born_with_an_identity_and_its_defaults() {
    let server = Server::start();
    let made = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    assert!(made.uid().is_some() && made.creation_timestamp().is_some() && made.resource_version().is_some());
    assert_eq!((made.namespace().as_deref(), made.metadata.generation), (Some("default"), Some(1)));
    assert_eq!(made.spec.aggregation.participants.minimum, 1);
    assert_eq!(server.jobs().get("digits").await.unwrap(), made);
    let raw: DynamicObject = dynamic(&server).get("digits").await.unwrap();
    assert_eq!(raw.data["spec"]["aggregation"]["roundDeadline"], "10m", "the schema's default is stored");
}

fn dynamic(server: &Server) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("sedge.dev", "v1alpha1", "FederatedLearningJob");
    Api::default_namespaced_with(server.client.clone(), &ApiResource::from_gvk(&kind))
}

#[tokio::test]
async fn a_name_can_be_made_by_the_server() {
    let server = Server::start();
    let mut unnamed = job("");
    unnamed.metadata.name = None;
    unnamed.metadata.generate_name = Some("run-".to_owned());
    let made = server.jobs().create(&PostParams::default(), &unnamed).await.unwrap();
    assert!(made.name_any().starts_with("run-") && made.name_any().len() == 9, "{}", made.name_any());
}

#[tokio::test]
async fn an_invalid_object_is_refused_with_the_fields_that_are_wrong() {
    let server = Server::start();
    let mut wrong = job("digits");
    wrong.spec.aggregation.rounds = 0;
    let status = refusal(server.jobs().create(&PostParams::default(), &wrong).await);
    assert_eq!((status.code, &status.reason[..]), (422, "Invalid"));
    let expected = "FederatedLearningJob.sedge.dev \"digits\" is invalid: \
                    spec.aggregation.rounds: Invalid value: 0: must be at least 1";
    assert_eq!(status.message, expected);
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(cause.field, "spec.aggregation.rounds");
    assert_eq!(
        (&cause.message[..], &cause.reason[..]),
        ("Invalid value: 0: must be at least 1", "FieldValueInvalid")
    );

    let mut empty: DynamicObject = DynamicObject::new("x", &ApiResource::erase::<FederatedLearningJob>(&()));
    empty.data = json!({"spec": {"model": "UPPER", "training": {"plugin": "p", "datasets": {}}}});
    let status = refusal(dynamic(&server).create(&PostParams::default(), &empty).await);
    let fields: Vec<String> = status.details.unwrap().causes.into_iter().map(|cause| cause.field).collect();
    assert_eq!(fields, ["spec.aggregation", "spec.model", "spec.training.datasets"]);
}

#[tokio::test]
async fn what_a_typed_client_could_not_read_is_refused() {
    let server = Server::start();
    let refused = async |path: &[&str], value: serde_json::Value| {
        let mut object = serde_json::to_value(job("digits")).unwrap();
        path.iter().fold(&mut object, |at, name| &mut at[*name]).clone_from(&value);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let status = refusal(dynamic(&server).create(&PostParams::default(), &object).await);
        status.details.unwrap().causes.remove(0).field
    };
    for (path, value) in [
        (&["spec", "model"][..], json!("a:1..2")),
        (&["spec", "aggregation", "roundDeadline"], json!("0s")),
        (&["spec", "aggregation", "roundDeadline"], json!("100000h")),
        (&["spec", "training", "resources"], json!({"memory": "99999999Ti"})),
        (&["spec", "training", "datasets"], json!({})),
    ] {
        let field = refused(path, value.clone()).await;
        assert!(field.starts_with(&path.join(".")), "{value}: {field}");
    }
    let mut whole = serde_json::to_value(job("digits")).unwrap();
    whole["spec"]["aggregation"]["rounds"] = json!(20.0);
    let whole: DynamicObject = serde_json::from_value(whole).unwrap();
    dynamic(&server).create(&PostParams::default(), &whole).await.unwrap();
    assert_eq!(
        server.jobs().list(&ListParams::default()).await.unwrap().items[0].spec.aggregation.rounds,
        20
    );
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let server = Server::start();
    server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let status = refusal(server.jobs().create(&PostParams::default(), &job("digits")).await);
    assert_eq!((status.code, &status.reason[..]), (409, "AlreadyExists"));
    assert_eq!(status.message, "federatedlearningjobs.sedge.dev \"digits\" already exists");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start();
    let status = refusal(server.jobs().get("digits").await);
    assert_eq!((status.code, &status.reason[..]), (404, "NotFound"));
    let elsewhere: Api<FederatedLearningJob> = Api::namespaced(server.client.clone(), "elsewhere");
    let status = refusal(elsewhere.create(&PostParams::default(), &job("digits")).await);
    assert_eq!((status.code, &status.message[..]), (404, "namespaces \"elsewhere\" not found"));
}

#[tokio::test]
async fn a_replace_needs_the_latest_version() {
    let server = Server::start();
    let first = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let mut second = first.clone();
    second.spec.aggregation.rounds = 30;
    let second = server.jobs().replace("digits", &PostParams::default(), &second).await.unwrap();
    assert_eq!(second.metadata.generation, Some(2));
    assert_eq!((second.uid(), second.creation_timestamp()), (first.uid(), first.creation_timestamp()));

    let status = refusal(server.jobs().replace("digits", &PostParams::default(), &first).await);
    assert_eq!((status.code, &status.reason[..]), (409, "Conflict"));
    let status = refusal(server.jobs().replace("digits", &PostParams::default(), &job("digits")).await);
    assert_eq!(
        (status.code, &status.details.unwrap().causes[0].field[..]),
        (422, "metadata.resourceVersion")
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_moves_nothing() {
    let server = Server::start();
    let made = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let again = server.jobs().replace("digits", &PostParams::default(), &made).await.unwrap();
    assert_eq!(again, made);
    let patch = Patch::Merge(json!({"spec": {"aggregation": {"rounds": 20}}}));
    let patched = server.jobs().patch("digits", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.resource_version(), made.resource_version());
}

#[tokio::test]
async fn spec_and_status_are_apart() {
    let server = Server::start();
    let mut wanted = job("digits");
    wanted.status = Some(FederatedLearningJobStatus { round: Some(7), ..Default::default() });
    let made = server.jobs().create(&PostParams::default(), &wanted).await.unwrap();
    assert_eq!(made.status, None, "a status is not made with the object");

    let both = json!({"spec": {"model": "other:1"}, "status": {"phase": "Running", "round": 1}});
    let patched =
        server.jobs().patch_status("digits", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!(patched.spec, made.spec);
    assert_eq!(patched.status.as_ref().unwrap().phase, JobPhase::Running);
    assert_eq!(patched.metadata.generation, Some(1), "generation moves with the spec alone");

    let patched = server.jobs().patch("digits", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!((patched.spec.model.name(), patched.metadata.generation), ("other", Some(2)));
    assert_eq!(patched.status.unwrap().round, Some(1));

    let wrong = json!({"status": {"phase": "Lost"}});
    let status =
        refusal(server.jobs().patch_status("digits", &PatchParams::default(), &Patch::Merge(&wrong)).await);
    assert_eq!(status.details.unwrap().causes[0].field, "status.phase");
}

#[tokio::test]
async fn patches_come_in_three_forms() {
    let server = Server::start();
    server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let parameters = PatchParams::apply("test");

    let operations = json!([{"op": "replace", "path": "/spec/aggregation/rounds", "value": 3}]);
    let operations = Patch::<FederatedLearningJob>::Json(serde_json::from_value(operations).unwrap());
    let patched = server.jobs().patch("digits", &parameters, &operations).await.unwrap();
    assert_eq!(patched.spec.aggregation.rounds, 3);

    let mut applied = job("digits");
    applied.spec.aggregation.rounds = 4;
    let patched = server.jobs().patch("digits", &parameters, &Patch::Apply(&applied)).await.unwrap();
    assert_eq!(patched.spec.aggregation.rounds, 4);
    let made = server.jobs().patch("new", &parameters, &Patch::Apply(job("new"))).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));

    let strategic = Patch::Strategic(json!({"spec": {"model": "other:1"}}));
    let status = refusal(server.jobs().patch("digits", &PatchParams::default(), &strategic).await);
    assert_eq!((status.code, &status.reason[..]), (415, "UnsupportedMediaType"));
}

#[tokio::test]
async fn identity_cannot_be_patched() {
    let server = Server::start();
    let made = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let patch = |metadata| Patch::Merge(json!({"metadata": metadata}));
    let patched = server
        .jobs()
        .patch(
            "digits",
            &PatchParams::default(),
            &patch(json!({"creationTimestamp": "2001-01-01T00:00:00Z"})),
        )
        .await
        .unwrap();
    assert_eq!(patched, made);
    let status = refusal(
        server.jobs().patch("digits", &PatchParams::default(), &patch(json!({"uid": "other"}))).await,
    );
    assert_eq!((status.code, &status.reason[..]), (409, "Conflict"));
    let status = refusal(
        server.jobs().patch("digits", &PatchParams::default(), &patch(json!({"name": "other"}))).await,
    );
    assert_eq!(status.code, 400);
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let server = Server::start();
    for name in ["a", "b", "c", "d", "e"] {
        server.nodes().create(&PostParams::default(), &node(name)).await.unwrap();
    }
    let names = |list: &kube::core::ObjectList<sedge_api::resources::EdgeNode>| {
        list.items.iter().map(|node| node.name_any()).collect::<Vec<_>>()
    };
    let first = server.nodes().list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    server.nodes().delete("c", &Default::default()).await.unwrap();
    let next = ListParams::default().limit(9).continue_token(first.metadata.continue_.as_deref().unwrap());
    let second = server.nodes().list(&next).await.unwrap();
    assert_eq!((names(&second), second.metadata.continue_), (vec!["d".to_owned(), "e".to_owned()], None));
    assert_eq!(
        second.metadata.resource_version, first.metadata.resource_version,
        "a watch from there is told of the deletion between the pages"
    );
    let one = server.nodes().list(&ListParams::default().fields("metadata.name=d")).await.unwrap();
    assert_eq!(names(&one), ["d"]);
    let status = refusal(server.nodes().list(&ListParams::default().continue_token("!")).await);
    assert_eq!(status.code, 400);
}

#[tokio::test]
async fn a_list_goes_over_one_namespace_or_all() {
    let server = Server::start();
    let namespaces: Api<Namespace> = Api::all(server.client.clone());
    let other = serde_json::from_value(json!({"metadata": {"name": "other"}})).unwrap();
    namespaces.create(&PostParams::default(), &other).await.unwrap();
    let there: Api<FederatedLearningJob> = Api::namespaced(server.client.clone(), "other");
    server.jobs().create(&PostParams::default(), &job("here")).await.unwrap();
    there.create(&PostParams::default(), &job("there")).await.unwrap();
    assert_eq!(there.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let all: Api<FederatedLearningJob> = Api::all(server.client.clone());
    assert_eq!(all.list(&ListParams::default().labels("task in (digits)")).await.unwrap().items.len(), 2);
    assert!(all.list(&ListParams::default().labels("task!=digits")).await.unwrap().items.is_empty());
    let metadata = all.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(metadata.items[0].name_any(), "here");
}

#[tokio::test]
async fn kinds_without_a_schema_keep_what_they_are_given() {
    let server = Server::start();
    let secrets: Api<Secret> = Api::default_namespaced(server.client.clone());
    let secret: Secret = serde_json::from_value(
        json!({"metadata": {"name": "join"}, "type": "sedge.dev/token", "data": {"token": "YWJj"}}),
    )
    .unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let found = secrets.list(&ListParams::default().fields("type=sedge.dev/token")).await.unwrap();
    assert_eq!(found.items[0].data.as_ref().unwrap()["token"].0, b"abc");
}

#[tokio::test]
async fn what_a_controller_records_is_found_as_an_event_of_the_core_group() {
    let server = Server::start();
    let job = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let recorder = Recorder::new(server.client.clone(), "federated".into());
    let event = Event {
        type_: EventType::Normal,
        reason: "Started".to_owned(),
        note: Some("20 rounds".to_owned()),
        action: "Start".to_owned(),
        secondary: None,
    };
    for _ in 0..2 {
        recorder.publish(&event, &job.object_ref(&())).await.unwrap();
    }
    let core: Api<k8s_openapi::api::core::v1::Event> = Api::default_namespaced(server.client.clone());
    let about =
        ListParams::default().fields("involvedObject.name=digits,involvedObject.kind=FederatedLearningJob");
    let events = core.list(&about).await.unwrap().items;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].message.as_deref(), Some("20 rounds"));
    assert_eq!(events[0].reporting_component.as_deref(), Some("federated"));
    assert_eq!(events[0].series.as_ref().unwrap().count, Some(2));
    let newer: Api<k8s_openapi::api::events::v1::Event> = Api::default_namespaced(server.client.clone());
    let events = newer.list(&ListParams::default().fields("regarding.name=digits")).await.unwrap().items;
    assert_eq!(events[0].note.as_deref(), Some("20 rounds"));
}

#[tokio::test]
async fn the_oldest_events_make_room() {
    let server = Server::start();
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::default_namespaced(server.client.clone());
    for index in 0..1001 {
        let mut event = k8s_openapi::api::core::v1::Event::default();
        event.metadata.name = Some(format!("e{index}"));
        events.create(&PostParams::default(), &event).await.unwrap();
    }
    assert_eq!(events.list(&ListParams::default()).await.unwrap().items.len(), 900);
    assert_eq!(refusal(events.get("e100").await).code, 404);
    events.get("e101").await.unwrap();
}
