//! What a test asks of the simulator, and what it looks up there: the control API over plain HTTP/1.1.

use std::{env, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long a check waits for something.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// Fails a check with a message unless `holds`.
pub fn ensure(holds: bool, message: impl Into<String>) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(message.into().into())
    }
}

pub struct Simulator {
    /// `host:port` of the control API.
    authority: String,
}

impl Simulator {
    pub fn from_environment() -> Result<Self> {
        let url = variable("CONTROL_URL")?;
        let authority = url
            .strip_prefix("http://")
            .ok_or("CONTROL_URL is not http")?;
        Ok(Self {
            authority: authority.trim_end_matches('/').to_owned(),
        })
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        let request = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.authority,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
        ensure(
            head.starts_with("HTTP/1.1 200"),
            format!("{method} {path}: {body}"),
        )?;
        Ok(serde_json::from_str(body)?)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.call("POST", path, &body.to_string()).await
    }

    pub async fn voice(&self, person: &str, channel: Option<&str>) -> Result<()> {
        self.post("voice", json!({"user_id": person, "channel_id": channel}))
            .await
            .map(drop)
    }

    /// The number that the journal's next entry will have.
    pub async fn mark(&self) -> Result<u64> {
        let journal = self.get("journal").await?;
        let last = journal
            .as_array()
            .and_then(|entries| entries.last())
            .ok_or("an empty journal")?;
        Ok(last["number"].as_u64().unwrap_or(0) + 1)
    }

    pub async fn since(&self, mark: u64, kind: &str) -> Result<Vec<Value>> {
        let Value::Array(entries) = self.get(&format!("journal?since={mark}")).await? else {
            return Err("the journal is no list".into());
        };
        Ok(entries
            .into_iter()
            .filter(|entry| entry["kind"] == kind)
            .collect())
    }

    /// The statuses of REST answers.
    pub async fn statuses(&self, mark: u64) -> Result<Vec<u64>> {
        let calls = self.since(mark, "rest_request").await?;
        Ok(calls
            .iter()
            .filter_map(|call| call["status"].as_u64())
            .collect())
    }

    /// Waits for an entry of this kind.
    pub async fn until(&self, mark: u64, kind: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.since(mark, kind).await?.is_empty() {
            ensure(
                Instant::now() < deadline,
                format!("no {kind} in the journal"),
            )?;
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
