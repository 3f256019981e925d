//! Logs to standard error: text for people, JSON for machines.

use tracing::Level;
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt, Targets},
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::env::{Environment, EnvironmentError};

/// Libraries that log whole messages at TRACE: an Identify with the bot's token, a Session Description with its key.
const TELL_SECRETS: [&str; 2] = ["tungstenite", "async_tungstenite"];

/// Starts logging as `LOG_LEVEL` (DEBUG, INFO, WARN, ERROR; default INFO) and `LOG_FORMAT` (`text` or `json`) say.
///
/// `LOG_LEVEL` may also name modules: `INFO,spellcoven_hub=DEBUG`. The WebSocket libraries log DEBUG at most, whatever it
/// says: at TRACE they log whole messages, and with them tokens and keys.
///
/// # Errors
/// [`EnvironmentError`] when one of the two is something else.
pub fn start(mut env: Environment<'_>) -> Result<(), EnvironmentError> {
    let level = env.or(
        "LOG_LEVEL",
        "DEBUG, INFO, WARN or ERROR",
        Targets::new().with_default(Level::INFO),
    );
    let format = env.or("LOG_FORMAT", "text or json", "text".to_owned());
    let format = format.filter(|format| {
        let known = matches!(format.as_str(), "text" | "json");
        if !known {
            env.fault("LOG_FORMAT", "is not text or json");
        }
        known
    });
    let (Some(level), Some(format)) = (level, format) else {
        return Err(env.into_error());
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format.as_str() {
        "json" => lines.json().with_filter(without_secrets(level)).boxed(),
        _ => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_filter(without_secrets(level))
            .boxed(),
    };
    // A second start in one process keeps the first: whoever embeds this may have logs of their own.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}

/// A second filter beside the one asked for, because a target that `LOG_LEVEL` names in full would win over one here.
fn without_secrets(level: Targets) -> impl Filter<Registry> + Send + Sync + 'static {
    let cap = Targets::new()
        .with_default(Level::TRACE)
        .with_targets(TELL_SECRETS.map(|library| (library, Level::DEBUG)));
    level.and(cap)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_filter(without_secrets(level.parse().unwrap()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "tungstenite::protocol", "a token");
            tracing::trace!(target: "async_tungstenite::compat", "a key");
            tracing::debug!(target: "tungstenite::protocol", "a handshake");
            tracing::trace!(target: "spellcoven_hub", "a detail");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_level_makes_the_websocket_libraries_tell_secrets() {
        for level in [
            "TRACE",
            "tungstenite=TRACE,async_tungstenite=TRACE,spellcoven_hub=TRACE",
            "TRACE,tungstenite::protocol=TRACE,async_tungstenite::compat=TRACE",
        ] {
            let logged = logged(level);
            assert!(!logged.contains("a token"), "{level}");
            assert!(!logged.contains("a key"), "{level}");
            assert!(logged.contains("a handshake"), "{level}");
            assert!(logged.contains("a detail"), "{level}");
        }
        assert!(!logged("INFO").contains("a handshake"));
    }
}
