//! Names that the distribution API puts in its addresses, parsed once: repositories and tags.
//!
//! A parsed name is also safe as a relative path: no part of it is empty, begins with `.` or `_`, or holds a
//! separator, so it neither leaves its folder nor meets the registry's own entries (`_links`, `.upload-…`).

use std::fmt;
use std::str::FromStr;

use sedge_api::{Digest, InvalidName};

const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// A repository's name by the grammar of the OCI distribution specification, e.g. `plugins/fedavg`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

/// What the registry asks of manifests in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Under `plugins/`: components.
    Plugins,
    /// Under `models/`: graphs and weights.
    Models,
    /// Anywhere else: any OCI artifact; nodes are never told to run it.
    Other,
}

impl Repository {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is kept there.
    pub fn kind(&self) -> Kind {
        match self.0.split_once('/') {
            Some(("plugins", _)) => Kind::Plugins,
            Some(("models", _)) => Kind::Models,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Repository {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() <= MAX_REPOSITORY && text.split('/').all(is_path_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid(
                "repository name",
                text,
                "it takes lower-case letters and digits, joined by `.`, `_`, `__`, `-` and `/`, at most 255",
            ))
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    is_word(*first)
        && is_word(*last)
        && bytes
            .split(|b| is_word(*b))
            .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if text.len() <= MAX_TAG
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text.bytes().all(is_inner)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid(
                "tag",
                text,
                "it takes 1 to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            ))
        }
    }
}

/// What names a manifest in an address: a tag, or the digest itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// Whatever bears the tag now.
    Tag(Tag),
    /// That manifest.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // No tag holds a colon, every digest does.
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

fn invalid(what: &'static str, value: &str, why: &'static str) -> InvalidName {
    InvalidName { what, value: value.chars().take(100).collect(), why }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_specification_are_repositories() {
        for text in ["a", "plugins/fedavg", "models/digits-mlp", "a.b/c_d/e__f/g---h", "0/1"] {
            assert_eq!(text.parse::<Repository>().map(|r| r.0), Ok(text.to_owned()));
        }
        assert_eq!("plugins/a".parse::<Repository>().unwrap().kind(), Kind::Plugins);
        assert_eq!("models/a".parse::<Repository>().unwrap().kind(), Kind::Models);
        assert_eq!("plugins".parse::<Repository>().unwrap().kind(), Kind::Other);
    }

    #[test]
    fn tricks_with_paths_are_no_names() {
        for text in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "a.", "a..b", "_links", "a/_tags", "A",
            "a___b",
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text}");
        }
        for text in ["a\\b", "a b", "a%2e", "a\0b", "é", "a:b"] {
            assert!(text.parse::<Repository>().is_err(), "{text}");
            assert!(text.parse::<Tag>().is_err(), "{text}");
        }
        for text in ["", ".", "..", "-a", "a/b", &"a".repeat(129)] {
            assert!(text.parse::<Tag>().is_err(), "{text}");
        }
        assert!("a/".repeat(128).parse::<Repository>().is_err());
    }

    proptest! {
        #[test]
        fn a_repository_is_a_plain_relative_path(text in "[a-zA-Z0-9._/-]{0,40}") {
            if let Ok(repository) = text.parse::<Repository>() {
                for part in std::path::Path::new(repository.as_str()).components() {
                    prop_assert!(matches!(part, std::path::Component::Normal(_)));
                }
                prop_assert!(!text.split('/').any(|part| part.starts_with(['_', '.'])));
            }
        }
    }
}
