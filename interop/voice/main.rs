//! Three voice clients in one call on a running discord-sim: `../README.md`, "Voice".
//!
//! Each argument is one of them, as JSON. Prints one line for each check; exits 1 if one failed.

#[path = "../rust/simulator.rs"]
#[allow(dead_code, reason = "other clients' checks need more of it")]
mod simulator;
mod speaker;
mod tone;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::json;
use simulator::{Result, Simulator, ensure, variable};
use speaker::{Plan, Speaker};
use tokio::time::sleep;
use tone::Tone;

/// What each of the three plays.
const TONES: [Tone; 3] = [
    Tone {
        left: 440,
        right: 880,
    },
    Tone {
        left: 550,
        right: 1100,
    },
    Tone {
        left: 660,
        right: 1320,
    },
];
/// Longer than all the checks together.
const TONE_SECONDS: usize = 180;
/// How long frames are counted, to see that none is lost.
const COUNTED: Duration = Duration::from_secs(2);
/// How long the first one stays away: songbird does not hear who is back within 5 s.
const AWAY: Duration = Duration::from_secs(5);
/// What of them has to arrive: the rest is the scheduler's on a busy machine.
const ENOUGH: f64 = 0.95;

struct Call {
    simulator: Simulator,
    channel: String,
    folder: PathBuf,
    speakers: Vec<Speaker>,
}

impl Call {
    async fn start() -> Result<Self> {
        let simulator = Simulator::from_environment()?;
        let info = simulator.get("info").await?;
        let folder = PathBuf::from(variable("WORK_FOLDER")?);
        fs::create_dir_all(&folder)?;
        let authority = folder.join("authority.pem");
        fs::write(
            &authority,
            info["tls"]["ca_pem"].as_str().ok_or("no certificate")?,
        )?;
        let authority = text(&authority)?;
        let channel = variable("VOICE_CHANNEL_ID")?;
        let mut speakers = Vec::new();
        for (number, argument) in env::args().skip(1).enumerate() {
            let tone = *TONES.get(number).ok_or("too many speakers")?;
            tone.write(&tone_file(&folder, tone), TONE_SECONDS)?;
            let token = info["bots"][number]["token"]
                .as_str()
                .ok_or("the simulator has too few bots")?;
            let variables = [
                ("DISCORD_BOT_TOKEN", token),
                ("SSL_CERT_FILE", authority),
                ("NODE_EXTRA_CA_CERTS", authority),
            ];
            let plan = Plan::parse(&argument)?;
            speakers.push(Speaker::start(plan, tone, &folder, &variables)?);
        }
        ensure(speakers.len() == 3, "three speakers are wanted")?;
        Ok(Self {
            simulator,
            channel,
            folder,
            speakers,
        })
    }

    async fn login(&mut self) -> Result<String> {
        for speaker in &mut self.speakers {
            let ready = speaker.tells(0, "ready").await?;
            ready["user"]
                .as_str()
                .ok_or("a user without a number")?
                .clone_into(&mut speaker.user);
        }
        Ok(self.names(&[0, 1, 2]))
    }

    async fn joins(&mut self, who: usize) -> Result<()> {
        let file = tone_file(&self.folder, self.speakers[who].tone);
        let speaker = &mut self.speakers[who];
        let mark = speaker.mark();
        speaker.order(&format!("join {}", self.channel))?;
        speaker.tells(mark, "joined").await?;
        speaker.order(&format!("play {}", text(&file)?))
    }

    /// Each of these hears each other of these, from now on; and then without a gap for a while.
    async fn all_hear(&self, who: &[usize]) -> Result<String> {
        let mut slowest = Duration::ZERO;
        let mut least = 1.0_f64;
        let pairs: Vec<_> = who
            .iter()
            .flat_map(|ear| who.iter().map(move |mouth| (*ear, *mouth)))
            .filter(|(ear, mouth)| ear != mouth)
            .map(|(ear, mouth)| (&self.speakers[ear], &self.speakers[mouth]))
            .collect();
        for (ear, mouth) in &pairs {
            let heard = ear.hears(&mouth.user, mouth.tone).await.map_err(|error| {
                format!(
                    "{} does not hear {}: {error}",
                    ear.plan.name, mouth.plan.name
                )
            })?;
            slowest = slowest.max(heard.after);
            least = least.min(heard.share.least());
        }
        Ok(format!(
            "{}; a good passage after {} ms at most, {:.1} % of the power at the pitch at least",
            self.names(who),
            slowest.as_millis(),
            least * 100.0
        ))
    }

    async fn nothing_is_lost(&self, who: &[usize]) -> Result<String> {
        let start = Instant::now();
        sleep(COUNTED).await;
        let elapsed = start.elapsed();
        let expected = elapsed.as_secs_f64() * 50.0;
        let mut told = Vec::new();
        for ear in who {
            for mouth in who.iter().filter(|mouth| *mouth != ear) {
                let (ear, mouth) = (&self.speakers[*ear], &self.speakers[*mouth]);
                let (arrived, missing) = ear.counted(&mouth.user, start);
                let line = format!(
                    "{} got {arrived} frames of {}'s {expected:.0}, {missing} missing between them",
                    ear.plan.name, mouth.plan.name
                );
                ensure(
                    arrived as f64 >= expected * ENOUGH && missing == 0,
                    line.clone(),
                )?;
                told.push(format!("{arrived}"));
            }
        }
        Ok(format!("{} frames of {expected:.0}", told.join(", ")))
    }

    async fn two_hear_each_other(&mut self) -> Result<String> {
        self.joins(0).await?;
        self.joins(1).await?;
        self.all_hear(&[0, 1]).await
    }

    async fn a_third_joins(&mut self) -> Result<String> {
        self.joins(2).await?;
        self.all_hear(&[0, 1, 2]).await
    }

    /// The connection to the voice server of one of them ends without a word.
    async fn survives_a_cut(&self, who: usize) -> Result<String> {
        let mark = self.simulator.mark().await?;
        let user = &self.speakers[who].user;
        self.simulator
            .post("drop", json!({"target": "voice", "user_id": user}))
            .await?;
        self.simulator.until(mark, "voice_resumed").await?;
        self.all_hear(&[0, 1, 2]).await
    }

    async fn one_leaves(&mut self) -> Result<String> {
        let mark = self.speakers[0].mark();
        self.speakers[0].order("leave")?;
        self.speakers[0].tells(mark, "left").await?;
        self.all_hear(&[1, 2]).await
    }

    async fn it_comes_back(&mut self) -> Result<String> {
        sleep(AWAY).await;
        self.joins(0).await?;
        self.all_hear(&[0, 1, 2]).await
    }

    fn names(&self, who: &[usize]) -> String {
        let names: Vec<_> = who
            .iter()
            .map(|number| self.speakers[*number].plan.name.as_str())
            .collect();
        names.join(", ")
    }
}

fn tone_file(folder: &Path, tone: Tone) -> PathBuf {
    folder.join(format!("{}-{}.dca", tone.left, tone.right))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| format!("{} is no text", path.display()).into())
}

fn report(failed: &mut bool, name: &str, outcome: Result<String>) {
    match outcome {
        Ok(what) => println!("ok      {name}: {what}"),
        Err(error) => {
            *failed = true;
            println!("FAILED  {name}: {error}");
        }
    }
}

async fn run() -> Result<bool> {
    let mut call = Call::start().await?;
    let mut failed = false;
    report(&mut failed, "login", call.login().await);
    if failed {
        return Ok(false);
    }
    report(
        &mut failed,
        "two_hear_each_other",
        call.two_hear_each_other().await,
    );
    report(&mut failed, "a_third_joins", call.a_third_joins().await);
    report(
        &mut failed,
        "nothing_is_lost",
        call.nothing_is_lost(&[0, 1, 2]).await,
    );
    for who in 0..3 {
        let name = format!("{}_is_cut_off", call.speakers[who].plan.name);
        report(&mut failed, &name, call.survives_a_cut(who).await);
    }
    report(&mut failed, "one_leaves", call.one_leaves().await);
    report(&mut failed, "it_comes_back", call.it_comes_back().await);
    Ok(!failed)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAILED  start: {error}");
            ExitCode::FAILURE
        }
    }
}
