//! Names, parsed once: digests of artifacts and references to them.

use std::fmt;
use std::str::FromStr;

use sedge_quantities::serde_as_text;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{value}` is not a valid {what}: {why}")]
pub struct InvalidName {
    /// What it was meant to be.
    pub what: &'static str,
    /// What was given, cut to a readable length.
    pub value: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, value: &str, why: &'static str) -> Self {
        Self { what, value: value.chars().take(100).collect(), why }
    }
}

/// The SHA-256 of some content, written `sha256:` and 64 lower-case hexadecimal digits as OCI does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// From the 32 bytes that a SHA-256 hasher ended with.
    pub const fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 hexadecimal digits, without `sha256:`; good as a file name.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let error = |why| InvalidName::new("digest", text, why);
        let hex = text.strip_prefix("sha256:").ok_or_else(|| error("it must begin with `sha256:`"))?;
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(error("64 lower-case hexadecimal digits must follow `sha256:`"));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| if c <= b'9' { c - b'0' } else { c - b'a' + 10 };
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        Ok(Self(bytes))
    }
}

/// A name that people give to something in the registry: `name:tag`, e.g. `fedavg:0.1.0`.
///
/// The tag may be left out and is then `latest`. `name` is a DNS label, so that a resource can bear it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactRef {
    name: String,
    tag: String,
}

impl ArtifactRef {
    /// Most characters in `name:tag`.
    pub const MAX: usize = 128;

    /// The part before the colon.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part after the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The name of the Plugin or Model resource that stands for this reference, e.g. `fedavg.0.1.0`.
    ///
    /// Upper case is lowered and `_` becomes `-`, as resource names know neither.
    pub fn resource_name(&self) -> String {
        let tag: String = self.tag.to_lowercase().replace('_', "-");
        format!("{}.{}", self.name, tag.trim_matches(['-', '.']))
    }
}

impl fmt::Display for ArtifactRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl fmt::Debug for ArtifactRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ArtifactRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let error = |why| InvalidName::new("reference (name:tag)", text, why);
        if text.len() > Self::MAX {
            return Err(error("it has at most 128 characters"));
        }
        let (name, tag) = text.split_once(':').unwrap_or((text, "latest"));
        if !is_dns_label(name) {
            return Err(error("the name takes lower-case letters, digits and inner `-`, at most 63"));
        }
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if tag.is_empty() || !tag.bytes().all(inner) {
            return Err(error("the tag takes letters, digits, `.`, `_` and `-`, at least one"));
        }
        if !tag.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !tag.ends_with(|c: char| c.is_ascii_alphanumeric())
        {
            return Err(error("the tag begins and ends with a letter or digit"));
        }
        let reference = Self { name: name.to_owned(), tag: tag.to_owned() };
        if is_resource_name(&reference.resource_name()) {
            Ok(reference)
        } else {
            Err(error(
                "between dots, the tag has 1 to 63 characters that begin and end with a letter or digit",
            ))
        }
    }
}

/// A column named by its heading or counted from zero, as a Dataset's `label` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRef {
    /// By its heading.
    Name(String),
    /// By its place, from zero.
    Index(usize),
}

impl From<&str> for LabelRef {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index)
    }
}

/// Whether `text` is a DNS label (RFC 1123): what names of nodes and artifacts are.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` is a name that Kubernetes gives resources: DNS labels joined by dots, at most 253.
pub fn is_resource_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

serde_as_text!(
    Digest,
    "^sha256:[0-9a-f]{64}$",
    at most 71,
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
);
serde_as_text!(
    ArtifactRef,
    // The name is a DNS label; so is each part of the tag between dots, but for upper case and `_`.
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(:[A-Za-z0-9]([-_A-Za-z0-9]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([-_A-Za-z0-9]{0,61}[A-Za-z0-9])?)*)?$",
    at most ArtifactRef::MAX,
    "fedavg:0.1.0"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_digest_is_written_as_it_is_read() {
        let digest = Digest::of(b"");
        assert_eq!(
            digest.to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn a_reference_without_a_tag_means_latest() {
        let reference: ArtifactRef = "fedavg".parse().unwrap();
        assert_eq!(reference.to_string(), "fedavg:latest");
    }

    #[test]
    fn a_reference_says_what_is_wrong_with_it() {
        for (text, why) in [
            ("", "the name takes"),
            ("Fed:1", "the name takes"),
            ("../x:1", "the name takes"),
            ("fedavg:", "the tag takes"),
            ("fedavg:a/b", "the tag takes"),
            ("fedavg:-1", "the tag begins"),
            ("fedavg:1..2", "between dots"),
            ("fedavg:1.-2", "between dots"),
            (&format!("fedavg:{}", "x".repeat(64)), "between dots"),
            (&"x".repeat(64), "the name takes"),
            (&format!("fedavg:{}", "x.".repeat(64)), "at most 128"),
        ] {
            let error = text.parse::<ArtifactRef>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_a_reference_names_a_resource(text in "[a-zA-Z0-9:._/-]{0,40}") {
            if let Ok(reference) = text.parse::<ArtifactRef>() {
                prop_assert!(is_resource_name(&reference.resource_name()));
                prop_assert_eq!(reference.to_string().parse::<ArtifactRef>().unwrap(), reference);
            }
        }

        #[test]
        fn no_text_panics_the_digest_parser(text in "(sha256:)?[0-9a-fA-Fé]{0,70}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
