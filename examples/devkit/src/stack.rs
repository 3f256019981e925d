//! The whole system as processes on loopback.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use http::StatusCode;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::{
    supervisor::{Service, Supervisor},
    web::WebClient,
};

/// The audience of tokens in the local stack.
pub const AUDIENCE: &str = "spell-coven-web";
/// The origin that the local backend allows: where Vite serves a page by default.
pub const ORIGIN: &str = "http://localhost:5173";
/// How long everything may take until it is ready, before the start counts as failed.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Which Discord the stack talks to.
pub enum Discord {
    /// The simulator, as one more process.
    Simulated,
    /// The real one.
    Real {
        /// The bot's token.
        bot_token: String,
        /// The guild.
        guild_id: String,
    },
}

/// What the simulator says about itself on `GET $CONTROL_URL/info`.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Base URL of its control API.
    pub control_url: String,
    /// Its REST base, ending in `/api/v10`.
    pub api_base: String,
    /// User ids of people whom a scenario can make act.
    pub people: Vec<String>,
    /// A voice channel that was there from the start.
    pub voice_channel_id: String,
    /// A bot that no service uses: the voice bot's.
    pub spare_bot: SimulatedBot,
    /// A file with shell variables for clients.
    pub env_file: PathBuf,
    /// The file with the certificate that clients of its voice servers have to trust.
    pub ca_file: String,
}

/// A bot of the simulator.
#[derive(Debug, Clone)]
pub struct SimulatedBot {
    /// Its user id.
    pub user_id: String,
    /// Its token, which is good for this simulator and nothing else.
    pub token: String,
}

/// The running stack.
pub struct Stack {
    supervisor: Supervisor,
    programs: PathBuf,
    log_level: String,
    _env_file: Option<EnvFile>,
    /// The guild that everything is about.
    pub guild_id: String,
    /// The backend's base URL.
    pub backend: String,
    /// The worker's base URL.
    pub worker: String,
    /// The identity provider's base URL.
    pub identity: String,
    /// The simulator, unless the real Discord is used.
    pub simulated: Option<Simulated>,
}

/// The stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// No port, no randomness, or no such program.
    #[error("the system refused {what}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A process was not ready in time.
    #[error("{what} was not ready within {} s; its last answer: {last}", START_LIMIT.as_secs())]
    NotReady {
        /// Which.
        what: &'static str,
        /// What it said last.
        last: String,
    },
}

impl Stack {
    /// Starts everything and returns when Discord and sign-in are ready; [`ready`](Self::ready) waits for the
    /// services. `programs` is the folder of the built binaries.
    ///
    /// # Errors
    /// [`StackError`]; what was started by then is stopped.
    ///
    /// # Cancel safety
    /// Dropping the future kills what was started.
    pub async fn start(
        programs: &Path,
        discord: Discord,
        log_level: &str,
    ) -> Result<Self, StackError> {
        let mut supervisor = Supervisor::new();
        match Self::launch(&mut supervisor, programs, discord, log_level).await {
            Ok(stack) => Ok(Self {
                supervisor,
                ..stack
            }),
            Err(error) => {
                supervisor.stop().await;
                Err(error)
            }
        }
    }

    async fn launch(
        supervisor: &mut Supervisor,
        programs: &Path,
        discord: Discord,
        log_level: &str,
    ) -> Result<Self, StackError> {
        let [
            backend_port,
            worker_port,
            identity_port,
            discord_port,
            control_port,
        ] = free_ports()?;
        let web = WebClient::new();
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let env_file = matches!(discord, Discord::Simulated).then(EnvFile::new);
        let (bot_token, guild_id, simulated) = match discord {
            Discord::Real {
                bot_token,
                guild_id,
            } => (bot_token, guild_id, None),
            Discord::Simulated => {
                let env_path = env_file
                    .as_ref()
                    .map_or_else(PathBuf::new, |file| file.0.clone());
                supervisor.start(Service {
                    name: "discord",
                    program: programs.join("discord-sim"),
                    arguments: vec![
                        "--port".into(),
                        discord_port.to_string(),
                        "--control-port".into(),
                        control_port.to_string(),
                        "--env".into(),
                        env_path.display().to_string(),
                    ],
                    environment: vec![("LOG_LEVEL".into(), log_level.into())],
                });
                let control_url = at(control_port);
                let info = ready(&web, "discord", &format!("{control_url}/info")).await?;
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let people = info["people"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|person| text(&person["user_id"]));
                let simulated = Simulated {
                    control_url,
                    api_base: text(&info["api_base"]),
                    people: people.collect(),
                    voice_channel_id: text(&info["voice_channel_id"]),
                    spare_bot: SimulatedBot {
                        user_id: text(&info["bots"][1]["user_id"]),
                        token: text(&info["bots"][1]["token"]),
                    },
                    env_file: env_path,
                    ca_file: text(&info["tls"]["ca_file"]),
                };
                (
                    text(&info["bots"][0]["token"]),
                    text(&info["guild_id"]),
                    Some(simulated),
                )
            }
        };
        let secret = random_hex().map_err(|source| StackError::System {
            what: "randomness",
            source,
        })?;
        supervisor.start(Service {
            name: "identity",
            program: programs.join("dev-idp"),
            arguments: vec![format!("127.0.0.1:{identity_port}"), AUDIENCE.into()],
            environment: Vec::new(),
        });
        let mut common = vec![
            ("DISCORD_BOT_TOKEN".to_owned(), bot_token),
            ("PRIMARY_GUILD_ID".to_owned(), guild_id.clone()),
            ("HUB_SECRET".to_owned(), secret),
            ("BIND_ADDRESS".to_owned(), "127.0.0.1".to_owned()),
            ("LOG_LEVEL".to_owned(), log_level.to_owned()),
        ];
        if let Some(simulated) = &simulated {
            common.push((
                "DISCORD_API_BASE_URL".to_owned(),
                simulated.api_base.clone(),
            ));
        }
        let with = |more: &[(&str, String)]| {
            let more = more
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()));
            common.iter().cloned().chain(more).collect::<Vec<_>>()
        };
        let identity = at(identity_port);
        supervisor.start(Service {
            name: "worker",
            program: programs.join("worker"),
            arguments: Vec::new(),
            environment: with(&[
                (
                    "HUB_ENDPOINT",
                    format!("{}/api/internal/events", at(backend_port)),
                ),
                ("HEALTH_CHECK_PORT", worker_port.to_string()),
            ]),
        });
        supervisor.start(Service {
            name: "backend",
            program: programs.join("backend"),
            arguments: Vec::new(),
            environment: with(&[
                ("PORT", backend_port.to_string()),
                ("JWT_ISSUER", identity.clone()),
                ("JWT_AUDIENCE", AUDIENCE.to_owned()),
                (
                    "JWT_PUBLIC_JWK_URL",
                    format!("{identity}/.well-known/jwks.json"),
                ),
                ("VITE_BASE_URL", ORIGIN.to_owned()),
            ]),
        });
        ready(&web, "the identity provider", &format!("{identity}/health")).await?;
        Ok(Self {
            supervisor: Supervisor::new(),
            programs: programs.to_path_buf(),
            log_level: log_level.to_owned(),
            _env_file: env_file,
            guild_id,
            backend: at(backend_port),
            worker: at(worker_port),
            identity,
            simulated,
        })
    }

    /// Waits until `url` answers 200.
    ///
    /// # Errors
    /// [`StackError::NotReady`] after a minute.
    ///
    /// # Cancel safety
    /// Nothing happens but asking.
    pub async fn ready(&self, what: &'static str, url: &str) -> Result<(), StackError> {
        ready(&WebClient::new(), what, url).await.map(drop)
    }

    /// The voice bot as a service in the simulator's first channel, and its base URL; `None` with the real Discord. It
    /// is not started: it would be one more guest in every room.
    ///
    /// # Errors
    /// [`StackError::System`]: there is no free port.
    pub fn voice_bot(&self) -> Result<Option<(Service, String)>, StackError> {
        let Some(simulated) = &self.simulated else {
            return Ok(None);
        };
        let [port] = free_ports()?;
        let environment = [
            ("DISCORD_API_BASE_URL", simulated.api_base.clone()),
            ("DISCORD_BOT_TOKEN", simulated.spare_bot.token.clone()),
            ("GUILD_ID", self.guild_id.clone()),
            ("VOICE_CHANNEL_ID", simulated.voice_channel_id.clone()),
            // Voice servers are reached by TLS alone, and the simulator's authority is its own.
            ("SSL_CERT_FILE", simulated.ca_file.clone()),
            ("BIND_ADDRESS", "127.0.0.1".to_owned()),
            ("HEALTH_CHECK_PORT", port.to_string()),
            ("LOG_LEVEL", self.log_level.clone()),
        ];
        let service = Service {
            name: "voice-bot",
            program: self.programs.join("voice-bot"),
            arguments: Vec::new(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        };
        Ok(Some((service, format!("http://127.0.0.1:{port}"))))
    }

    /// Stops every process.
    ///
    /// # Cancel safety
    /// As [`Supervisor::stop`].
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }
}

/// The simulator's file for clients, and the certificate beside it; both go with the stack.
struct EnvFile(PathBuf);

impl EnvFile {
    fn new() -> Self {
        let name = format!("spellcoven-discord-{}.env", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        let mut certificate = self.0.clone().into_os_string();
        certificate.push(".ca.pem");
        let _ = std::fs::remove_file(certificate);
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Polls: the processes are other programs, and all they offer is their health page.
async fn ready(web: &WebClient, what: &'static str, url: &str) -> Result<Value, StackError> {
    let mut last = String::from("none");
    let polling = async {
        loop {
            match web.get(url).await {
                Ok((StatusCode::OK, body)) => return body,
                Ok((status, body)) => last = format!("{status} {body}"),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ready = tokio::time::timeout(START_LIMIT, polling).await;
    ready.map_err(|_| StackError::NotReady { what, last })
}

/// Ports that were free a moment ago. Another program may take one before its process binds it; it then ends, and
/// its log says so.
fn free_ports<const N: usize>() -> Result<[u16; N], StackError> {
    let system = |source| StackError::System {
        what: "a port",
        source,
    };
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(system)?;
        *port = listener.local_addr().map_err(system)?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| std::io::Error::other("no randomness"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The folder in which the built binaries lie: where this one does.
///
/// # Errors
/// The system does not know where the running program lies.
pub fn programs() -> Result<PathBuf, StackError> {
    let program = std::env::current_exe().map_err(|source| StackError::System {
        what: "the program's path",
        source,
    })?;
    Ok(program.parent().map(Path::to_path_buf).unwrap_or_default())
}
