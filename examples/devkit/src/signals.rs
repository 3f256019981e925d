//! When a process is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is sent SIGINT (Ctrl-C) or SIGTERM.
///
/// # Errors
/// The system refused a signal handler.
///
/// # Cancel safety
/// A signal that came before the call, or after the future was dropped, is not seen.
pub async fn stopped() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
