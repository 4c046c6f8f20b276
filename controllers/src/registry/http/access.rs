//! Who may push and pull: whoever shows the token, where one is set.
//!
//! It is taken as a bearer token, or as the password of HTTP Basic under any user. Clients that know only the
//! registries' token handshake (docker) are sent to `/v2/_token`, which takes the same password and hands
//! out the token.

use std::fmt;
use std::hint::black_box;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::refusal::{Code, Refusal};
use crate::registry::names::Repository;

/// Who may push and pull.
#[derive(Clone, Default)]
pub struct Access {
    /// The secret that every request must show; absent, everyone may do everything.
    pub token: Option<String>,
    /// The registry's base address as clients see it, e.g. `https://registry.example`; absent, it is
    /// `http://` and whatever host the request names.
    pub address: Option<String>,
    /// The only repositories that may be written to are below this, e.g. `models/`; absent, all may.
    pub writes_below: Option<&'static str>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "<secret>");
        f.debug_struct("Access")
            .field("token", &token)
            .field("address", &self.address)
            .field("writes_below", &self.writes_below)
            .finish()
    }
}

impl Access {
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        match shown(headers) {
            Some(shown) if is_same(&shown, token) => Ok(()),
            Some(_) => Err(self.refuse(headers, "the token is not the one that this registry knows")),
            None => Err(self.refuse(headers, "this registry asks for a token")),
        }
    }

    /// Whether `repository` may be written to.
    pub(super) fn check_write(&self, repository: &Repository) -> Result<(), Refusal> {
        match self.writes_below {
            Some(prefix) if !repository.as_str().starts_with(prefix) => {
                Err(Refusal::new(Code::Denied, format_args!("from here only `{prefix}` may be pushed to")))
            }
            _ => Ok(()),
        }
    }

    fn refuse(&self, headers: &HeaderMap, why: &str) -> Refusal {
        let address = self.address.clone().or_else(|| {
            let host = headers.get(header::HOST)?.to_str().ok()?;
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
            host.bytes().all(is_plain).then(|| format!("http://{host}"))
        });
        let challenge = address
            .and_then(|address| {
                let challenge = format!(r#"Bearer realm="{address}/v2/_token",service="sedge""#);
                HeaderValue::try_from(challenge).ok()
            })
            .unwrap_or_else(|| HeaderValue::from_static("Bearer"));
        Refusal::new(Code::Unauthorized, why).with_challenge(challenge)
    }

    /// Answer the token handshake.
    pub(super) fn issue(&self, headers: &HeaderMap) -> Result<Response, Refusal> {
        // A registry without a token is open: any token does.
        let token = self.token.as_deref().unwrap_or("anonymous");
        if self.token.is_some() && !shown(headers).is_some_and(|shown| is_same(&shown, token)) {
            return Err(Refusal::new(Code::Unauthorized, "give the registry's token as the password")
                .with_challenge(HeaderValue::from_static(r#"Basic realm="sedge""#)));
        }
        Ok(Json(json!({ "token": token, "access_token": token })).into_response())
    }
}

/// The token in a request.
fn shown(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(value.to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let plain = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        Some(plain.split_once(':')?.1.to_owned())
    } else {
        None
    }
}

/// Compares hashes, all 32 bytes of them, so that the time it takes tells nothing of the token.
fn is_same(shown: &str, token: &str) -> bool {
    let (shown, token) = (Sha256::digest(shown), Sha256::digest(token));
    let difference = shown.iter().zip(token.iter()).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    difference == 0
}
