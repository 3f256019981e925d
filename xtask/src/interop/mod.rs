//! Other people's clients, unmodified, against the simulator: `interop/README.md` tells what is checked.

mod client;
mod simulator;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use clap::ValueEnum as _;

pub(crate) use client::Client;
use simulator::Simulator;

use crate::{
    command::{Error, cargo, target_directory},
    setup,
};

/// What a client may take for the whole list; the slowest takes a minute.
const TIME_LIMIT_TENTHS: u32 = 2400;

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
    let mut outcomes = Vec::new();
    for client in clients {
        println!("== {}", client.name());
        outcomes.push(check(*client)?);
    }
    report(&outcomes)
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

/// Sets a client up, and lets it through the list against a simulator of its own.
fn check(client: Client) -> Result<Outcome, Error> {
    let folder = target_directory()?.join("interop");
    let mut command = client.prepare(&folder)?;
    let simulator = Simulator::start(client.simulator_options())?;
    let mut outcome = list(client, command.envs(simulator.variables()))?;
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

fn list(client: Client, command: &mut Command) -> Result<Outcome, Error> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or("a pipe that was asked for is not there")?;
    let reader = thread::spawn(move || {
        let (mut passed, mut failed) = (0, 0);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            passed += u32::from(line.starts_with("ok "));
            failed += u32::from(line.starts_with("FAILED "));
            println!("{line}");
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
