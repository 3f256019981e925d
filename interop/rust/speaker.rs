//! What every speaker of a call has: commands as lines on its standard input, what it hears as JSON lines on its
//! standard output. `../README.md` lists both.

use std::{env, fmt::Write as _};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Stdin};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// A line of the orchestrator's.
pub enum Command {
    /// Into this voice channel.
    Join(u64),
    /// The file, from its start.
    Play(String),
    /// No more of it.
    Stop,
    /// Out of the call.
    Leave,
}

/// The lines of the standard input; they end when the orchestrator is done.
pub struct Commands(tokio::io::Lines<BufReader<Stdin>>);

impl Commands {
    pub fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    pub async fn next(&mut self) -> Result<Option<Command>> {
        let Some(line) = self.0.next_line().await? else {
            return Ok(None);
        };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        Ok(Some(match word {
            "join" => Command::Join(rest.parse()?),
            "play" => Command::Play(rest.to_owned()),
            "stop" => Command::Stop,
            "leave" => Command::Leave,
            _ => return Err(format!("no such command: {line}").into()),
        }))
    }
}

/// Prints what happened. Lines go out whole, whoever prints.
pub fn tell(event: &Value) {
    println!("{event}");
}

/// An Opus frame that was heard, with all encryption off.
pub fn heard(user: u64, sequence: u16, opus: &[u8]) {
    let data = opus.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    tell(&json!({"event": "frame", "user": user.to_string(), "sequence": sequence, "data": data}));
}
