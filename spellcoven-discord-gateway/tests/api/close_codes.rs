//! The table of close codes, line by line as the protocol's page has it.

use std::time::Duration;

use spellcoven_discord_gateway::{
    ConnectionState, GatewayError,
    proto::{Output, Reaction, reaction},
};

use crate::support::*;

#[test]
fn each_code_has_its_reaction() {
    let slower = Reaction::ResumeSlower {
        min: Duration::from_secs(5),
        max: Duration::from_secs(10),
    };
    let page = [
        (None, Reaction::Resume),
        (Some(1000), Reaction::ResumeOnce),
        (Some(1001), Reaction::ResumeOnce),
        (Some(1002), Reaction::Resume),
        (Some(1006), Reaction::Resume),
        (Some(1009), Reaction::Resume),
        (Some(1011), Reaction::Resume),
        (Some(1015), Reaction::Resume),
        (Some(4000), Reaction::Resume),
        (Some(4001), Reaction::Resume),
        (Some(4002), Reaction::Resume),
        (Some(4003), Reaction::Identify),
        (Some(4004), Reaction::Fatal),
        (Some(4005), Reaction::Resume),
        (Some(4006), Reaction::Identify),
        (Some(4007), Reaction::Identify),
        (Some(4008), slower),
        (Some(4009), Reaction::Identify),
        (Some(4010), Reaction::Fatal),
        (Some(4011), Reaction::Fatal),
        (Some(4012), Reaction::Fatal),
        (Some(4013), Reaction::Fatal),
        (Some(4014), Reaction::Fatal),
        (Some(4015), Reaction::Resume),
        (Some(4016), Reaction::Resume),
        (Some(4999), Reaction::Resume),
    ];
    for (code, expected) in page {
        assert_eq!(reaction(code), expected, "{code:?}");
    }
}

#[test]
fn the_state_machine_does_what_the_table_says() {
    for code in (1000..=1015).chain(4000..=4016).map(Some).chain([None]) {
        let mut rig = Rig::active(config(3));
        rig.closed(code);
        match reaction(code) {
            Reaction::Fatal => {
                assert!(
                    matches!(rig.said.last(), Some(Output::Fatal(_))),
                    "{code:?}"
                );
                assert_eq!(rig.protocol.poll_timeout(), None);
                continue;
            }
            Reaction::Identify => assert_eq!(rig.next_connect().0, MAIN_URL, "{code:?}"),
            Reaction::ResumeSlower { .. } => {
                let (url, wait) = rig.next_connect();
                assert_eq!(url, RESUME_URL);
                assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(10));
            }
            _ => assert_eq!(rig.next_connect().0, RESUME_URL, "{code:?}"),
        }
        rig.open();
        let resumes = rig.take_sent_op(6).is_some();
        assert_eq!(resumes, reaction(code) != Reaction::Identify, "{code:?}");
        assert_eq!(rig.protocol.stats().last_close_code, code);
    }
}

#[test]
fn fatal_codes_name_what_to_do() {
    let told = |code: u16| {
        let mut rig = Rig::active(config(3));
        rig.closed(Some(code));
        assert_eq!(rig.protocol.state(), ConnectionState::Failed);
        match rig.said.pop() {
            Some(Output::Fatal(error)) => error,
            other => panic!("{code}: {other:?}"),
        }
    };
    assert_eq!(told(4004), GatewayError::AuthenticationFailed);
    assert!(told(4004).to_string().contains("token"));
    assert!(told(4010).to_string().contains("shard 0 of 1"));
    assert!(told(4011).to_string().contains("more shards"));
    assert!(told(4012).to_string().contains("version"));
    assert!(told(4013).to_string().contains("129"));
    let disallowed = told(4014).to_string();
    assert!(disallowed.contains("GUILDS") && disallowed.contains("GUILD_VOICE_STATES"));
    assert!(disallowed.contains("developer portal"));
}

#[test]
fn after_a_normal_close_one_unanswered_resume_is_enough() {
    let mut rig = Rig::active(config(3));
    rig.closed(Some(1000));
    rig.next_connect();
    rig.open();
    rig.pass(Duration::from_millis(20));
    // The READY time-out, with heartbeats acked all along.
    while rig.protocol.state() == ConnectionState::Resuming {
        rig.wake();
        if rig.protocol.state() == ConnectionState::Resuming {
            rig.message(ACK);
        }
    }
    assert!(rig.protocol.session().is_none());
    assert_eq!(rig.next_connect().0, MAIN_URL);
}

#[test]
fn after_4008_fewer_commands_are_sent() {
    let commands_in_a_burst = |rig: &mut Rig| {
        for _ in 0..200 {
            let _ = rig
                .protocol
                .handle_command(&crate::commands::leave(), rig.now);
            rig.pass(Duration::ZERO);
        }
        rig.take_sent()
            .iter()
            .filter(|payload| payload["op"] == 4)
            .count()
    };
    let mut config = config(3);
    config.command_queue = 500;
    let mut rig = Rig::active(config);
    let before = commands_in_a_burst(&mut rig);
    rig.closed(Some(4008));
    rig.next_connect();
    rig.open();
    rig.message(&resumed(2));
    let _ = rig.take_sent();
    let after = commands_in_a_burst(&mut rig) + rig.take_sent().len();
    assert!(after < before, "{before} then {after}");
}

/// The README's table says what the code does.
#[test]
fn the_readme_has_the_same_table() {
    let readme = include_str!("../../README.md");
    let mut codes = 0;
    for line in readme.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, numbers, _, word, _] = cells[..] else {
            continue;
        };
        for part in numbers.split(", ") {
            let (first, last) = part.split_once('–').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
                continue;
            };
            for code in first..=last {
                codes += 1;
                let said = match reaction(Some(code)) {
                    Reaction::Resume => word == "resume",
                    Reaction::ResumeOnce => word.starts_with("resume once"),
                    Reaction::ResumeSlower { .. } => word.starts_with("resume slower"),
                    Reaction::Identify => word == "identify",
                    Reaction::Fatal => word == "stop",
                    _ => false,
                };
                assert!(said, "{code}: {word}");
            }
        }
    }
    assert_eq!(codes, 14 + 2 + 15, "1000 to 1015 and 4000 to 4014");
}
