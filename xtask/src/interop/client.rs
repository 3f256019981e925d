use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::command::{Error, cargo_with, root, run};

/// A client, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum Client {
    /// twilight with zstd-stream
    TwilightZstd,
    /// twilight with zlib-stream
    TwilightZlib,
    /// serenity
    Serenity,
    /// discord.js
    Discordjs,
    /// discord.py
    Discordpy,
    /// hikari
    Hikari,
    /// In a call: ours and songbird, later discord.js
    VoiceSongbird,
    /// In a call: discord.js and ours, later songbird
    VoiceDiscordjs,
    /// In a call: songbird and discord.js, later ours
    VoiceOthers,
    /// In a call with XChaCha20 instead of AES: ours and songbird, later discord.js
    VoiceXchacha,
    /// In a call: ours with twilight's and serenity's Gateway, later with its own
    VoiceSignalling,
}

impl Client {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TwilightZstd => "twilight-zstd",
            Self::TwilightZlib => "twilight-zlib",
            Self::Serenity => "serenity",
            Self::Discordjs => "discordjs",
            Self::Discordpy => "discordpy",
            Self::Hikari => "hikari",
            Self::VoiceSongbird => "voice-songbird",
            Self::VoiceDiscordjs => "voice-discordjs",
            Self::VoiceOthers => "voice-others",
            Self::VoiceXchacha => "voice-xchacha",
            Self::VoiceSignalling => "voice-signalling",
        }
    }

    /// Alone, the interval of heartbeats is short, so that missed answers are soon noticed.
    pub(super) const fn simulator_options(self) -> &'static [&'static str] {
        match self {
            Self::TwilightZstd | Self::TwilightZlib => {
                &["--heartbeat-interval", "2000", "--scope-on-all"]
            }
            Self::Serenity | Self::Discordjs | Self::Discordpy | Self::Hikari => {
                &["--heartbeat-interval", "2000"]
            }
            Self::VoiceXchacha => &["--bots", "3", "--no-voice-aes"],
            Self::VoiceSongbird
            | Self::VoiceDiscordjs
            | Self::VoiceOthers
            | Self::VoiceSignalling => &["--bots", "3"],
        }
    }

    /// Whether a part of it runs on Node.js.
    pub(crate) const fn needs_node(self) -> bool {
        matches!(self, Self::Discordjs) || self.is_voice() && !matches!(self, Self::VoiceSignalling)
    }

    fn source(self) -> PathBuf {
        root().join("interop").join(self.name())
    }

    /// Installs what the client needs below `folder`, and gives the command that runs its checks.
    pub(super) fn prepare(self, folder: &Path) -> Result<Command, Error> {
        let own = folder.join(self.name());
        fs::create_dir_all(&own)?;
        match self {
            // The two share a target folder.
            Self::TwilightZstd | Self::TwilightZlib => self.rust(&folder.join("twilight")),
            Self::Serenity => self.rust(&own),
            Self::Discordjs => self.discordjs(&own),
            Self::Discordpy | Self::Hikari => self.python(&own),
            _ => Err(format!("{} is a call, and prepared with the others", self.name()).into()),
        }
    }

    /// A package outside the workspace, with a target folder of its own.
    fn rust(self, target: &Path) -> Result<Command, Error> {
        build_locked(&self.source().join("Cargo.toml"), target)?;
        Ok(Command::new(
            target
                .join("debug")
                .join(format!("interop-{}", self.name())),
        ))
    }

    fn discordjs(self, own: &Path) -> Result<Command, Error> {
        npm_install(self.name(), own)?;
        let mut command = Command::new("node");
        command
            .arg(self.source().join("check.js"))
            .env("NODE_MODULES", own);
        Ok(command)
    }

    fn python(self, own: &Path) -> Result<Command, Error> {
        let python = own.join("bin/python");
        if !python.exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(own))?;
        }
        run(Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(self.source().join("requirements.txt")))?;
        let mut command = Command::new(&python);
        // -B: no compiled files in the source tree.
        command.arg("-B").arg(self.source().join("check.py"));
        Ok(command)
    }
}

/// Builds a package or a workspace that is none of the repository's own, as its lock file says.
fn build_locked(manifest: &Path, target: &Path) -> Result<(), Error> {
    build(manifest, target, &["--locked"])
}

/// The same for one that names crates of the repository. What its lock file pins stays; what has changed in those crates
/// since is added to it.
pub(super) fn build_beside(manifest: &Path, target: &Path) -> Result<(), Error> {
    build(manifest, target, &[])
}

fn build(manifest: &Path, target: &Path, options: &[&str]) -> Result<(), Error> {
    let line = ["build", "--quiet", "--manifest-path", text(manifest)?];
    cargo_with(
        &[&line, options].concat(),
        &[("CARGO_TARGET_DIR", text(target)?)],
    )
}

/// Installs what the `package.json` of this folder of `interop` asks for, outside the source tree.
pub(super) fn npm_install(name: &str, into: &Path) -> Result<(), Error> {
    fs::create_dir_all(into)?;
    let package = root().join("interop").join(name).join("package.json");
    fs::copy(package, into.join("package.json"))?;
    run(Command::new("npm").current_dir(into).args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--ignore-scripts",
        "--loglevel=error",
    ]))
}

fn text(path: &Path) -> Result<&str, Error> {
    path.to_str()
        .ok_or_else(|| format!("{} is no text", path.display()).into())
}
