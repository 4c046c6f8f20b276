//! Names of Workers. Called by each kind's own `names`.

use sedge_api::{Digest, is_resource_name};

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

/// A readable beginning of `name`, ending in a dash, that any DNS label may begin with; may be empty.
pub(crate) fn beginning(name: &str) -> String {
    let kept: String =
        name.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-').take(20).collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() { String::new() } else { format!("{kept}-") }
}
