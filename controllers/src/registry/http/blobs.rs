//! Pulling blobs, whole or a range of them.

use std::io::{Seek as _, SeekFrom};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use sedge_api::Digest;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::refusal::{Code, Refusal};
use super::{CONTENT_DIGEST, blocking};
use crate::registry::names::Repository;
use crate::registry::{Registry, RegistryError};

/// Content is read in pieces of this size.
const PIECE: usize = 256 << 10;

/// What a request wants of a blob.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From byte, so many.
    Part(u64, u64),
    Impossible,
}

/// GET and HEAD.
pub(super) async fn get(
    registry: &Registry,
    repository: Repository,
    digest: Digest,
    headers: &HeaderMap,
    is_head: bool,
) -> Result<Response, Refusal> {
    let registry = registry.clone();
    let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok()).filter(|_| !is_head);
    let range = range.map(str::to_owned);
    let (size, file, wanted) = blocking(move || {
        let unknown = || Refusal::new(Code::BlobUnknown, format_args!("`{repository}` has no blob {digest}"));
        if !registry.inner.store.is_linked(&repository, &digest)? {
            return Err(unknown());
        }
        let (size, mut file) = registry.blob(&digest)?.ok_or_else(unknown)?;
        let wanted = range.map_or(Wanted::All, |range| parse_range(&range, size));
        if let Wanted::Part(start, _) = wanted {
            file.seek(SeekFrom::Start(start))
                .map_err(|source| RegistryError::disk("read blob", digest, source))?;
        }
        Ok((size, file, wanted))
    })
    .await?;

    let (status, length, content_range) = match wanted {
        Wanted::All => (StatusCode::OK, size, None),
        Wanted::Part(start, length) => {
            let range = format!("bytes {start}-{}/{size}", start + length - 1);
            (StatusCode::PARTIAL_CONTENT, length, Some(range))
        }
        Wanted::Impossible => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            let refusal = Refusal::new(Code::SizeInvalid, format_args!("the blob has {size} bytes"))
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE);
            return Ok((range, refusal).into_response());
        }
    };
    let body = if is_head {
        Body::empty()
    } else {
        let file = tokio::fs::File::from_std(file.into_std()).take(length);
        Body::from_stream(ReaderStream::with_capacity(file, PIECE))
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let content_range = content_range.map(|range| [(header::CONTENT_RANGE, range)]);
    Ok((status, headers, content_range, body).into_response())
}

/// One range in bytes (RFC 9110, section 14). Of several, or of what is no range, the answer is the whole, as
/// the RFC allows.
fn parse_range(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let (start, end) = match (number(first), number(last)) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, size),
        (Err(_), Ok(last)) if first.trim().is_empty() => (size.saturating_sub(last), size),
        _ => return Wanted::All,
    };
    if start < end { Wanted::Part(start, end - start) } else { Wanted::Impossible }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_the_blob() {
        for (text, wanted) in [
            ("bytes=0-0", Wanted::Part(0, 1)),
            ("bytes=2-5", Wanted::Part(2, 4)),
            ("bytes=2-", Wanted::Part(2, 8)),
            ("bytes=2-18446744073709551615", Wanted::Part(2, 8)),
            ("bytes=-3", Wanted::Part(7, 3)),
            ("bytes=-30", Wanted::Part(0, 10)),
            ("bytes=10-", Wanted::Impossible),
            ("bytes=-0", Wanted::Impossible),
            ("bytes=5-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("lines=1-2", Wanted::All),
        ] {
            assert_eq!(parse_range(text, 10), wanted, "{text}");
        }
    }
}
