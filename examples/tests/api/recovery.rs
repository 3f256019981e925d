//! How long the Gateway session is away after a cut: the specification asks for less than five seconds.

use std::time::Duration;

use spellcoven_devkit::latency::Latencies;
use spellcoven_discord_gateway::ConnectionState;

use super::cloud::Cloud;

const SEEDS: u64 = 200;
const BOUND: Duration = Duration::from_secs(5);

/// From the cut to RESUMED or READY, in virtual time.
async fn recovery(seed: u64, refused: bool) -> Duration {
    let mut cloud = Cloud::new(seed);
    cloud.start_worker();
    let mut state = cloud.shard().watch();
    assert!(state.wait_for(ConnectionState::Active).await, "SEED={seed}");
    // Anywhere in a heartbeat interval, and past the identify queue's five seconds.
    tokio::time::sleep(Duration::from_millis(cloud.rng.u64(6_000..60_000))).await;
    if refused {
        cloud.sim.refuse_next_resume(&cloud.bot, 1);
    }
    let cut = tokio::time::Instant::now();
    let resumes = cloud.shard().status().resumes;
    let identifies = cloud.shard().status().identifies;
    cloud.sim.cut(&cloud.bot);
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let status = cloud.shard().status();
        if status.state == ConnectionState::Active
            && status.resumes + status.identifies > resumes + identifies
        {
            assert_eq!(status.resumes > resumes, !refused, "SEED={seed}");
            return cut.elapsed();
        }
        assert!(
            cut.elapsed() < Duration::from_secs(600),
            "SEED={seed} is away for good\n{}",
            cloud.story()
        );
    }
}

async fn check(refused: bool) {
    let mut latencies = Latencies::default();
    for seed in 0..SEEDS {
        latencies.record(recovery(seed, refused).await);
    }
    println!("first resume refused: {refused}: {latencies}");
    let p95 = latencies.percentile(95.0).expect("seeds ran");
    assert!(p95 < BOUND, "{latencies}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_resumed_within_five_seconds() {
    check(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_resume_is_an_identify_within_five_seconds() {
    check(true).await;
}
