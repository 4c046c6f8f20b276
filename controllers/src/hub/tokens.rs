//! Secrets that nodes present: the join token, and a token for each job's federation.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// A secret text that callers present. It never shows in a log, and is compared in constant time.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// This text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to hand to who may know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this token. Digests are compared, all of both, so that the time taken tells
    /// nothing of where they differ.
    pub fn is(&self, presented: &str) -> bool {
        let (ours, theirs) = (Sha256::digest(&self.0), Sha256::digest(presented));
        ours.iter().zip(theirs.iter()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }

    /// Whether an `authorization` header is `Bearer` and this token.
    pub fn authorizes(&self, header: Option<&str>) -> bool {
        let presented = header.and_then(|text| text.split_once(' '));
        presented
            .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && self.is(token.trim()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The manager's secret, from which the token of each job's federation follows. A manager that restarts
/// with the same secret gives the same tokens, and running federations go on.
#[derive(Clone)]
pub struct FederationSecret([u8; 32]);

impl FederationSecret {
    /// From 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA256 of the job's uid, in hexadecimal.
    pub fn token(&self, job_uid: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(job_uid.as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for FederationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FederationSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_authorizes_its_bearer_alone() {
        let token = Token::new("s3cret");
        assert!(token.authorizes(Some("Bearer s3cret")));
        for header in
            [None, Some(""), Some("s3cret"), Some("Basic s3cret"), Some("Bearer s3cret2"), Some("Bearer ")]
        {
            assert!(!token.authorizes(header), "{header:?}");
        }
    }

    #[test]
    fn jobs_have_tokens_of_their_own_that_outlive_a_restart() {
        let secret = FederationSecret::new([7; 32]);
        assert_eq!(secret.token("a"), FederationSecret::new([7; 32]).token("a"));
        assert_ne!(secret.token("a"), secret.token("b"));
        assert_eq!(secret.token("a").len(), 64);
    }
}
