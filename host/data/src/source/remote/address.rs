//! Which store is asked, by whom, and how long it is waited for.

use std::fmt;
use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// An S3-compatible store and who asks it.
#[derive(Clone, Default)]
pub struct S3 {
    /// E.g. `https://minio.example:9000`; None: Amazon's.
    pub endpoint: Option<String>,
    /// E.g. `eu-central-1`; None: `us-east-1`, which stores other than Amazon's take.
    pub region: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// Key and secret; None: requests are not signed.
    pub keys: Option<(String, String)>,
    /// Of temporary keys.
    pub token: Option<String>,
    /// Without TLS, where the endpoint says so: for a store on the node's own network.
    pub allow_http: bool,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self.keys.is_some();
        write!(f, "S3({}, endpoint {:?}, signed: {signed})", self.bucket, self.endpoint)
    }
}

/// How long a store is waited for.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub read: Duration,
    /// For a range or a listing, with all tries.
    pub total: Duration,
    /// Tries that bring nothing, one after the other.
    pub tries: usize,
    /// Before the second try; doubled from then on.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(10),
            total: Duration::from_secs(120),
            tries: 5,
            pause: Duration::from_millis(100),
        }
    }
}

/// What the client does by itself.
pub(super) fn retry(patience: &Patience) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: patience.pause, max_backoff: patience.pause * 64, base: 2.0 },
        max_retries: patience.tries.saturating_sub(1),
        retry_timeout: patience.total,
    }
}

/// How long the client waits.
pub(super) fn options(patience: &Patience) -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(patience.connect)
        .with_read_timeout(patience.read)
        .with_timeout(patience.total)
}
