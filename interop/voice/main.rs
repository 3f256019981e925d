//! Three voice clients in one call on a running discord-sim: `../README.md`, "Voice".
//!
//! Each argument is one of them, as JSON. Prints one line for each check; exits 1 if one failed.

#[path = "../rust/report.rs"]
mod report;
#[path = "../rust/simulator.rs"]
#[expect(dead_code, reason = "checks of other clients need more of it")]
mod simulator;
mod speaker;
mod tone;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use report::{exit_code, report};
use serde_json::json;
use simulator::{Result, Simulator, ensure, variable};
use speaker::{Plan, Speaker};
use tokio::time::{Instant, sleep};
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
const ENOUGH: f64 = 0.9;

/// What a simulated person says.
const PERSON: Tone = Tone {
    left: 770,
    right: 1540,
};
/// How often frames are counted before a busy machine is no excuse any more.
const COUNTS: usize = 5;

struct Call {
    simulator: Simulator,
    channel: String,
    person: String,
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
        let person = info["people"][0]["user_id"].as_str().ok_or("no people")?;
        Ok(Self {
            simulator,
            channel: variable("VOICE_CHANNEL_ID")?,
            person: person.to_owned(),
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

    /// Who listens to whom among these.
    fn pairs(&self, who: &[usize]) -> Vec<(&Speaker, &Speaker)> {
        who.iter()
            .flat_map(|ear| who.iter().map(move |mouth| (*ear, *mouth)))
            .filter(|(ear, mouth)| ear != mouth)
            .map(|(ear, mouth)| (&self.speakers[ear], &self.speakers[mouth]))
            .collect()
    }

    /// Each of these hears each other of these, from now on.
    async fn all_hear(&self, who: &[usize]) -> Result<String> {
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut least = 1.0_f64;
        for (ear, mouth) in self.pairs(who) {
            let heard = ear.hears(&mouth.user, mouth.tone, start).await;
            let heard = heard.map_err(|error| {
                let (ear, mouth) = (&ear.plan.name, &mouth.plan.name);
                format!("{ear} does not hear {mouth}: {error}")
            })?;
            slowest = slowest.max(heard.after);
            least = least.min(heard.share.least());
        }
        Ok(format!(
            "{}; {:.1} s until all had heard 1.5 s, {:.1} % of the power at the pitch",
            self.names(who),
            slowest.as_secs_f64(),
            least * 100.0
        ))
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

    /// Of a time in which nothing happens, every frame arrives.
    async fn nothing_is_lost(&self) -> Result<String> {
        let mut told = String::new();
        for _ in 0..COUNTS {
            let start = Instant::now();
            sleep(COUNTED).await;
            let expected = start.elapsed().as_secs_f64() * 50.0;
            let mut least = usize::MAX;
            let mut lost = 0;
            for (ear, mouth) in self.pairs(&[0, 1, 2]) {
                let (arrived, missing) = ear.counted(&mouth.user, start);
                least = least.min(arrived);
                lost += missing;
            }
            told = format!("{least} frames of {expected:.0} at least, {lost} gaps");
            if least as f64 >= expected * ENOUGH && lost == 0 {
                return Ok(told);
            }
        }
        Err(told.into())
    }

    /// A simulated person, who talks and listens.
    async fn a_person_takes_part(&self) -> Result<String> {
        let person = &self.person;
        self.simulator.voice(person, Some(&self.channel)).await?;
        let listen = json!({"user_id": person, "on": true});
        self.simulator.post("voice/listen", listen).await?;
        let talk = json!({"user_id": person, "left": PERSON.left, "right": PERSON.right});
        self.simulator.post("voice/talk", talk).await?;
        let start = Instant::now();
        for speaker in &self.speakers {
            let heard = speaker.hears(person, PERSON, start).await;
            heard.map_err(|error| {
                format!("{} does not hear the person: {error}", speaker.plan.name)
            })?;
        }
        let mut least = 1.0_f64;
        for Speaker {
            plan, user, tone, ..
        } in &self.speakers
        {
            let Tone { left, right } = tone;
            let query = format!("user_id={person}&from={user}&left={left}&right={right}");
            let heard = self.simulator.get(&format!("voice/heard?{query}")).await?;
            let share = |ear: &str| heard[ear].as_f64().unwrap_or(0.0);
            let share = share("left").min(share("right"));
            ensure(
                share > speaker::GOOD && heard["clear"] == 0,
                format!("the person does not hear {}: {heard}", plan.name),
            )?;
            least = least.min(share);
        }
        self.simulator.voice(person, None).await?;
        self.all_hear(&[0, 1, 2]).await?;
        Ok(format!("the person heard {:.1} % of tone", least * 100.0))
    }

    /// The connection to the voice server of one of them ends without a word.
    async fn survives_a_cut(&self, who: usize) -> Result<String> {
        let mark = self.simulator.mark().await?;
        let cut = &self.speakers[who];
        let start = Instant::now();
        self.simulator
            .post("drop", json!({"target": "voice", "user_id": cut.user}))
            .await?;
        self.simulator.until(mark, "voice_resumed").await?;
        let after = start.elapsed();
        let told = self.all_hear(&[0, 1, 2]).await?;
        let others = self.speakers.iter().filter(|ear| ear.user != cut.user);
        let gaps = others.map(|ear| ear.longest_gap(&cut.user, start));
        let gap = gaps.max().unwrap_or_default();
        Ok(format!(
            "resumed after {} ms, no longer gap in its audio than {} ms; {told}",
            after.as_millis(),
            gap.as_millis()
        ))
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

    /// What the voice server counted: everything of ours is end-to-end encrypted, and nothing of it is wrong. The
    /// others are known to send in the clear while they wait for a key.
    async fn all_encrypted(&self) -> Result<String> {
        let media = self.simulator.get("media").await?;
        let mut told = Vec::new();
        for Speaker { plan, user, .. } in &self.speakers {
            let counts = &media[user];
            let count = |what: &str| counts[what].as_u64().unwrap_or(u64::MAX);
            told.push(format!(
                "{} {} frames, {} clear",
                plan.name,
                count("dave"),
                count("clear")
            ));
            let wrong = [
                "clear",
                "clear_in_dave_call",
                "reused_counters",
                "unreadable",
                "wrong_address",
                "before_speaking",
            ];
            ensure(
                count("dave") > 0 && (!plan.ours || wrong.iter().all(|what| count(what) == 0)),
                format!("{}: {counts}", plan.name),
            )?;
        }
        Ok(told.join("; "))
    }

    /// The simulator has nothing against ours in its journal.
    async fn no_complaint(&self) -> Result<String> {
        let journal = self.simulator.get("journal").await?;
        let journal = journal.as_array().ok_or("the journal is no list")?;
        let mut others = 0;
        for complaint in journal.iter().filter(|entry| entry["kind"] == "complaint") {
            let who = complaint["who"].as_str().unwrap_or_default();
            let by_number = |number: &str, kinds: [&str; 2], user: &str| {
                let number: u64 = number.parse().ok()?;
                journal
                    .iter()
                    .filter(|entry| kinds.iter().any(|kind| entry["kind"] == *kind))
                    .find(|entry| entry["connection"] == number)
                    .and_then(|entry| entry[user].as_str())
            };
            let user = if let Some(number) = who.strip_prefix("voice #") {
                by_number(number, ["voice_identified", "voice_resumed"], "user")
            } else if let Some(number) = who.strip_prefix('#') {
                by_number(number, ["identified", "resumed"], "bot")
            } else {
                who.strip_prefix("user ")
            };
            let speaker = self
                .speakers
                .iter()
                .find(|speaker| Some(speaker.user.as_str()) == user);
            ensure(
                speaker.is_some_and(|speaker| !speaker.plan.ours),
                format!("the simulator complains: {complaint}"),
            )?;
            others += 1;
        }
        Ok(format!("{others} about the others"))
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
    let told = call.nothing_is_lost().await;
    report(&mut failed, "nothing_is_lost", told);
    let told = call.a_person_takes_part().await;
    report(&mut failed, "a_person_takes_part", told);
    for who in 0..3 {
        let name = format!("{}_is_cut_off", call.speakers[who].plan.name);
        report(&mut failed, &name, call.survives_a_cut(who).await);
    }
    report(&mut failed, "one_leaves", call.one_leaves().await);
    report(&mut failed, "it_comes_back", call.it_comes_back().await);
    report(&mut failed, "all_encrypted", call.all_encrypted().await);
    report(&mut failed, "no_complaint", call.no_complaint().await);
    Ok(!failed)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    exit_code(run().await)
}
