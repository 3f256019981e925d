//! What the voice bot is told by its environment.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    path::PathBuf,
};

use crate::env::{Environment, EnvironmentError, HttpUrl, Secret};

/// The voice bot's environment.
#[derive(Debug)]
pub struct VoiceBotEnvironment {
    /// `DISCORD_BOT_TOKEN`
    pub bot_token: Secret,
    /// `GUILD_ID`, or else `PRIMARY_GUILD_ID`
    pub guild_id: NonZeroU64,
    /// `VOICE_CHANNEL_ID`
    pub channel_id: NonZeroU64,
    /// `VOICE_FILE`: Ogg Opus or WAV; a melody where it is not set.
    pub file: Option<PathBuf>,
    /// `BIND_ADDRESS`, default `0.0.0.0`: where `/health` listens.
    pub bind_address: IpAddr,
    /// `HEALTH_CHECK_PORT`, default 8080
    pub health_port: u16,
    /// `DISCORD_API_BASE_URL`: a proxy or a simulator in the place of Discord.
    pub api_base: Option<HttpUrl>,
}

impl VoiceBotEnvironment {
    /// Reads it.
    ///
    /// # Errors
    /// [`EnvironmentError`] names every variable that is missing or wrong.
    pub fn read(mut env: Environment<'_>) -> Result<Self, EnvironmentError> {
        let guild = match env.present("GUILD_ID") {
            Some(_) => "GUILD_ID",
            None => "PRIMARY_GUILD_ID",
        };
        let bot_token = env.secret("DISCORD_BOT_TOKEN");
        let guild_id = env.required(guild, "a guild id");
        let channel_id = env.required("VOICE_CHANNEL_ID", "a voice channel's id");
        let file = env.optional("VOICE_FILE", "a path");
        let bind_address = env.or(
            "BIND_ADDRESS",
            "an IP address",
            Ipv4Addr::UNSPECIFIED.into(),
        );
        let health_port = env.or("HEALTH_CHECK_PORT", "a port number", 8080);
        let api_base = env.optional("DISCORD_API_BASE_URL", "an http(s) URL");
        match (
            bot_token,
            guild_id,
            channel_id,
            file,
            bind_address,
            health_port,
            api_base,
        ) {
            (
                Some(bot_token),
                Some(guild_id),
                Some(channel_id),
                Some(file),
                Some(bind_address),
                Some(health_port),
                Some(api_base),
            ) => Ok(Self {
                bot_token,
                guild_id,
                channel_id,
                file,
                bind_address,
                health_port,
                api_base,
            }),
            _ => Err(env.into_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<VoiceBotEnvironment, EnvironmentError> {
        VoiceBotEnvironment::read(Environment::from_fn(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }))
    }

    #[test]
    fn either_name_of_the_guild_will_do_and_guild_id_comes_first() {
        let common = [("DISCORD_BOT_TOKEN", "t0ken"), ("VOICE_CHANNEL_ID", "12")];
        for (guild, expected) in [
            (&[("GUILD_ID", "7")][..], 7),
            (&[("PRIMARY_GUILD_ID", "8")], 8),
            (&[("GUILD_ID", "7"), ("PRIMARY_GUILD_ID", "8")], 7),
            (&[("GUILD_ID", ""), ("PRIMARY_GUILD_ID", "8")], 8),
        ] {
            let env = read(&[&common[..], guild].concat()).unwrap();
            assert_eq!(env.guild_id.get(), expected);
            assert_eq!((env.file, env.health_port), (None, 8080));
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let error = read(&[("VOICE_CHANNEL_ID", "0")]).unwrap_err().to_string();
        for name in ["DISCORD_BOT_TOKEN", "PRIMARY_GUILD_ID", "VOICE_CHANNEL_ID"] {
            assert!(error.contains(name), "{error}");
        }
    }
}
