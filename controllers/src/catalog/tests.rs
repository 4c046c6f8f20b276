//! What a status says, by the pure function, and how it follows a registry.

use sedge_api::Digest;
use sedge_api::resources::{Plugin, PluginSpec, PluginStatus, Role};

use super::decide::{Inspected, Looked, Sought};
use super::*;
use crate::registry::PluginFacts;
use crate::registry::component::ComponentSummary;

fn plugin(digest: Option<Digest>) -> Plugin {
    let reference = "fedavg:1".parse().unwrap();
    let mut plugin = Plugin::new("fedavg.1", PluginSpec { reference, digest });
    plugin.metadata.namespace = Some("default".to_owned());
    plugin.metadata.generation = Some(1);
    plugin
}

fn facts() -> PluginFacts {
    let summary = ComponentSummary {
        roles: vec![Role::Aggregator],
        imports: vec!["sedge:worker/job@0.1.0".to_owned()],
        exports: vec!["sedge:worker/aggregation@0.1.0".to_owned()],
    };
    PluginFacts { component: Digest::of(b"component"), bytes: 9, summary }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ready(plugin: &Plugin) -> (&str, &str, &str) {
    let condition = &plugin.conditions()[0];
    (&condition.status, &condition.reason, &condition.message)
}

#[test]
fn what_is_found_is_told_and_pinned() {
    let digest = Digest::of(b"manifest");
    let looked = Looked::Anew(Sought::Tagged, Some(digest), Inspected::Valid(facts()));
    let found = decide(&plugin(None), looked, at(1));
    let status = found.status.as_ref().unwrap();
    assert_eq!((status.digest, status.bytes), (Some(digest), Some(9)));
    assert_eq!((status.roles.as_slice(), status.imports.len()), ([Role::Aggregator].as_slice(), 1));
    assert_eq!(ready(&found).0, "True");
    assert_eq!(ready(&found).1, "Found");
}

#[test]
fn what_is_missing_says_what_to_do() {
    let missing = |sought| decide(&plugin(None), Looked::Anew(sought, None, Inspected::Missing), at(1));
    let digest = Digest::of(b"manifest");
    for (sought, told) in [
        (Sought::Tagged, "`sedge plugin push` brings it there"),
        (Sought::Named(digest), "take the digest out of the spec"),
        (Sought::Pinned(digest), "push the same again"),
    ] {
        let plugin = missing(sought);
        let (status, reason, message) = ready(&plugin);
        assert_eq!((status, reason), ("False", "NotFound"));
        assert!(message.contains(told), "{message}");
    }
    assert_eq!(missing(Sought::Tagged).pinned(), None);
    assert_eq!(missing(Sought::Pinned(digest)).pinned(), Some(digest));
}

#[test]
fn what_is_invalid_says_why_and_pins_nothing() {
    let looked =
        Looked::Anew(Sought::Tagged, Some(Digest::of(b"x")), Inspected::Invalid("it is empty".to_owned()));
    let invalid = decide(&plugin(None), looked, at(1));
    assert_eq!(ready(&invalid), ("False", "Invalid", "it is empty"));
    assert_eq!(invalid.pinned(), None);
}

#[test]
fn deciding_again_changes_nothing() {
    let looked = || Looked::Anew(Sought::Tagged, None, Inspected::Missing);
    let once = decide(&plugin(None), looked(), at(1));
    assert_eq!(decide(&once, looked(), at(2)), once);
    assert_eq!(decide(&once, Looked::AsBefore, at(2)), once);
}

mod with_a_registry {
    use super::*;
    use crate::registry::tests::{Fixture, components, push_plugin};

    #[tokio::test]
    async fn a_push_makes_a_plugin_ready_and_a_moved_tag_moves_nothing() {
        let fixture = Fixture::start().await;
        let look =
            |plugin: &Plugin, second| decide(plugin, look(plugin, &fixture.registry).unwrap(), at(second));
        let absent = look(&plugin(None), 1);
        assert_eq!(ready(&absent).1, "NotFound");

        let mut pushes = fixture.registry.watch();
        let first = push_plugin(&fixture, "fedavg:1", components::exporting(Role::Aggregator)).await;
        assert!(pushes.has_changed().unwrap());
        pushes.mark_unchanged();
        let found = look(&absent, 2);
        assert_eq!((ready(&found).1, found.pinned()), ("Found", Some(first)));

        let second = push_plugin(&fixture, "fedavg:1", components::exporting(Role::Trainer)).await;
        assert_ne!(first, second);
        assert_eq!(look(&found, 3), found);

        let mut changed = found.clone();
        changed.metadata.generation = Some(2);
        let moved = look(&changed, 4);
        assert_eq!(moved.pinned(), Some(second));
        assert_eq!(moved.status.as_ref().unwrap().roles, [Role::Trainer]);

        let named = look(&plugin(Some(first)), 5);
        assert_eq!((ready(&named).1, named.pinned()), ("Found", Some(first)));
        let unknown = look(&plugin(Some(Digest::of(b"never pushed"))), 6);
        assert_eq!((ready(&unknown).1, unknown.pinned()), ("NotFound", None));
        assert_eq!(unknown.status.map(|s| s.roles), PluginStatus::default().roles.into());
    }
}
