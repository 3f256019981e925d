//! The whole system on this machine: `cargo xtask local`.

use std::process::ExitCode;

use clap::Parser;
use spellcoven_devkit::{
    guide, scenario,
    sign_in::sign_in,
    signals,
    stack::{Discord, Stack, programs},
    watch,
    web::WebClient,
};

/// Runs Discord (simulated), sign-in, worker and backend as processes on loopback.
///
/// With DISCORD_BOT_TOKEN and PRIMARY_GUILD_ID set, the real Discord takes the simulator's place.
#[derive(Parser)]
struct Arguments {
    /// Walks through the specification's ten manual steps, then ends; the exit code tells whether all ten hold
    #[arg(long)]
    scenario: bool,
    /// How many joins, and as many leaves, the scenario measures after the ten steps
    #[arg(long, default_value_t = 1000)]
    churn: u32,
    /// What the services log: DEBUG, INFO, WARN or ERROR
    #[arg(long)]
    log_level: Option<String>,
    /// Prints what the hub at this ws:// address tells a client, with the token on standard input, and nothing else
    #[arg(long, value_name = "URL")]
    watch: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.watch {
        Some(url) => watch::run(url).await.map(|()| true),
        None => run(&arguments).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("local: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let discord = discord();
    match discord {
        Discord::Simulated => println!(
            "Using the simulated Discord (DISCORD_BOT_TOKEN and PRIMARY_GUILD_ID are not both set)."
        ),
        Discord::Real { .. } => println!("Using the real Discord."),
    }
    let default = if arguments.scenario { "WARN" } else { "INFO" };
    let log_level = arguments.log_level.as_deref().unwrap_or(default);
    let programs = programs()?;
    let starting = Stack::start(&programs, discord, log_level);
    let stack = tokio::select! {
        biased;
        stopped = signals::stopped() => return stopped.map(|()| true).map_err(Into::into),
        stack = starting => stack?,
    };
    let held = tokio::select! {
        biased;
        stopped = signals::stopped() => stopped.map(|()| !arguments.scenario).map_err(Into::into),
        held = act(&stack, arguments) => held,
    };
    stack.stop().await;
    held
}

async fn act(stack: &Stack, arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    if arguments.scenario {
        let report = scenario::run(stack, arguments.churn).await?;
        println!(
            "{}",
            if report.holds() {
                "All ten steps hold."
            } else {
                "Not all ten steps hold."
            }
        );
        return Ok(report.holds());
    }
    stack
        .ready("the backend", &format!("{}/ready", stack.backend))
        .await?;
    let token = sign_in(&WebClient::new(), &stack.identity, "alice").await?;
    println!("{}", guide::text(stack, &token));
    // Until Ctrl-C.
    std::future::pending().await
}

fn discord() -> Discord {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    match (variable("DISCORD_BOT_TOKEN"), variable("PRIMARY_GUILD_ID")) {
        (Some(bot_token), Some(guild_id)) => Discord::Real {
            bot_token,
            guild_id,
        },
        _ => Discord::Simulated,
    }
}
