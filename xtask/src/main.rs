//! The project's own commands. `cargo xtask --help` lists them.

mod check;
mod command;
mod interop;
mod local;
mod setup;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Looks for what the system must have, and installs it where that is possible
    Setup,
    /// Runs the whole system on this machine: Discord (simulated), sign-in, worker and backend
    Local {
        /// Passed on; `--scenario` runs the ten steps of the specification and ends
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs every test of the workspace, doc tests included
    Test,
    /// Checks what needs no test to be wrong: format, lints, docs, features, packages
    Check,
    /// Measures, built for release: `bench sim --json`
    Bench {
        /// Passed on to the bench program; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Lets unmodified third-party clients through lists of checks on the simulator, alone and in calls with each other and ours
    Interop {
        /// Which; all by default
        clients: Vec<interop::Client>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::Local { arguments } => local::run(&arguments),
        Command::Test => setup::run().and_then(|()| test()),
        Command::Check => setup::run().and_then(|()| check::run()),
        Command::Bench { arguments } => setup::run().and_then(|()| {
            let mut line = vec![
                "run",
                "--release",
                "--locked",
                "-p",
                "spellcoven-bench",
                "--",
            ];
            line.extend(arguments.iter().map(String::as_str));
            command::cargo(&line)
        }),
        Command::Interop { clients } => setup::run().and_then(|()| interop::run(&clients)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace with all features; then calls without libopus, since that is another way through the voice crate.
fn test() -> Result<(), command::Error> {
    command::cargo(&["test", "--workspace", "--all-features", "--locked"])?;
    command::cargo(&[
        "test",
        "--locked",
        "-p",
        "spellcoven-discord-voice",
        "--no-default-features",
        "--features",
        "gateway,rustls-native-roots",
        "--test",
        "api",
    ])
}
