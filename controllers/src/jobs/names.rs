//! Names of Workers, and of models that jobs make. Called by each kind's own `names`.

use sedge_api::{ArtifactRef, Digest, is_dns_label, is_resource_name};

/// The name of a job's Worker: `JOB-WORD` or `JOB-WORD-PART`; where that would be `ambiguous` or too long, a
/// beginning of the job's name, a digest of all three and the word.
pub(crate) fn worker_name(job: &str, word: &str, part: Option<&str>, ambiguous: bool) -> String {
    let plain = match part {
        Some(part) => format!("{job}-{word}-{part}"),
        None => format!("{job}-{word}"),
    };
    if !ambiguous && is_resource_name(&plain) {
        return plain;
    }
    // A name cannot contain the separator `/`, so different triples hash different texts.
    let digest = Digest::of(format!("{job}/{word}/{}", part.unwrap_or_default()).as_bytes()).hex();
    format!("{}{}-{word}", beginning(job), &digest[..24])
}

/// Whether one of `words` stands between dashes in `name`.
pub(crate) fn has_word(name: &str, words: &[&str]) -> bool {
    name.split('-').any(|part| words.contains(&part))
}

/// What models that a job makes are called: the job's name, or a beginning of it where that is no name for a model.
pub(crate) fn model_name(job: &str) -> String {
    let label = job.replace('.', "-");
    if is_dns_label(&label) { label } else { format!("{}result", beginning(job)) }
}

/// What tells the models of one job from those of others of its name: eight digits of its uid.
pub(crate) fn model_tag(uid: &str) -> String {
    let short: String = uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    // A foreign uid may have no digits to give.
    if short.is_empty() { "latest".to_owned() } else { short }
}

/// The model of that tag of a job.
pub(crate) fn model_reference(job: &str, tag: &str) -> ArtifactRef {
    // Both parts are valid by construction, but for those that are too long together.
    format!("{}:{tag}", model_name(job)).parse().unwrap_or_else(|_| {
        let digest = Digest::of(format!("{job}/{tag}").as_bytes()).short();
        format!("result:{digest}").parse().expect("twelve hexadecimal digits are a tag")
    })
}

/// A readable beginning of `name`, ending in a dash, that any DNS label may begin with; may be empty.
fn beginning(name: &str) -> String {
    let kept: String =
        name.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-').take(20).collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() { String::new() } else { format!("{kept}-") }
}
