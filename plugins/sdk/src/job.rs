//! The job that this worker serves: its parameters, and reports to it.

use serde::de::DeserializeOwned;

use crate::Error;
use crate::bindings::capabilities::sedge::worker::job as host;
pub use crate::bindings::capabilities::sedge::worker::job::Metric;

impl Metric {
    /// One measured value.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value }
    }
}

/// Reports `done` of `total` units and the metrics measured so far. When the host says stop, this is
/// [`Error::Stopped`], so a loop that reports with `?` ends as it should.
pub fn report(done: u64, total: u64, metrics: &[Metric]) -> Result<(), Error> {
    match host::report(done, total, metrics) {
        host::Verdict::Proceed => Ok(()),
        host::Verdict::Stop => Err(Error::Stopped { done, total }),
    }
}

/// The job's parameters for this plugin.
pub fn parameters<P: DeserializeOwned>() -> Result<P, Error> {
    parse(&host::parameters())
}

/// Parses parameters; an error names the field.
fn parse<P: DeserializeOwned>(json: &str) -> Result<P, Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        // A path of "." means the object as a whole; serde's message then names the field itself.
        let field = if path == "." { "object".to_owned() } else { path };
        Error::parameter(field, error.into_inner().to_string())
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
    struct Parameters {
        batch_size: u32,
        schedule: Vec<f32>,
    }

    impl Default for Parameters {
        fn default() -> Self {
            Self { batch_size: 32, schedule: vec![0.1] }
        }
    }

    #[test]
    fn absent_parameters_have_their_defaults() {
        let parameters: Parameters = parse("{}").unwrap();
        assert_eq!((parameters.batch_size, parameters.schedule), (32, vec![0.1]));
    }

    #[test]
    fn an_error_names_the_field_that_is_wrong() {
        let message = |json| parse::<Parameters>(json).unwrap_err().to_string();
        assert!(message(r#"{"batchSize": -1}"#).starts_with("parameter batchSize: invalid value"));
        assert!(message(r#"{"schedule": [0.1, "x"]}"#).starts_with("parameter schedule[1]: invalid type"));
        assert!(
            message(r#"{"batchsize": 8}"#).contains("`batchSize`"),
            "a wrong name is told the right ones"
        );
    }
}
