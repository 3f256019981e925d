//! A day in virtual time.

use std::time::Duration;

use spellcoven_discord_sim::EntryKind;

use super::cloud::Cloud;

/// Somebody does something about every three minutes; every hour or so the connection breaks in one of the ways in
/// which Discord's do.
#[tokio::test(start_paused = true)]
async fn a_session_lasts_a_day() {
    const SEED: u64 = 24;
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let mut cloud = Cloud::with(SEED, |sim| {
        sim.journal_limit(100_000)
            .settings(|settings| settings.journal_heartbeats = true)
    });
    cloud.start_hub();
    cloud.start_worker();
    let observers = [cloud.observer("all day")];
    cloud.settle(&observers).await.expect("the system starts");
    let began = tokio::time::Instant::now();
    let mut next_break = Duration::from_secs(1800);
    let mut breaks = 0;
    while began.elapsed() < DAY {
        tokio::time::sleep(Duration::from_secs(cloud.rng.u64(1..360))).await;
        let person = cloud.people[cloud.rng.usize(0..cloud.people.len())];
        if cloud.sim.leave(person).is_err() {
            cloud.sim.join(person, cloud.lobby).unwrap();
        }
        if began.elapsed() > next_break {
            next_break += Duration::from_secs(cloud.rng.u64(1800..5400));
            breaks += 1;
            match cloud.rng.u32(0..4) {
                0 => cloud.sim.cut(&cloud.bot),
                1 => cloud.sim.reconnect(&cloud.bot),
                2 => cloud.sim.invalidate(&cloud.bot, cloud.rng.bool()),
                // A zombie: the connection stands, and nothing answers.
                _ => {
                    cloud.sim.mute_acks(&cloud.bot, true);
                    tokio::time::sleep(Duration::from_secs(100)).await;
                    cloud.sim.mute_acks(&cloud.bot, false);
                }
            }
        }
    }
    let settled = cloud.settle(&observers).await;
    let seen = observers[0].seen();
    assert!(
        settled.is_some() && seen.faults.is_empty(),
        "{:#?}\n{}",
        seen.faults,
        cloud.story()
    );
    let status = cloud.shard().status();
    println!("{breaks} breaks, {status:?}, {} events", seen.events.len());
    // One heartbeat each 41.25 s, but for the time between connections.
    let journal = cloud.sim.journal();
    let heartbeats = journal
        .entries()
        .iter()
        .filter(|entry| matches!(entry.what, EntryKind::Heartbeat { .. }))
        .count();
    assert!(
        (1_900..2_300).contains(&heartbeats),
        "{heartbeats} heartbeats"
    );
    assert!(
        status.reconnects >= breaks,
        "{breaks} breaks, {} reconnects",
        status.reconnects
    );
    let complaints = cloud.sim.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(
        seen.connections, 1,
        "the hub's client never lost its connection"
    );
}
