//! Faults below the Gateway's payloads, and what settings do to frames.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::{EntryKind, Fault, FaultKind};
use tokio::io::AsyncWriteExt as _;

use super::support::{Client, INTENTS, Read, scene, scene_with};

#[tokio::test(start_paused = true)]
async fn pings_come_now_and_then() {
    let scene = scene_with(|b| b.settings(|s| s.ping_interval = Some(Duration::from_secs(7))));
    let mut client = scene.ready().await;
    for _ in 0..6 {
        let _ = tokio::time::timeout(Duration::from_secs(5), client.read()).await;
    }
    assert_eq!(client.pings, 4);
    let scene = scene_with(|b| b.settings(|s| s.ping_interval = None));
    let mut client = scene.ready().await;
    let _ = tokio::time::timeout(Duration::from_secs(60), client.read()).await;
    assert_eq!(client.pings, 0);
}

#[tokio::test(start_paused = true)]
async fn big_messages_can_come_in_frames() {
    let scene = scene_with(|b| b.settings(|s| s.fragment_over = Some(100)));
    // A client that reads it is one that puts frames together: GUILD_CREATE is over 100 bytes.
    let mut client = scene.ready().await;
    assert!(client.raw.len() > 1000);
    client.heartbeat().await;
    client.expect_op(11).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_in_mid_frame_takes_half_a_message_along() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.fault(&scene.bot, &Fault::CutMidFrame);
    client.silent().await;
    assert_eq!(
        scene.sim.live_sessions(&scene.bot),
        1,
        "nothing was sent yet"
    );
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    assert_eq!(client.read().await, Read::Dropped);
    assert_eq!(
        scene.sim.with(|w| w.session_count(scene.bot.user_id)),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn silence_answers_nothing_and_keeps_tcp_open() {
    let scene = scene();
    let mut client = scene.ready().await;
    let (session, seq) = (client.session.clone(), client.seq);
    scene.sim.fault(&scene.bot, &Fault::Silence);
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.heartbeat().await;
    let read = tokio::time::timeout(Duration::from_secs(600), client.read()).await;
    assert!(read.is_err(), "{read:?}");
    let close = async_tungstenite::tungstenite::Message::Close(None);
    client.ws.send(close).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(600), client.read()).await;
    assert!(
        read.is_err(),
        "not even a close frame is answered: {read:?}"
    );
    drop(client);
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("VOICE_STATE_UPDATE").await;
    client.expect("RESUMED").await;
}

#[tokio::test(start_paused = true)]
async fn a_session_can_be_taken_over_from_a_silent_connection() {
    let scene = scene();
    let mut old = scene.ready().await;
    let (session, seq) = (old.session.clone(), old.seq);
    scene.sim.fault(&scene.bot, &Fault::Silence);
    let mut client = scene.connect().await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("RESUMED").await;
    assert_eq!(old.read().await, Read::Dropped, "and no close frame");
}

#[tokio::test(start_paused = true)]
async fn slow_frames_dribble() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene.sim.fault(
        &scene.bot,
        &Fault::SlowFrames {
            bytes_per_second: 200,
        },
    );
    let begin = scene.sim.now();
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    let least = Duration::from_secs(u64::try_from(client.raw.len() / 200).unwrap());
    let took = scene.sim.now() - begin;
    assert!(least > Duration::from_secs(2) && took >= least, "{took:?}");
    // A new connection of this bot is as slow, from Identify or Resume on.
    let (session, seq) = (client.session.clone(), client.seq);
    scene.sim.cut(&scene.bot);
    let mut client = scene.connect().await;
    client.hello().await;
    let begin = scene.sim.now();
    client.resume(&scene.bot.token, &session, seq - 1).await;
    client.expect("VOICE_STATE_UPDATE").await;
    assert!(scene.sim.now() - begin >= Duration::from_secs(2));
    scene.sim.fault(
        &scene.bot,
        &Fault::SlowFrames {
            bytes_per_second: 0,
        },
    );
    client.expect("RESUMED").await;
    let begin = scene.sim.now();
    client.heartbeat().await;
    client.expect_op(11).await;
    assert_eq!(scene.sim.now(), begin);
    // Also when a byte takes longer than a tick.
    scene.sim.fault(
        &scene.bot,
        &Fault::SlowFrames {
            bytes_per_second: 5,
        },
    );
    client.heartbeat().await;
    client.expect_op(11).await;
    let least = Duration::from_millis(u64::try_from(client.raw.len() * 200 - 200).unwrap());
    assert!(scene.sim.now() - begin >= least, "{least:?}");
}

#[tokio::test(start_paused = true)]
async fn hello_can_be_withheld_and_op_7_can_come_in_its_place() {
    let scene = scene();
    scene
        .sim
        .fault(&scene.bot, &Fault::WithholdHello { times: 1 });
    let mut client = scene.connect().await;
    client.silent().await;
    scene.connect().await.hello().await;
    scene
        .sim
        .fault(&scene.bot, &Fault::ReconnectInsteadOfHello { times: 1 });
    let mut client = scene.connect().await;
    client.expect_op(7).await;
    assert_eq!(client.closed().await, 4000);
    scene.connect().await.hello().await;
}

#[tokio::test(start_paused = true)]
async fn doubled_events_have_the_same_number() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene
        .sim
        .fault(&scene.bot, &Fault::DuplicateEvents { on: true });
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    client.expect("VOICE_STATE_UPDATE").await;
    let first = client.raw.clone();
    client.expect("VOICE_STATE_UPDATE").await;
    assert_eq!(client.raw, first);
}

#[tokio::test(start_paused = true)]
async fn all_guilds_go_and_come_back() {
    let scene = scene();
    let mut client = scene.ready().await;
    scene
        .sim
        .fault(&scene.bot, &Fault::UnavailableGuilds { on: true });
    let gone = client.expect("GUILD_DELETE").await;
    assert_eq!(gone, json!({"id": scene.guild, "unavailable": true}));
    scene
        .sim
        .fault(&scene.bot, &Fault::UnavailableGuilds { on: false });
    client.expect("GUILD_CREATE").await;
}

#[tokio::test(start_paused = true)]
async fn a_guild_can_be_late_for_one_session() {
    for stub in [false, true] {
        let scene = scene_with(|b| {
            b.settings(|s| {
                s.unavailable_at_start = Some(Duration::from_secs(20));
                s.unavailable_stub = stub;
            })
        });
        let mut client = scene.connect().await;
        client.hello().await;
        client.identify(&scene.bot.token, INTENTS).await;
        client.expect("READY").await;
        let name = if stub { "GUILD_CREATE" } else { "GUILD_DELETE" };
        let told = client.expect(name).await;
        assert_eq!(told, json!({"id": scene.guild, "unavailable": true}));
        // Nothing of it before its GUILD_CREATE, which has all.
        scene.sim.join(scene.alice, scene.lobby).unwrap();
        client.silent().await;
        let whole = client.expect("GUILD_CREATE").await;
        assert_eq!(whole["voice_states"][0]["user_id"], json!(scene.alice));
        assert!(scene.sim.now() >= Duration::from_secs(20));
        scene.sim.leave(scene.alice).unwrap();
        client.expect("VOICE_STATE_UPDATE").await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_resume_url_is_an_entrance_of_its_own_and_can_die() {
    let scene = scene_with(|b| b.settings(|s| s.resume_url = Some("ws://resume.invalid".into())));
    let mut client = scene.ready().await;
    let (session, seq) = (client.session.clone(), client.seq);
    client.close(4000).await;
    let at_resume_url = || {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let sim = scene.sim.clone();
        tokio::spawn(async move { sim.serve_resume_connection(theirs).await });
        ours
    };
    scene
        .sim
        .fault(&scene.bot, &Fault::DeadResumeUrl { on: true });
    let mut dead = at_resume_url();
    tokio::task::yield_now().await;
    assert!(dead.write_all(b"GET / HTTP/1.1\r\n\r\n").await.is_err());
    scene.connect().await.hello().await;
    scene
        .sim
        .fault(&scene.bot, &Fault::DeadResumeUrl { on: false });
    let mut client = Client::over(at_resume_url(), "v=10").await;
    client.hello().await;
    client.resume(&scene.bot.token, &session, seq).await;
    client.expect("RESUMED").await;
    let journal = scene.sim.journal();
    let entrances: Vec<bool> = journal
        .entries()
        .iter()
        .filter_map(|entry| match entry.what {
            EntryKind::GatewayOpened { at_resume_url, .. } => Some(at_resume_url),
            _ => None,
        })
        .collect();
    assert_eq!(entrances, [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn an_identify_at_the_resume_url_is_a_complaint() {
    let scene = scene();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let sim = scene.sim.clone();
    tokio::spawn(async move { sim.serve_resume_connection(theirs).await });
    let mut client = Client::over(ours, "v=10").await;
    client.hello().await;
    client.identify(&scene.bot.token, INTENTS).await;
    client.expect("READY").await;
    let complaints = scene.sim.complaints();
    assert!(
        complaints[0]
            .to_string()
            .contains("identified at the resume URL")
    );
}

#[test]
fn faults_have_a_kind_and_a_json_form() {
    let rows = [
        (r#""cut_mid_frame""#, FaultKind::CutMidFrame),
        (r#"{"close":{"code":4009}}"#, FaultKind::Close),
        (
            r#"{"slow_frames":{"bytes_per_second":9}}"#,
            FaultKind::SlowFrames,
        ),
    ];
    for (text, kind) in rows {
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.kind(), kind);
        assert_eq!(serde_json::to_string(&fault).unwrap(), text);
    }
    let mut all = FaultKind::ALL.to_vec();
    all.dedup();
    assert_eq!(all.len(), FaultKind::ALL.len());
}
