//! Ctrl-C and SIGTERM, for the verbs that run until they are told to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::screen;

/// What a shell reports of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels; a second signal ends the process at once. The task that listens
/// lives as long as the process.
pub fn listen() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let listener = stop.clone();
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        screen::complain("\nStopping; press Ctrl-C again to stop at once.\n");
        listener.cancel();
        either(&mut interrupt, &mut terminate).await;
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}

async fn either(first: &mut Signal, second: &mut Signal) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}
