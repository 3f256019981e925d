//! Calls and their media.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::act::{Call, Done, ok, refused, to_json};
use super::faults::At;
use crate::{
    CallFault, ChannelId, HeardSummary, MediaFaults, Speech, SpeechError, UserId, VoiceFault,
    VoiceServerId, decode, tone_share,
};

/// Bytes of a file that someone says.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// Does something to the user who is named, or to everyone who has a voice connection. Someone who is nobody is an error.
fn strike(call: &Call<'_>, user: Option<UserId>, fault: impl Fn(UserId)) -> Done {
    let users = match user {
        Some(user) if !call.sim.with(|world| world.is_user(user)) => {
            return Err((400, format!("there is no user {user}")));
        }
        Some(user) => vec![user],
        None => call.sim.with(|world| world.callers()),
    };
    users.into_iter().for_each(fault);
    ok()
}

pub(super) fn drop_connection(call: &Call<'_>, user: Option<UserId>, code: Option<u16>) -> Done {
    let fault = match code {
        Some(code) => VoiceFault::Close { code },
        None => VoiceFault::Cut,
    };
    strike(call, user, |user| call.sim.voice_fault(user, fault))
}

/// Cuts at a message that is to come.
pub(super) fn drop_at(call: &Call<'_>, user: Option<UserId>, at: At) -> Done {
    let fault = VoiceFault::CutAt {
        message: at.message,
        from_client: at.from_client,
        lost: at.lost,
    };
    strike(call, user, |user| call.sim.voice_fault(user, fault))
}

pub(super) fn mute_acks(call: &Call<'_>, user: Option<UserId>, on: bool, ms: Option<u64>) -> Done {
    strike(call, user, |user| match ms {
        Some(ms) => call
            .sim
            .mute_voice_acks_for(user, Duration::from_millis(ms)),
        None => call.sim.voice_fault(user, VoiceFault::MuteAcks { on }),
    })
}

/// A chance from 0 to 1.
fn chance(p: f64) -> Result<f64, (u16, String)> {
    if (0.0..=1.0).contains(&p) {
        Ok(p)
    } else {
        Err((400, format!("{p} is no chance from 0 to 1")))
    }
}

#[derive(Deserialize)]
struct Loss {
    p: f64,
    user_id: Option<UserId>,
}

/// So many of the packets to clients are lost. Takes the place of other media faults.
pub(super) fn loss(call: &Call<'_>) -> Done {
    let wanted: Loss = call.body()?;
    let faults = MediaFaults {
        loss: chance(wanted.p)?,
        ..MediaFaults::default()
    };
    set(call, wanted.user_id, faults)
}

fn set(call: &Call<'_>, user: Option<UserId>, faults: MediaFaults) -> Done {
    match user {
        Some(user) => call.sim.set_media_faults_of(user, Some(faults)),
        None => call.sim.set_media_faults(faults),
    }
    ok()
}

/// All faults of media; those that are not named are taken back.
pub(super) fn media(call: &Call<'_>) -> Done {
    let mut body: Value = call.body()?;
    let wrong = |error: serde_json::Error| (400, error.to_string());
    let user = body
        .as_object_mut()
        .and_then(|fields| fields.remove("user_id"))
        .map(serde_json::from_value)
        .transpose()
        .map_err(wrong)?;
    let faults: MediaFaults = serde_json::from_value(body).map_err(wrong)?;
    for p in faults.chances() {
        chance(p)?;
    }
    set(call, user, faults)
}

#[derive(Deserialize)]
struct Corrupt {
    #[serde(default)]
    welcome: bool,
    #[serde(default)]
    commit: bool,
    user_id: Option<UserId>,
}

/// A bit of the next Welcome or commit is turned; for one user, or for whom it comes to first.
pub(super) fn corrupt(call: &Call<'_>) -> Done {
    let wanted: Corrupt = call.body()?;
    if !wanted.welcome && !wanted.commit {
        return Err((400, "give welcome or commit".to_owned()));
    }
    call.sim
        .corrupt_dave(wanted.user_id, wanted.welcome, wanted.commit);
    ok()
}

#[derive(Deserialize)]
struct Encryption {
    channel_id: Option<ChannelId>,
    fault: CallFault,
}

/// A fault of a call's end-to-end encryption.
pub(super) fn dave(call: &Call<'_>) -> Done {
    let wanted: Encryption = call.body()?;
    let channel = wanted.channel_id.unwrap_or(call.about.voice_channel_id);
    if call.sim.call(channel).is_none() {
        return Err((400, format!("there is no call in {channel}")));
    }
    call.sim.call_fault(channel, wanted.fault);
    ok()
}

/// The call in a channel, `?channel_id=`; null while nobody is connected.
pub(super) fn current(call: &Call<'_>) -> Done {
    let channel = number(call, "channel_id")?.map(ChannelId);
    let channel = channel.unwrap_or(call.about.voice_channel_id);
    to_json(call.sim.call(channel))
}

#[derive(Deserialize)]
struct Update {
    user_id: Option<UserId>,
    channel_id: Option<ChannelId>,
    server: Option<u64>,
    #[serde(default)]
    gone: bool,
}

/// VOICE_SERVER_UPDATE: with a new token for one or all; or a channel's call goes to another server, or has none.
pub(super) fn server_update(call: &Call<'_>) -> Done {
    let wanted: Update = call.body()?;
    let channel = || {
        let about = call.about;
        wanted.channel_id.unwrap_or(about.voice_channel_id)
    };
    if wanted.gone {
        call.sim.lose_voice_server(channel()).map_err(refused)?;
        return ok();
    }
    if let Some(number) = wanted.server {
        let server = VoiceServerId(number);
        if !call.sim.voice_servers().iter().any(|at| at.id == server) {
            return Err((400, format!("there is no voice server {number}")));
        }
        call.sim.move_call(channel(), server).map_err(refused)?;
        return ok();
    }
    let renewed = call
        .sim
        .renew_voice_servers(call.about.guild_id, wanted.user_id);
    Ok(json!({ "renewed": renewed }))
}

/// What was counted of everyone's media.
pub(super) fn counts(call: &Call<'_>) -> Done {
    to_json(call.sim.media())
}

#[derive(Deserialize)]
struct Talk {
    user_id: UserId,
    /// Hertz, in both ears.
    tone: Option<u32>,
    left: Option<u32>,
    right: Option<u32>,
    /// Path of an Ogg Opus file, as the simulator sees it.
    file: Option<std::path::PathBuf>,
    /// The same as bytes, in base64.
    ogg: Option<String>,
    #[serde(default)]
    repeat: bool,
}

impl Talk {
    fn speech(&self) -> Result<Speech, (u16, String)> {
        use base64::Engine as _;
        let wrong = |error: SpeechError| (400, error.to_string());
        let bytes = match (&self.file, &self.ogg) {
            (Some(path), None) => {
                let told = |error: std::io::Error| (400, format!("{}: {error}", path.display()));
                let size = std::fs::metadata(path).map_err(told)?.len();
                if size > FILE_LIMIT {
                    return Err((400, format!("the file has more than {FILE_LIMIT} bytes")));
                }
                std::fs::read(path).map_err(told)?
            }
            (None, Some(text)) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| (400, error.to_string()))?,
            (None, None) => {
                let (left, right) = (self.left.or(self.tone), self.right.or(self.tone));
                if left.is_none() && right.is_none() {
                    return Err((400, "give a tone, left and right, file or ogg".to_owned()));
                }
                return Speech::tone(left.unwrap_or(0), right.unwrap_or(0)).map_err(wrong);
            }
            (Some(_), Some(_)) => return Err((400, "give file or ogg, not both".to_owned())),
        };
        let speech = Speech::ogg_opus(&bytes).map_err(wrong)?;
        Ok(if self.repeat {
            speech.repeated()
        } else {
            speech
        })
    }
}

/// A person says a tone or a file.
pub(super) fn talk(call: &Call<'_>) -> Done {
    let wanted: Talk = call.body()?;
    let speech = wanted.speech()?;
    call.sim.talk(wanted.user_id, speech).map_err(refused)?;
    ok()
}

#[derive(Deserialize)]
struct One {
    user_id: UserId,
    on: Option<bool>,
}

/// A person stops talking.
pub(super) fn hush(call: &Call<'_>) -> Done {
    let wanted: One = call.body()?;
    call.sim.hush(wanted.user_id);
    ok()
}

/// A person keeps what they hear, or no longer.
pub(super) fn listen(call: &Call<'_>) -> Done {
    let wanted: One = call.body()?;
    call.sim
        .set_listening(wanted.user_id, wanted.on.unwrap_or(true))
        .map_err(refused)?;
    ok()
}

fn summary_json(heard: &HeardSummary) -> Value {
    json!({
        "packets": heard.packets, "padding": heard.padding, "frames": heard.frames, "encrypted": heard.encrypted,
        "silence": heard.silence, "failed": heard.failed, "clear": heard.clear, "keyless": heard.keyless,
        "missing": heard.missing, "first": heard.first.map(|at| at.as_secs_f64()),
        "last": heard.last.map(|at| at.as_secs_f64()),
    })
}

/// A number of the query.
fn number(call: &Call<'_>, name: &str) -> Result<Option<u64>, (u16, String)> {
    let mut pairs = call
        .query
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value);
    let wrong = |_| (400, format!("{name} is a number"));
    value.map(|text| text.parse().map_err(wrong)).transpose()
}

/// `?user_id=`: counts of all whom a person heard. With `from=`, of one user; with `left=` and `right=` in hertz, too,
/// how much of what is kept is that tone, from 0 to 1.
pub(super) fn heard(call: &Call<'_>) -> Done {
    let number = |name: &str| number(call, name);
    let user = number("user_id")?.map(UserId);
    let user = user.ok_or_else(|| (400, "give user_id".to_owned()))?;
    let counts = call.sim.heard_of(user);
    let Some(from) = number("from")?.map(UserId) else {
        let all = counts
            .iter()
            .map(|(from, summary)| (from.to_string(), summary_json(summary)))
            .collect();
        return Ok(Value::Object(all));
    };
    let mut told = summary_json(counts.get(&from).unwrap_or(&HeardSummary::default()));
    let (left, right) = (number("left")?, number("right")?);
    if left.is_some() || right.is_some() {
        let wrong = |error: SpeechError| (500, error.to_string());
        let sound = decode(&call.sim.heard(user, from)).map_err(wrong)?;
        let share = |samples: &[f32], hz: Option<u64>| {
            hz.map(|hz| tone_share(samples, u32::try_from(hz).unwrap_or(u32::MAX)))
        };
        told["left"] = json!(share(&sound.left, left));
        told["right"] = json!(share(&sound.right, right));
    }
    Ok(told)
}
