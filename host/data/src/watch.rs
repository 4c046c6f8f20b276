//! Tells when an origin has changed. Who owns a [`Dataset`](crate::Dataset) waits here and refreshes it then.
//!
//! Locally the kernel tells (inotify), for the folder and the file alike; the origin is listed now and then as well, for file
//! systems whose changes come from elsewhere, and where the kernel has no watch left. A store is listed on a period, and its
//! objects' tags compared. What comes in quick succession is one event; events that nobody has taken yet are one too, so
//! there is no queue to fill.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "watch/no_kernel.rs"]
mod kernel;

use crate::description::{Format, Limits};
use crate::source::Origin;
use kernel::Kernel;

/// How soon changes are told.
#[derive(Debug, Clone)]
pub struct Pace {
    /// What follows within this time is part of the same change.
    pub quiet: Duration,
    /// A change is told after this time, however long it goes on.
    pub longest: Duration,
    /// How often a store is listed, or a local origin that the kernel does not watch.
    pub list: Duration,
    /// How often a local origin is listed that the kernel watches.
    pub list_watched: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(50),
            longest: Duration::from_millis(400),
            list: Duration::from_secs(5),
            list_watched: Duration::from_secs(10),
        }
    }
}

/// A change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Changes so far, the setting of the watch and those that were told together counted each.
    pub count: u64,
}

/// Watches an origin until it is dropped.
#[derive(Debug)]
pub struct Watch {
    told: watch::Receiver<u64>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Watch {
    /// The task runs on `runtime`. The first change is told when the watch is set: who refreshes then, misses nothing.
    pub fn start(origin: Origin, format: Format, limits: Limits, pace: Pace, runtime: &Handle) -> Self {
        let (tell, told) = watch::channel(0);
        let cancel = CancellationToken::new();
        let origin = origin.child_of(&cancel);
        let watcher = Watcher { origin, format, limits, pace, tell, cancel: cancel.clone() };
        let task = runtime.spawn(watcher.run());
        Self { told, cancel, task }
    }

    /// The next change. Can be left waiting without losing one. None: the watch has ended, which it does only with its
    /// runtime.
    pub async fn changed(&mut self) -> Option<Changed> {
        self.told.changed().await.ok()?;
        Some(Changed { count: *self.told.borrow_and_update() })
    }

    /// End it, and wait until it has.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        // A panic has been reported where it happened.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

struct Watcher {
    origin: Origin,
    format: Format,
    limits: Limits,
    pace: Pace,
    tell: watch::Sender<u64>,
    cancel: CancellationToken,
}

impl Watcher {
    async fn run(self) {
        let cancel = self.cancel.clone();
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(self) {
        let mut kernel = Kernel::new(&self.origin, self.format);
        // After the watch is set, so that nothing falls between.
        let mut seen = self.look().await;
        self.tell.send_modify(|count| *count += 1);
        loop {
            let period = if kernel.works() { self.pace.list_watched } else { self.pace.list };
            tokio::select! {
                () = kernel.changed() => {
                    self.settle(&mut kernel).await;
                    self.tell.send_modify(|count| *count += 1);
                    seen = None;
                }
                () = sleep(period) => {
                    let now = self.look().await;
                    kernel.renew();
                    // After what the kernel told, it may be the same, or more that the kernel does not know of.
                    if now != seen {
                        self.tell.send_modify(|count| *count += 1);
                    }
                    seen = now;
                }
            }
        }
    }

    /// Until a change is over, or has taken long enough.
    async fn settle(&self, kernel: &mut Kernel) {
        let end = Instant::now() + self.pace.longest;
        loop {
            tokio::select! {
                () = sleep(self.pace.quiet) => return,
                () = sleep_until(end) => return,
                () = kernel.changed() => {}
            }
        }
    }

    /// A fingerprint of the listing, or of why there is none.
    async fn look(&self) -> Option<u64> {
        let (origin, format, limits) = (self.origin.clone(), self.format, self.limits.clone());
        let look = move || {
            let mut hasher = DefaultHasher::new();
            match origin.list(format, &limits) {
                Ok(listing) => {
                    for entry in listing.entries {
                        (entry.name, entry.size, entry.version, entry.identity).hash(&mut hasher);
                    }
                }
                Err(error) => error.reason().hash(&mut hasher),
            }
            hasher.finish()
        };
        tokio::task::spawn_blocking(look).await.ok()
    }
}
