//! A voice client that runs as a process of its own, and what it said of itself.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    simulator::{PATIENCE, Result, ensure},
    tone::{PASSAGE, Share, Tone},
};

/// The share of the power at the pitch that makes a tone heard.
pub const GOOD: f64 = 0.9;
/// What Opus silence looks like; clients send a few at a pause.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// What a speaker is, as the command line tells it.
pub struct Plan {
    pub name: String,
    /// Whether it is the client of this repository, which is held to more.
    pub ours: bool,
    program: Vec<String>,
}

impl Plan {
    /// `{"name", "ours", "program": [..]}`
    pub fn parse(text: &str) -> Result<Self> {
        let plan: Value = serde_json::from_str(text)?;
        let program = plan["program"].as_array().ok_or("no program")?;
        Ok(Self {
            name: plan["name"].as_str().ok_or("no name")?.to_owned(),
            ours: plan["ours"] == true,
            program: program
                .iter()
                .filter_map(|word| Some(word.as_str()?.to_owned()))
                .collect(),
        })
    }
}

struct Frame {
    at: Instant,
    /// Not all libraries tell it.
    sequence: Option<u16>,
    opus: Vec<u8>,
}

#[derive(Default)]
struct Said {
    /// Everything but frames.
    events: Vec<Value>,
    /// By the user who spoke.
    frames: HashMap<String, Vec<Frame>>,
}

/// How well somebody was heard.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// From `start` to the end of the first passage that is good.
    pub after: Duration,
    pub share: Share,
}

pub struct Speaker {
    pub plan: Plan,
    /// Its user, known once it is ready.
    pub user: String,
    pub tone: Tone,
    child: Child,
    stdin: ChildStdin,
    said: Arc<Mutex<Said>>,
    log: Log,
}

/// What was ordered, told and printed, for a person.
#[derive(Clone)]
struct Log {
    file: Arc<File>,
    start: Instant,
}

impl Log {
    fn line(&self, sign: &str, what: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        // A log that cannot be written changes nothing.
        let _ = (&*self.file).write_all(format!("{seconds:8.3} {sign} {what}\n").as_bytes());
    }
}

impl Speaker {
    /// Its log goes into the folder.
    pub fn start(
        plan: Plan,
        tone: Tone,
        folder: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let file = File::create(folder.join(format!("{}.log", plan.name)))?;
        let stderr = file.try_clone()?;
        let log = Log {
            file: Arc::new(file),
            start: Instant::now(),
        };
        let [program, arguments @ ..] = plan.program.as_slice() else {
            return Err("a speaker without a program".into());
        };
        let mut child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()?;
        let said = Arc::<Mutex<Said>>::default();
        let stdout = child.stdout.take().ok_or("no pipe from a speaker")?;
        let stdin = child.stdin.take().ok_or("no pipe to a speaker")?;
        thread::spawn({
            let said = Arc::clone(&said);
            let log = log.clone();
            move || read(BufReader::new(stdout), &said, &log)
        });
        Ok(Self {
            plan,
            user: String::new(),
            tone,
            child,
            stdin,
            said,
            log,
        })
    }

    pub fn order(&mut self, line: &str) -> Result<()> {
        self.log.line("<-", line);
        writeln!(self.stdin, "{line}")?;
        Ok(self.stdin.flush()?)
    }

    fn with<R>(&self, look: impl FnOnce(&Said) -> R) -> R {
        look(&self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many events it has told.
    pub fn mark(&self) -> usize {
        self.with(|said| said.events.len())
    }

    /// Waits for an event of this name after the first `mark`.
    pub async fn tells(&self, mark: usize, name: &str) -> Result<Value> {
        let start = Instant::now();
        loop {
            let found = self.with(|said| {
                let mut new = said.events[mark..].iter();
                new.find(|event| event["event"] == name).cloned()
            });
            if let Some(event) = found {
                return Ok(event);
            }
            ensure(
                start.elapsed() < PATIENCE,
                format!("{} did not tell: {name}", self.plan.name),
            )?;
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a whole passage of the other one's tone, from `start` on, has arrived well enough.
    pub async fn hears(&self, user: &str, tone: Tone, start: Instant) -> Result<Heard> {
        let mut best: Option<Share> = None;
        loop {
            let judged = self.with(|said| judge(said.frames.get(user), start, tone));
            if let Some((at, share)) = judged? {
                if share.least() > GOOD {
                    let after = at - start;
                    return Ok(Heard { after, share });
                }
                best = best
                    .filter(|best| best.least() > share.least())
                    .or(Some(share));
            }
            ensure(start.elapsed() < PATIENCE, {
                let count = self.with(|said| {
                    let frames = said.frames.get(user).map(Vec::as_slice);
                    frames
                        .unwrap_or_default()
                        .iter()
                        .filter(|frame| frame.at >= start)
                        .count()
                });
                format!(
                    "{} got {count} frames, none {PASSAGE} in a row with the tone (best {best:?})",
                    self.plan.name
                )
            })?;
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many frames of theirs arrived in this time, and how many were missing in the middle of them, where the
    /// library tells their numbers.
    pub fn counted(&self, user: &str, since: Instant) -> (usize, usize) {
        self.with(|said| {
            let frames = said.frames.get(user).map(Vec::as_slice).unwrap_or_default();
            let new: Vec<_> = frames.iter().filter(|frame| frame.at >= since).collect();
            let mut numbers: Vec<_> = new.iter().filter_map(|frame| frame.sequence).collect();
            let first = numbers.first().copied().unwrap_or_default();
            // Relative to the first, so that the numbers may wrap, and a late one may come before it.
            let offset = |number: u16| i32::from(number.wrapping_sub(first).cast_signed());
            numbers.sort_unstable_by_key(|number| offset(*number));
            let missing = numbers
                .windows(2)
                .map(|pair| usize::try_from(offset(pair[1]) - offset(pair[0]) - 1).unwrap_or(0))
                .sum();
            (new.len(), missing)
        })
    }

    /// The longest time without a frame of theirs, from `since` to the last one.
    pub fn longest_gap(&self, user: &str, since: Instant) -> Duration {
        self.with(|said| {
            let frames = said.frames.get(user).map(Vec::as_slice).unwrap_or_default();
            let later = frames
                .iter()
                .map(|frame| frame.at)
                .filter(|at| *at >= since);
            let (_, longest) = later.fold((since, Duration::ZERO), |(last, longest), at| {
                (at, longest.max(at - last))
            });
            longest
        })
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(lines: impl BufRead, said: &Mutex<Said>, log: &Log) {
    for line in lines.lines().map_while(std::result::Result::ok) {
        let at = Instant::now();
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            log.line("??", &line);
            continue;
        };
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if event["event"] == "frame" {
            let user = event["user"].as_str().unwrap_or_default().to_owned();
            said.frames.entry(user).or_default().push(Frame {
                at,
                sequence: event["sequence"]
                    .as_u64()
                    .and_then(|number| number.try_into().ok()),
                opus: bytes(event["data"].as_str().unwrap_or_default()),
            });
        } else {
            log.line("->", &line);
            said.events.push(event);
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .filter_map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok())
        .collect()
}

/// The last passage of what was heard after `start`, and when it was complete.
fn judge(
    frames: Option<&Vec<Frame>>,
    start: Instant,
    tone: Tone,
) -> Result<Option<(Instant, Share)>> {
    let mut passage: Vec<_> = frames
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .rev()
        .take_while(|frame| frame.at >= start)
        .filter(|frame| frame.opus != SILENCE)
        .take(PASSAGE)
        .collect();
    let Some(last) = passage.first().filter(|_| passage.len() == PASSAGE) else {
        return Ok(None);
    };
    let at = last.at;
    passage.reverse();
    if let Some(first) = passage[0].sequence {
        passage.sort_by_key(|frame| frame.sequence.unwrap_or(first).wrapping_sub(first));
    }
    let mut slots: Vec<Option<&[u8]>> = Vec::new();
    let mut expected = passage[0].sequence;
    for frame in passage {
        if let (Some(number), Some(expected)) = (frame.sequence, expected) {
            // A long gap is a pause or a new start: the decoder settles in the frames that follow.
            let gap = usize::from(number.wrapping_sub(expected)).min(PASSAGE);
            slots.extend(vec![None; gap]);
        }
        expected = frame.sequence.map(|number| number.wrapping_add(1));
        slots.push(Some(&frame.opus));
    }
    Ok(Some((at, tone.judge(slots.into_iter())?)))
}
