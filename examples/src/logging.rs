//! Logs to standard error: text for people, JSON for machines.

use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::env::{Environment, EnvironmentError};

/// Starts logging as `LOG_LEVEL` (DEBUG, INFO, WARN, ERROR; default INFO) and `LOG_FORMAT` (`text` or `json`) say.
///
/// `LOG_LEVEL` may also name modules: `INFO,spellcoven_hub=DEBUG`.
///
/// # Errors
/// [`EnvironmentError`] when one of the two is something else.
pub fn start(mut env: Environment<'_>) -> Result<(), EnvironmentError> {
    let level = env.or(
        "LOG_LEVEL",
        "DEBUG, INFO, WARN or ERROR",
        Targets::new().with_default(tracing::Level::INFO),
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
        "json" => lines.json().with_filter(level).boxed(),
        _ => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_filter(level)
            .boxed(),
    };
    // A second start in one process keeps the first: whoever embeds this may have logs of their own.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}
