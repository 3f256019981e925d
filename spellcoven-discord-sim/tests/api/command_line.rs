//! The program `discord-sim`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> (Program, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_discord-sim"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (Program(child), serde_json::from_str(&line).unwrap())
}

#[test]
fn a_line_of_json_and_a_file_of_shell_variables_say_the_same() {
    let directory = own_directory();
    let env = directory.join("discord sim.env");
    let (_program, about) = start(&[
        "--env",
        env.to_str().unwrap(),
        "--channels",
        "3",
        "--people",
        "1",
    ]);
    // What a shell makes of the file.
    let script = r#". "$0"; for name in DISCORD_API_BASE DISCORD_API_BASE_URL DISCORD_GATEWAY_URL DISCORD_BOT_TOKEN \
        DISCORD_BOT_TOKEN_2 GUILD_ID PRIMARY_GUILD_ID VOICE_CHANNEL_ID CONTROL_URL; do eval "echo \$$name"; done; \
        cat "$CA_CERT""#;
    let told = Command::new("sh")
        .args(["-c", script])
        .arg(&env)
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let (lines, ca) = told.split_once("-----BEGIN").unwrap();
    let wanted = [
        &about["api_base"],
        &about["api_base"],
        &about["gateway_url"],
        &about["bots"][0]["token"],
        &about["bots"][1]["token"],
        &about["guild_id"],
        &about["guild_id"],
        &about["voice_channel_id"],
        &about["control_url"],
    ];
    let wanted: Vec<&str> = wanted.map(|value| value.as_str().unwrap()).into();
    assert_eq!(lines.lines().collect::<Vec<_>>(), wanted);
    assert!(about["api_base"].as_str().unwrap().ends_with("/api/v10"));
    assert!(about["tls"]["ca_pem"].as_str().unwrap().ends_with(ca));
    assert_eq!(about["voice_channel_ids"].as_array().unwrap().len(), 3);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_same_seed_and_time_give_the_same_discord() {
    let arguments = ["--seed", "5", "--start-time", "1795392000000", "--no-tls"];
    let (_first, first) = start(&arguments);
    let (_second, second) = start(&arguments);
    for key in ["bots", "people", "guild_id", "voice_channel_ids"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    assert!(first.get("tls").is_none());
}

/// A directory of this test's own.
fn own_directory() -> std::path::PathBuf {
    let name = format!("discord-sim-{}-{:x}", std::process::id(), fastrand::u64(..));
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).unwrap();
    directory
}
