//! A dataset as the manager defines it, as the crate that reads it takes it: where its files are, and how they are read.

use cap_std::fs::Dir;
use sedge_api::node::{self, dataset::Elsewhere};
use sedge_data::{Classes, DataError, Description, Format, Origin, Patience, Remote, S3, Split};
use tokio::runtime::Handle;

/// What is to be read.
pub struct Definition {
    /// Where from.
    pub origin: Origin,
    /// How.
    pub description: Description,
}

/// Of the manager's words. Err: they make no sense, or wait for something; CamelCase word and sentence.
pub fn definition(
    dataset: &node::Dataset,
    folder: &Dir,
    runtime: Handle,
) -> Result<Definition, (&'static str, String)> {
    let said = |error: DataError| (error.reason(), error.to_string());
    let description = description(dataset).map_err(said)?;
    let origin = match &dataset.elsewhere {
        None => {
            let folder = folder.try_clone().map_err(|error| ("Unreadable", error.to_string()))?;
            Origin::local(folder, dataset.path.as_str())
        }
        Some(Elsewhere::S3(s3)) => {
            if s3.signed && (s3.access_key_id.is_empty() || s3.secret_access_key.is_empty()) {
                return Err(waits("accessKeyId and secretAccessKey"));
            }
            let given = |text: &String| (!text.is_empty()).then(|| text.clone());
            let store = S3 {
                endpoint: given(&s3.endpoint),
                region: given(&s3.region),
                bucket: s3.bucket.clone(),
                keys: s3.signed.then(|| (s3.access_key_id.clone(), s3.secret_access_key.clone())),
                token: given(&s3.session_token),
                // The manifest says so: a store on the node's own network may have no certificate.
                allow_http: s3.endpoint.starts_with("http://"),
            };
            Origin::Remote(Remote::s3(store, &s3.prefix, Patience::default(), runtime).map_err(said)?)
        }
        Some(Elsewhere::Http(from)) => {
            if from.authorized && from.authorization.is_empty() {
                return Err(waits("authorization"));
            }
            let mut headers = http::HeaderMap::new();
            if from.authorized {
                let mut value = http::HeaderValue::from_str(&from.authorization).map_err(|_| {
                    ("InvalidSecret", "the Secret's authorization is no value of a header".to_owned())
                })?;
                value.set_sensitive(true);
                headers.insert(http::header::AUTHORIZATION, value);
            }
            Origin::Remote(Remote::http(&from.url, headers, Patience::default(), runtime).map_err(said)?)
        }
    };
    Ok(Definition { origin, description })
}

fn waits(keys: &str) -> (&'static str, String) {
    let what = format!(
        "the Secret with {keys} is not there; keys are not kept on the node, and come with the manager"
    );
    ("WaitingForSecret", what)
}

fn description(dataset: &node::Dataset) -> Result<Description, DataError> {
    let wrong = |what: String| DataError::Description { what };
    if !dataset.description.is_empty() {
        return serde_json::from_str(&dataset.description).map_err(|error| wrong(error.to_string()));
    }
    let format = match dataset.format() {
        node::Format::Csv => Format::Csv,
        node::Format::JsonLines => Format::JsonLines,
        node::Format::Parquet => Format::Parquet,
        node::Format::Arrow => Format::Arrow,
        node::Format::Npy => Format::Npy,
        node::Format::Npz => Format::Npz,
        node::Format::ImageFolder => Format::ImageFolder,
        node::Format::ImageList => Format::ImageList,
        node::Format::Unspecified => return Err(wrong("it names no format".to_owned())),
    };
    let split = match dataset.test_share {
        0.0 => Split::None,
        test => Split::Share { test, seed: dataset.split_seed },
    };
    let label = (!dataset.label.is_empty()).then(|| dataset.label.clone());
    Ok(Description { format, label, split, ..Description::default() })
}

/// The names of the classes of a tensor.
pub fn classes<'d>(description: &'d Description, tensor: &str) -> Option<&'d Classes> {
    match description.tensors.iter().find(|spec| spec.name == tensor) {
        Some(spec) => spec.classes.as_ref(),
        None if tensor == "y" => description.classes.as_ref(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the manager's hub writes it for a manifest that says everything.
    const DESCRIPTION: &str = r#"{
        "format": "json-lines",
        "classes": {"names": ["ripe", "rotten"], "fixed": true},
        "tensors": [
            {"name": "t", "columns": {"many": ["a", "b"]}, "dtype": "f32", "missing": {"fill": 0.5}},
            {"name": "c", "columns": {"one": "c"}, "dtype": "i64", "missing": "refuse", "classes": {"fixed": false}},
            {"name": "n", "columns": "rest", "dtype": "bf16", "missing": "nan"}
        ],
        "split": {"column": {"column": "site", "test": ["north"]}},
        "csv": {"delimiter": ";", "heading": "auto"},
        "image": {"width": 8, "height": 6, "colour": "grey", "layout": "hwc", "fit": "contain", "dtype": "u8"},
        "badRows": "skip",
        "lastRow": "wait"
    }"#;

    #[tokio::test]
    async fn what_the_manager_says_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let define = |dataset: node::Dataset| {
            definition(&dataset, &folder, Handle::current()).map(|definition| definition.description)
        };
        let description = DESCRIPTION.to_owned();
        let said = define(node::Dataset { description, ..node::Dataset::default() }).unwrap();
        assert_eq!((said.format, said.csv.delimiter, said.image.height), (Format::JsonLines, ';', 6));
        assert_eq!(said.split, Split::Column { column: "site".to_owned(), test: vec!["north".to_owned()] });
        said.check().unwrap();

        // A manager that knows nothing of descriptions.
        let old = node::Dataset {
            format: node::Format::Npy.into(),
            label: "0".to_owned(),
            test_share: 0.25,
            split_seed: 9,
            ..node::Dataset::default()
        };
        let said = define(old).unwrap();
        assert_eq!((said.format, said.label.as_deref()), (Format::Npy, Some("0")));
        assert_eq!(said.split, Split::Share { test: 0.25, seed: 9 });

        let unknown = node::Dataset { description: "{\"colour\": 1}".to_owned(), ..node::Dataset::default() };
        assert_eq!(define(unknown).unwrap_err().0, "InvalidDescription");
        assert_eq!(define(node::Dataset::default()).unwrap_err().0, "InvalidDescription");
    }
}
