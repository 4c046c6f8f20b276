//! Request bodies, piece by piece: bounded in size, and given up where a client falls silent.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;

use super::refusal::{Code, Refusal};

/// How long the next piece may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next piece of content; none at the end.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.map_err(|_| {
            Refusal::new(Code::BlobUploadInvalid, format_args!("nothing came for {PATIENCE:?}"))
        })?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                let why = format!("the content broke off: {error}");
                return Err(Refusal::new(Code::BlobUploadInvalid, why));
            }
            Some(Ok(frame)) => {
                // Trailers are of no interest.
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// Refuse early what says itself that it is too large.
pub(super) fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) { Err(too_large(limit)) } else { Ok(()) }
}

pub(super) fn too_large(limit: u64) -> Refusal {
    Refusal::new(Code::SizeInvalid, format_args!("the content is too large: at most {limit} bytes are taken"))
}

/// All of a small body.
pub(super) async fn whole(mut body: Body, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut content = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        if (content.len() + piece.len()) as u64 > limit {
            return Err(too_large(limit));
        }
        content.extend_from_slice(&piece);
    }
    Ok(content)
}
