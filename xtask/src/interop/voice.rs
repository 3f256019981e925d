use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use super::client::{Client, build_beside, npm_install};
use crate::command::{Error, root};

/// Who can speak in a call.
#[derive(Clone, Copy)]
enum Speaker {
    /// `spellcoven-discord-voice` on `spellcoven-discord-gateway`.
    Ours,
    /// The same client on twilight-gateway.
    OursOnTwilight,
    /// The same client on serenity.
    OursOnSerenity,
    Songbird,
    Discordjs,
}

impl Client {
    pub(super) const fn is_voice(self) -> bool {
        matches!(
            self,
            Self::VoiceSongbird
                | Self::VoiceDiscordjs
                | Self::VoiceOthers
                | Self::VoiceXchacha
                | Self::VoiceSignalling
        )
    }

    /// The three of the call, in the order in which they join; the first one leaves and comes back.
    const fn speakers(self) -> [Speaker; 3] {
        match self {
            Self::VoiceDiscordjs => [Speaker::Discordjs, Speaker::Ours, Speaker::Songbird],
            Self::VoiceOthers => [Speaker::Songbird, Speaker::Discordjs, Speaker::Ours],
            Self::VoiceSignalling => [
                Speaker::OursOnTwilight,
                Speaker::OursOnSerenity,
                Speaker::Ours,
            ],
            _ => [Speaker::Ours, Speaker::Songbird, Speaker::Discordjs],
        }
    }
}

/// The programs, built.
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds and installs what these calls need below `folder`. What is Rust is built at once, so that songbird and
    /// ours share what both depend on.
    pub(super) fn build(folder: &Path, calls: &[Client]) -> Result<Self, Error> {
        let programs = Self {
            folder: folder.join("voice"),
        };
        build_beside(&root().join("interop/Cargo.toml"), &programs.target())?;
        let mut speakers = calls.iter().flat_map(|call| call.speakers());
        if speakers.any(|who| matches!(who, Speaker::Discordjs)) {
            npm_install("discordjs-voice", &programs.packages())?;
        }
        Ok(programs)
    }

    fn target(&self) -> PathBuf {
        self.folder.join("rust")
    }

    fn packages(&self) -> PathBuf {
        self.folder.join("discordjs")
    }

    /// What lets these three talk and judges them, the simulator's variables missing.
    pub(super) fn call(&self, call: Client) -> Command {
        let mut command = Command::new(self.program("interop-voice"));
        command
            .env("WORK_FOLDER", self.folder.join(call.name()))
            .env("NODE_MODULES", self.packages())
            .args(call.speakers().map(|who| self.speaker(who)));
        command
    }

    fn program(&self, name: &str) -> PathBuf {
        self.target().join("debug").join(name)
    }

    fn speaker(&self, who: Speaker) -> String {
        let (name, ours) = match who {
            Speaker::Ours => ("ours", true),
            Speaker::OursOnTwilight => ("ours_on_twilight", true),
            Speaker::OursOnSerenity => ("ours_on_serenity", true),
            Speaker::Songbird => ("songbird", false),
            Speaker::Discordjs => ("discordjs", false),
        };
        let program = match who {
            Speaker::Ours => vec![self.program("speaker-gateway")],
            Speaker::OursOnTwilight => vec![self.program("speaker-twilight")],
            Speaker::OursOnSerenity => vec![self.program("speaker-serenity")],
            Speaker::Songbird => vec![self.program("interop-songbird")],
            Speaker::Discordjs => vec![
                "node".into(),
                root().join("interop/discordjs-voice/speaker.js"),
            ],
        };
        json!({"name": name, "ours": ours, "program": program}).to_string()
    }
}
