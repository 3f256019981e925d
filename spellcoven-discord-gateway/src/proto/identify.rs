//! The payloads of Identify (op 2), Resume (op 6) and Heartbeat (op 1).

use serde::Serialize;
use twilight_model::gateway::Intents;

use super::{SessionState, command::json};
use crate::BotToken;

#[derive(Serialize)]
struct IdentifyData<'a> {
    token: &'a str,
    properties: Properties,
    intents: u64,
    shard: [u32; 2],
    compress: bool,
}

#[derive(Serialize)]
struct Properties {
    os: &'static str,
    browser: &'static str,
    device: &'static str,
}

#[derive(Serialize)]
struct ResumeData<'a> {
    token: &'a str,
    session_id: &'a str,
    seq: u64,
}

/// Discord documentation, "Gateway Events", Identify.
pub(crate) fn identify(token: &BotToken, intents: Intents, shard: [u32; 2]) -> String {
    json(
        2,
        IdentifyData {
            token: token.expose(),
            properties: Properties {
                os: std::env::consts::OS,
                browser: env!("CARGO_PKG_NAME"),
                device: env!("CARGO_PKG_NAME"),
            },
            intents: intents.bits(),
            shard,
            compress: false,
        },
    )
}

/// Discord documentation, "Gateway Events", Resume.
pub(crate) fn resume(token: &BotToken, session: &SessionState) -> String {
    json(
        6,
        ResumeData {
            token: token.expose(),
            session_id: &session.session_id,
            seq: session.seq,
        },
    )
}

/// Discord documentation, "Gateway Events", Heartbeat: `d` is the last seq.
pub(crate) fn heartbeat(seq: Option<u64>) -> String {
    json(1, seq)
}
