use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::command::{Error, target_directory};

/// A `discord-sim` process; dropped, it ends.
pub(super) struct Simulator {
    child: Child,
    about: Value,
}

impl Simulator {
    pub(super) fn start(options: &[&str]) -> Result<Self, Error> {
        let mut child = Command::new(target_directory()?.join("debug/discord-sim"))
            .args(["--seed", "7"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child
            .stdout
            .take()
            .ok_or("a pipe that was asked for is not there")?;
        let read = BufReader::new(stdout).read_line(&mut line);
        // From here on it ends with this value.
        let mut simulator = Self {
            child,
            about: Value::Null,
        };
        read?;
        simulator.about = serde_json::from_str(&line)?;
        Ok(simulator)
    }

    /// The environment of a client.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let about = &self.about;
        [
            ("DISCORD_API_BASE", &about["api_base"]),
            ("DISCORD_GATEWAY_URL", &about["gateway_url"]),
            ("CONTROL_URL", &about["control_url"]),
            ("GUILD_ID", &about["guild_id"]),
            ("VOICE_CHANNEL_ID", &about["voice_channel_id"]),
            ("DISCORD_BOT_TOKEN", &about["bots"][0]["token"]),
        ]
        .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
        .into()
    }

    /// The journal as JSON.
    pub(super) fn journal(&self) -> Result<String, Error> {
        let url = self.about["control_url"].as_str().unwrap_or_default();
        let authority = url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(authority)?;
        write!(
            stream,
            "GET /journal HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
        Ok(body.to_owned())
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
