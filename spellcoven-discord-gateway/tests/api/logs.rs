//! What is logged: each event's name at DEBUG, connections at INFO, and the
//! token never.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use serde_json::json;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::support::*;

/// Writes everything into one string.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut line = Line("SPAN".into());
        attributes.record(&mut line);
        writeln!(self.0.lock().unwrap(), "{}", line.0).unwrap();
        Id::from_u64(1)
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        writeln!(self.0.lock().unwrap(), "{}", line.0).unwrap();
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn events_at_debug_connections_at_info_and_never_the_token() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let mut rig = Rig::active(config(1));
        rig.message(&dispatch(2, "VOICE_STATE_UPDATE", json!({"user_id": "20"})));
        rig.closed(Some(4000));
        rig.next_connect();
        rig.open();
        rig.message(&invalid_session(false));
        rig.next_connect();
        rig.closed(Some(4004));
        rig.identify();
        rig.message("secret.token");
        rig.next_connect();
        rig.open();
        rig.closed(Some(4004));
    });
    let text = log.0.lock().unwrap().clone();
    let has = |level: Level, words: &[&str]| {
        text.lines().any(|line| {
            line.starts_with(level.as_str()) && words.iter().all(|word| line.contains(word))
        })
    };
    assert!(
        has(Level::DEBUG, &["VOICE_STATE_UPDATE", "seq=2"]),
        "{text}"
    );
    assert!(has(Level::INFO, &["connecting", MAIN_URL]), "{text}");
    assert!(
        has(Level::INFO, &["connection has ended", "4000"]),
        "{text}"
    );
    assert!(has(Level::INFO, &["reconnecting", "wait_ms"]), "{text}");
    assert!(
        has(Level::INFO, &["session invalid", "resumable=false"]),
        "{text}"
    );
    assert!(has(Level::WARN, &["malformed"]), "{text}");
    assert!(has(Level::ERROR, &["4004"]), "{text}");
    assert!(!text.contains("secret"), "{text}");
}
