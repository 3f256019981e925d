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
        }
    }

    pub(super) const fn simulator_options(self) -> &'static [&'static str] {
        match self {
            Self::TwilightZstd | Self::TwilightZlib => &["--scope-on-all"],
            Self::Serenity | Self::Discordjs | Self::Discordpy | Self::Hikari => &[],
        }
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
        }
    }

    /// A package outside the workspace, with a target folder of its own.
    fn rust(self, target: &Path) -> Result<Command, Error> {
        let manifest = self.source().join("Cargo.toml");
        cargo_with(
            &[
                "build",
                "--locked",
                "--quiet",
                "--manifest-path",
                text(&manifest)?,
            ],
            &[("CARGO_TARGET_DIR", text(target)?)],
        )?;
        Ok(Command::new(
            target
                .join("debug")
                .join(format!("interop-{}", self.name())),
        ))
    }

    fn discordjs(self, own: &Path) -> Result<Command, Error> {
        fs::copy(self.source().join("package.json"), own.join("package.json"))?;
        let mut install = Command::new("npm");
        install.current_dir(own).args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--ignore-scripts",
            "--loglevel=error",
        ]);
        run(&mut install)?;
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

fn text(path: &Path) -> Result<&str, Error> {
    path.to_str()
        .ok_or_else(|| format!("{} is no text", path.display()).into())
}
