//! What a node is told of a Dataset: where its files are, with the keys of a Secret, and how they are read.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use sedge_api::node;
use sedge_api::resources::{Dataset, DatasetFormat, DatasetSpec, Missing, Split, TensorSpec};
use serde_json::{Map, Value, json};

/// The Dataset for its node.
pub fn held(dataset: &Dataset, secrets: &[Arc<Secret>]) -> node::Dataset {
    let spec = &dataset.spec;
    node::Dataset {
        namespace: dataset.namespace().unwrap_or_default(),
        name: dataset.name_any(),
        path: spec.path.clone().unwrap_or_default(),
        format: format(spec.format).into(),
        label: spec.label.clone().unwrap_or_default(),
        test_share: spec.split.test,
        split_seed: spec.split.seed,
        generation: dataset.metadata.generation.unwrap_or_default(),
        description: description(spec).to_string(),
        elsewhere: elsewhere(dataset, secrets),
    }
}

fn format(format: DatasetFormat) -> node::Format {
    match format {
        DatasetFormat::Csv => node::Format::Csv,
        DatasetFormat::JsonLines => node::Format::JsonLines,
        DatasetFormat::Parquet => node::Format::Parquet,
        DatasetFormat::Arrow => node::Format::Arrow,
        DatasetFormat::Npy => node::Format::Npy,
        DatasetFormat::Npz => node::Format::Npz,
        DatasetFormat::ImageFolder => node::Format::ImageFolder,
        DatasetFormat::ImageList => node::Format::ImageList,
    }
}

fn elsewhere(dataset: &Dataset, secrets: &[Arc<Secret>]) -> Option<node::dataset::Elsewhere> {
    let spec = &dataset.spec;
    let namespace = dataset.namespace();
    // Of a Secret that is not there, nothing: the node waits.
    let of = |name: &Option<String>, key: &str| -> String {
        let found =
            secrets.iter().find(|secret| secret.namespace() == namespace && Some(secret.name_any()) == *name);
        let Some(secret) = found else { return String::new() };
        let plain = secret.string_data.as_ref().and_then(|data| data.get(key).cloned());
        let encoded = || {
            let bytes = secret.data.as_ref()?.get(key)?;
            String::from_utf8(bytes.0.clone()).ok()
        };
        plain.or_else(encoded).unwrap_or_default().trim().to_owned()
    };
    if let Some(s3) = &spec.s3 {
        return Some(node::dataset::Elsewhere::S3(node::S3 {
            endpoint: s3.endpoint.clone().unwrap_or_default(),
            region: s3.region.clone().unwrap_or_default(),
            bucket: s3.bucket.clone(),
            prefix: s3.prefix.clone().unwrap_or_default(),
            access_key_id: of(&s3.credentials, "accessKeyId"),
            secret_access_key: of(&s3.credentials, "secretAccessKey"),
            session_token: of(&s3.credentials, "sessionToken"),
            signed: s3.credentials.is_some(),
        }));
    }
    spec.http.as_ref().map(|http| {
        node::dataset::Elsewhere::Http(node::Http {
            url: http.url.clone(),
            authorization: of(&http.credentials, "authorization"),
            authorized: http.credentials.is_some(),
        })
    })
}

/// As the crate sedge-data reads it.
fn description(spec: &DatasetSpec) -> Value {
    let mut description = Map::new();
    description.insert("format".to_owned(), json!(spec.format));
    if let Some(label) = &spec.label {
        description.insert("label".to_owned(), json!(label));
    }
    if let Some(classes) = &spec.classes {
        description.insert("classes".to_owned(), json!(classes));
    }
    description.insert("tensors".to_owned(), spec.tensors.iter().map(tensor).collect());
    description.insert("split".to_owned(), split(&spec.split));
    if let Some(csv) = &spec.csv {
        let delimiter = csv.delimiter.as_deref().unwrap_or(",");
        description.insert("csv".to_owned(), json!({"delimiter": delimiter, "heading": csv.heading}));
    }
    if let Some(image) = &spec.image {
        description.insert("image".to_owned(), json!(image));
    }
    description.insert("badRows".to_owned(), json!(spec.bad_rows));
    description.insert("lastRow".to_owned(), json!(spec.last_row));
    Value::Object(description)
}

fn tensor(spec: &TensorSpec) -> Value {
    let columns = match (&spec.column, &spec.columns[..]) {
        (Some(column), _) => json!({"one": column}),
        (None, []) => json!("rest"),
        (None, columns) => json!({"many": columns}),
    };
    let missing = match (spec.fill, spec.missing) {
        (Some(value), _) => json!({"fill": value}),
        (None, Missing::Refuse) => json!("refuse"),
        (None, Missing::Nan) => json!("nan"),
    };
    let mut tensor = json!({"name": spec.name, "columns": columns, "dtype": spec.dtype, "missing": missing});
    if let (Some(classes), Some(tensor)) = (&spec.classes, tensor.as_object_mut()) {
        tensor.insert("classes".to_owned(), json!(classes));
    }
    tensor
}

fn split(split: &Split) -> Value {
    match (&split.column, &split.time) {
        (Some(column), _) => json!({"column": {"column": column.column, "test": column.test}}),
        (None, Some(time)) => json!({"time": {"column": time.column, "from": time.from}}),
        (None, None) if split.test > 0.0 => json!({"share": {"test": split.test, "seed": split.seed}}),
        (None, None) => json!("none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(spec: Value) -> Dataset {
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Dataset",
            "metadata": {"name": "d", "namespace": "farm", "generation": 3},
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn an_old_manifest_says_what_it_said() {
        let held = held(
            &dataset(json!({"node": "edge-1", "path": "d.csv", "format": "csv", "label": "y",
                            "split": {"test": 0.2, "seed": 7}})),
            &[],
        );
        assert_eq!((held.path.as_str(), held.format(), held.generation), ("d.csv", node::Format::Csv, 3));
        assert_eq!((held.test_share, held.split_seed), (0.2, 7));
        assert_eq!(held.elsewhere, None);
        let description: Value = serde_json::from_str(&held.description).unwrap();
        assert_eq!(description["split"], json!({"share": {"test": 0.2, "seed": 7}}));
        assert_eq!(description["label"], "y");
    }

    #[test]
    fn keys_come_out_of_the_namespaces_secret_and_appear_in_no_message() {
        let secret = |namespace: &str, key: &str| -> Arc<Secret> {
            let secret = json!({"metadata": {"name": "store", "namespace": namespace},
                                "stringData": {"accessKeyId": key}, "data": {"secretAccessKey": "aHVudGVyMg=="}});
            Arc::new(serde_json::from_value(secret).unwrap())
        };
        let secrets = [secret("other", "wrong"), secret("farm", "right")];
        let spec = json!({"node": "edge-1", "format": "parquet",
                          "s3": {"bucket": "b", "prefix": "day/", "credentials": "store"},
                          "split": {"time": {"column": "at", "from": "2026-01-01"}},
                          "tensors": [{"name": "t", "columns": ["a", "b"], "fill": 0.5}, {"name": "rest", "dtype": "f16"},
                                      {"name": "c", "column": "c", "dtype": "i64", "classes": {"names": ["x"]}}]});
        let held_now = held(&dataset(spec.clone()), &secrets);
        let Some(node::dataset::Elsewhere::S3(s3)) = &held_now.elsewhere else { panic!("{held_now:?}") };
        assert_eq!(
            (s3.access_key_id.as_str(), s3.secret_access_key.as_str(), s3.signed),
            ("right", "hunter2", true)
        );
        assert!(!format!("{held_now:?}").contains("hunter2"), "{held_now:?}");
        let kept = held_now.clone().without_secrets();
        let Some(node::dataset::Elsewhere::S3(kept)) = kept.elsewhere else { panic!() };
        assert_eq!((kept.secret_access_key.as_str(), kept.signed), ("", true));
        let description: Value = serde_json::from_str(&held_now.description).unwrap();
        assert_eq!(
            description["tensors"],
            json!([
                {"name": "t", "columns": {"many": ["a", "b"]}, "dtype": "f32", "missing": {"fill": 0.5}},
                {"name": "rest", "columns": "rest", "dtype": "f16", "missing": "refuse"},
                {"name": "c", "columns": {"one": "c"}, "dtype": "i64", "missing": "refuse",
                 "classes": {"names": ["x"], "fixed": false}},
            ])
        );
        assert_eq!(description["split"], json!({"time": {"column": "at", "from": "2026-01-01"}}));
        // The Secret is not there yet.
        let waiting = held(&dataset(spec), &[]);
        let Some(node::dataset::Elsewhere::S3(s3)) = waiting.elsewhere else { panic!() };
        assert_eq!((s3.access_key_id.as_str(), s3.signed), ("", true));
    }
}
