//! Looking: the world, the journal.

use serde_json::{Value, json};

use super::{
    Description,
    act::{Call, Done, to_json},
};

/// The line that was printed, with the tokens of now: a bot that spent its identifies has another.
pub(super) fn info(call: &Call<'_>) -> Description {
    let mut about = call.about.clone();
    for bot in &mut about.bots {
        if let Some(token) = call.sim.token(bot.user_id) {
            bot.token = token;
        }
    }
    about
}

pub(super) fn world(call: &Call<'_>) -> Value {
    let (sim, guild) = (call.sim, call.about.guild_id);
    let channels: Vec<_> = sim
        .channels(guild)
        .into_iter()
        .map(|channel| {
            json!({
                "id": channel.id, "type": channel.kind.number(), "name": channel.name,
                "parent_id": channel.parent_id, "user_limit": channel.user_limit,
                "messages": sim.messages(channel.id).len(),
            })
        })
        .collect();
    let voice: Vec<_> = sim
        .voice_states(guild)
        .into_iter()
        .map(|(user, state)| {
            let mut state = serde_json::to_value(state).unwrap_or_default();
            state["user_id"] = json!(user);
            state
        })
        .collect();
    json!({ "guild_id": guild, "channels": channels, "voice_states": voice })
}

/// `?since=N` leaves out the entries before number N; `?text` tells them as a story, a line each.
pub(super) fn journal(call: &Call<'_>) -> Done {
    let field = |name: &str| {
        call.query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name))
    };
    let since = match field("since=") {
        Some(number) => number
            .parse()
            .map_err(|_| (400, "since is a number".to_owned()))?,
        None => 0,
    };
    let journal = call.sim.journal_since(since);
    if field("text").is_some() {
        return Ok(journal
            .entries()
            .iter()
            .map(|entry| json!(entry.to_string()))
            .collect());
    }
    to_json(journal.entries())
}
