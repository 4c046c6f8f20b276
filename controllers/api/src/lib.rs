//! What the parts of Sedge say to each other: resource types, the node protocol, names. No I/O.
//!
//! ```text
//!  user ──resources──▶ controllers ──node protocol──▶ host ◀──federation protocol──▶ host
//!        (feature `resources`)        ([`node`])               ([`federation`])
//! ```
//!
//! Everything that crosses a border is parsed here, once, into a type that says what is valid:
//! [`Digest`], [`ArtifactRef`], [`MemorySize`], [`Period`].

pub mod artifact;
mod names;
#[cfg(feature = "resources")]
pub mod resources;

pub use names::{ArtifactRef, Digest, InvalidName, LabelRef, is_dns_label, is_resource_name};
pub use sedge_quantities::{InvalidQuantity, MemorySize, Period};

/// The generated code, nested as the protobuf packages are so that they find each other.
#[allow(
    missing_docs,
    clippy::large_enum_variant,
    reason = "a message is as large as it is, and a Worker has one task"
)]
mod proto {
    pub mod node {
        pub mod v1 {
            tonic::include_proto!("sedge.node.v1");
        }
    }
    pub mod federation {
        pub mod v1 {
            tonic::include_proto!("sedge.federation.v1");
        }
    }
    pub mod inference {
        tonic::include_proto!("inference");
    }
}

/// The protocol between a node and the manager; `proto/node.proto` has the words.
pub mod node {
    pub use crate::proto::node::v1::*;

    /// The version of the node protocol that this build speaks.
    pub const PROTOCOL: u32 = 1;

    /// The largest file of samples that leaves a node or comes to one, in bytes.
    pub const MAX_TRANSFER_BYTES: u64 = 256 << 20;
    /// The largest layout of a dataset's files, in bytes.
    pub const MAX_LAYOUT_BYTES: u64 = 16 << 20;
    /// The largest piece of either, in bytes.
    pub const TRANSFER_PIECE: usize = 256 << 10;

    impl std::fmt::Debug for S3 {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let signed = if self.access_key_id.is_empty() { "no keys" } else { "keys" };
            write!(f, "S3({}, {}/{}, {signed})", self.endpoint, self.bucket, self.prefix)
        }
    }

    impl std::fmt::Debug for Http {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let authorized = if self.authorization.is_empty() { "not authorized" } else { "authorized" };
            write!(f, "Http({}, {authorized})", self.url)
        }
    }

    impl Dataset {
        /// Without what must not lie in a file.
        pub fn without_secrets(mut self) -> Self {
            match &mut self.elsewhere {
                Some(dataset::Elsewhere::S3(s3)) => {
                    s3.access_key_id.clear();
                    s3.secret_access_key.clear();
                    s3.session_token.clear();
                }
                Some(dataset::Elsewhere::Http(http)) => http.authorization.clear(),
                None => {}
            }
            self
        }
    }

    /// The reason of a revision that was not ready by its rollout's deadline. Unlike others that are undone it may come
    /// yet: the node goes on trying.
    pub const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
}

/// The protocol between participants of a federated job; `proto/federation.proto` has the words.
pub mod federation {
    pub use crate::proto::federation::v1::*;

    /// The version of the federation protocol that this build speaks.
    pub const PROTOCOL: u32 = 2;
    /// The largest piece of a payload, in bytes.
    pub const CHUNK: usize = 1 << 20;
}

/// The Open Inference Protocol v2; `proto/open_inference.proto` has the words.
pub mod inference {
    pub use crate::proto::inference::*;
}
