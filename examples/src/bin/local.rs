//! The whole system on this machine: `cargo xtask local`.

use std::process::ExitCode;

use clap::Parser;
use spellcoven_devkit::{
    scenario,
    sign_in::sign_in,
    signals,
    stack::{Discord, ORIGIN, Stack, programs},
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
    print_guide(stack, &token);
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

fn print_guide(stack: &Stack, token: &str) {
    let Stack {
        backend,
        worker,
        identity,
        guild_id,
        ..
    } = stack;
    let ws = backend.replacen("http", "ws", 1);
    println!(
        "
backend            {backend}   (allowed origin {ORIGIN})
worker             {worker}/health
identity provider  {identity}/.well-known/openid-configuration
guild              {guild_id}

A token for alice, good for 12 hours:
TOKEN={token}

Make a room, see the rooms, end it:
curl -s -X POST {backend}/api/create-room -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{{\"name\":\"Commander night\",\"userLimit\":4}}'
curl -s {backend}/api/rooms -H \"Authorization: Bearer $TOKEN\"
curl -s -X DELETE {backend}/api/end-room/CHANNEL_ID -H \"Authorization: Bearer $TOKEN\"

Watch the events (in another terminal, TOKEN set there too):
echo \"$TOKEN\" | target/debug/local --watch {ws}/api/ws
or with any WebSocket client, the first message being the token:
npx wscat -c {ws}/api/ws -x '{{\"type\":\"auth\",\"token\":\"'$TOKEN'\"}}' -w 600"
    );
    if let Some(simulated) = &stack.simulated {
        let person = simulated.people.first().map_or("USER_ID", String::as_str);
        let control = &simulated.control_url;
        println!(
            "
Make a person of the simulated Discord join and leave:
curl -s -X POST {control}/voice -H 'Content-Type: application/json' -d '{{\"user_id\":\"{person}\",\"channel_id\":\"CHANNEL_ID\"}}'
curl -s -X POST {control}/voice -H 'Content-Type: application/json' -d '{{\"user_id\":\"{person}\",\"channel_id\":null}}'
curl -s {control}/journal"
        );
    }
    println!("\nCtrl-C stops everything.");
}
