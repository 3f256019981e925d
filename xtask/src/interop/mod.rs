//! Other people's clients, unmodified, against the simulator: `interop/README.md` tells what is checked.

mod client;
mod simulator;
mod voice;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use clap::ValueEnum as _;

pub(crate) use client::Client;
use simulator::Simulator;
use voice::Programs;

use crate::{
    command::{Error, cargo, target_directory},
    setup,
};

/// What a client may take for the whole list; the slowest takes a minute.
const TIME_LIMIT_TENTHS: u32 = 2400;

/// How many calls go on at once, each with a simulator and three clients.
const CALLS_AT_ONCE: usize = 3;

/// How one client fared.
struct Outcome {
    client: Client,
    passed: u32,
    failed: u32,
    seconds: u32,
    /// Why it failed, where that is no check.
    trouble: Option<String>,
}

impl Outcome {
    const fn good(&self) -> bool {
        self.failed == 0 && self.passed > 0 && self.trouble.is_none()
    }
}

/// Runs the clients named, or all.
pub(crate) fn run(wanted: &[Client]) -> Result<(), Error> {
    let clients = if wanted.is_empty() {
        Client::value_variants()
    } else {
        wanted
    };
    setup::interop(clients)?;
    cargo(&[
        "build",
        "--locked",
        "-p",
        "spellcoven-discord-sim",
        "--features",
        "cli",
        "--bin",
        "discord-sim",
    ])?;
    let folder = target_directory()?.join("interop");
    let (calls, alone): (Vec<Client>, Vec<_>) =
        clients.iter().partition(|client| client.is_voice());
    let mut outcomes = Vec::new();
    for client in alone {
        println!("== {}", client.name());
        let command = client.prepare(&folder)?;
        outcomes.push(check(client, command, &folder, "")?);
    }
    if !calls.is_empty() {
        outcomes.extend(check_calls(&calls, &folder)?);
    }
    report(&outcomes)
}

/// A call is waiting more than work, so some go on at once, each on a simulator of its own.
fn check_calls(calls: &[Client], folder: &Path) -> Result<Vec<Outcome>, Error> {
    let programs = Programs::build(folder, calls)?;
    let mut outcomes = Vec::new();
    for some in calls.chunks(CALLS_AT_ONCE) {
        let mut running = Vec::new();
        for call in some {
            let (call, command, folder) = (*call, programs.call(*call), folder.to_path_buf());
            println!("== {}", call.name());
            running.push(thread::spawn(move || {
                let prefix = format!("{} ", call.name());
                // An error crosses threads as text.
                check(call, command, &folder, &prefix).map_err(|error| error.to_string())
            }));
        }
        for call in running {
            outcomes.push(call.join().map_err(|_| "a call's thread panicked")??);
        }
    }
    Ok(outcomes)
}

fn report(outcomes: &[Outcome]) -> Result<(), Error> {
    println!(
        "\n{:<16} {:>6} {:>6} {:>8}",
        "client", "passed", "failed", "seconds"
    );
    for outcome in outcomes {
        println!(
            "{:<16} {:>6} {:>6} {:>8}  {}",
            outcome.client.name(),
            outcome.passed,
            outcome.failed,
            outcome.seconds,
            outcome.trouble.as_deref().unwrap_or_default(),
        );
    }
    let passed: u32 = outcomes.iter().map(|outcome| outcome.passed).sum();
    let failed: u32 = outcomes.iter().map(|outcome| outcome.failed).sum();
    println!("\n{passed} passed, {failed} failed");
    let bad: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.good())
        .map(|outcome| outcome.client.name())
        .collect();
    if bad.is_empty() {
        Ok(())
    } else {
        Err(format!("interop: {} did not get through", bad.join(", ")).into())
    }
}

/// Lets a client through the list against a simulator of its own.
fn check(
    client: Client,
    mut command: Command,
    folder: &Path,
    prefix: &str,
) -> Result<Outcome, Error> {
    let simulator = Simulator::start(client.simulator_options())?;
    let mut outcome = list(client, command.envs(simulator.variables()), prefix)?;
    if !outcome.good() {
        let story = folder.join(format!("{}.journal.json", client.name()));
        match simulator.journal() {
            Ok(journal) => {
                std::fs::write(&story, journal)?;
                println!("the simulator's journal is in {}", story.display());
            }
            Err(error) => outcome.trouble = Some(format!("the simulator is gone: {error}")),
        }
    }
    Ok(outcome)
}

fn list(client: Client, command: &mut Command, prefix: &str) -> Result<Outcome, Error> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or("a pipe that was asked for is not there")?;
    let prefix = prefix.to_owned();
    let reader = thread::spawn(move || {
        let (mut passed, mut failed) = (0, 0);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            passed += u32::from(line.starts_with("ok "));
            failed += u32::from(line.starts_with("FAILED "));
            println!("{prefix}{line}");
        }
        (passed, failed)
    });
    let mut tenths = 0;
    let trouble = loop {
        if let Some(status) = child.try_wait()? {
            break (!status.success()).then(|| status.to_string());
        }
        if tenths == TIME_LIMIT_TENTHS {
            child.kill()?;
            child.wait()?;
            break Some(format!("stopped after {} s", TIME_LIMIT_TENTHS / 10));
        }
        tenths += 1;
        thread::sleep(Duration::from_millis(100));
    };
    let (passed, failed) = reader
        .join()
        .map_err(|_| "reading the client's lines failed")?;
    Ok(Outcome {
        client,
        passed,
        failed,
        seconds: tenths / 10,
        trouble,
    })
}
