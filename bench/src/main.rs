//! Measures, each beside a floor from the same run: the same bytes through nothing but a WebSocket or an HTTP server.
//!
//! `cargo xtask bench sim --json` prints one JSON object a line. The machine is shared with whatever else runs on it,
//! and the measured side and its load share its cores: compare ratios within a run, not figures between runs.

mod client;
mod events;
mod figure;
mod floor;
mod measure;
mod rest;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use figure::Figure;

/// What went wrong, for a person.
type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Measures of the crates, each beside a floor from the same run")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Events per second that the simulator sends to one client, and REST calls per second that it answers
    Sim {
        /// One JSON object a line, rather than a table
        #[arg(long)]
        json: bool,
        /// How long each case runs, in milliseconds
        #[arg(long, default_value_t = 2000)]
        millis: u64,
    },
}

fn main() -> ExitCode {
    let What::Sim { json, millis } = Arguments::parse().what;
    match sim(json, Duration::from_millis(millis)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sim(json: bool, time: Duration) -> Result<(), Error> {
    if !json {
        println!("{}", Figure::HEAD);
    }
    let show = |figure: &Figure| match serde_json::to_string(figure) {
        Ok(line) if json => println!("{line}"),
        _ => println!("{figure}"),
    };
    for compression in events::Compression::ALL {
        for kind in [events::Kind::Small, events::Kind::Voice] {
            show(&events::run(kind, compression, time)?);
        }
    }
    show(&rest::run(time)?);
    Ok(())
}
