//! When a process is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is sent SIGINT (Ctrl-C), SIGTERM, or SIGHUP (its terminal was closed).
///
/// # Errors
/// The system refused a signal handler.
///
/// # Cancel safety
/// A signal that came before the call, or after the future was dropped, is not seen.
pub async fn stopped() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}
