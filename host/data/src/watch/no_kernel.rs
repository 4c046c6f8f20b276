//! Where the kernel's way to tell of changes is not known here: origins are listed alone.

use crate::description::Format;
use crate::source::Origin;

/// No watch.
pub struct Kernel;

impl Kernel {
    pub fn new(_: &Origin, _: Format) -> Self {
        Self
    }

    pub fn works(&self) -> bool {
        false
    }

    pub fn renew(&mut self) {}

    pub async fn changed(&mut self) {
        std::future::pending().await
    }
}
