//! Every fault of the simulated Gateway, with every compression: worker and hub lose nothing and double nothing.
//!
//! [`orders`] matches on all kinds of fault, so that a new one without a row does not compile.

use std::time::Duration;

use spellcoven_discord_gateway::Compression;
use spellcoven_discord_sim::{Fault, FaultKind};

use super::{
    cloud::Cloud,
    exactly_once::{Breaking, Run},
};

/// What a fault costs at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// A connection: every single join and leave is told all the same, once and in order.
    Connection,
    /// The session, or the guild for a while: the net effect is told.
    Session,
    /// The worker stops for good, as it must, and is started again.
    Worker,
}

/// Faults to order, in order; what takes the last of them back after a while; what they cost.
struct Order {
    strike: Vec<Fault>,
    lift: Option<Fault>,
    cost: Cost,
}

impl Order {
    fn new(cost: Cost, strike: impl Into<Vec<Fault>>) -> Self {
        Self {
            strike: strike.into(),
            lift: None,
            cost,
        }
    }

    fn lifted_by(mut self, lift: Fault) -> Self {
        self.lift = Some(lift);
        self
    }
}

fn close(code: u16) -> Order {
    let cost = match code {
        4003 | 4006 | 4007 | 4009 => Cost::Session,
        4004 | 4010..=4014 => Cost::Worker,
        _ => Cost::Connection,
    };
    Order::new(cost, [Fault::Close { code }])
}

/// The rows of a kind.
fn orders(kind: FaultKind) -> Vec<Order> {
    let connection = |fault| vec![Order::new(Cost::Connection, [fault])];
    let switch = |cost, fault: fn(bool) -> Fault| {
        vec![Order::new(cost, [fault(true)]).lifted_by(fault(false))]
    };
    match kind {
        FaultKind::Cut => connection(Fault::Cut),
        FaultKind::CutMidFrame => connection(Fault::CutMidFrame),
        FaultKind::Reconnect => connection(Fault::Reconnect),
        FaultKind::ReconnectInsteadOfHello => vec![Order::new(
            Cost::Connection,
            [Fault::ReconnectInsteadOfHello { times: 2 }, Fault::Cut],
        )],
        FaultKind::WithholdHello => vec![Order::new(
            Cost::Connection,
            [Fault::WithholdHello { times: 1 }, Fault::Cut],
        )],
        FaultKind::InvalidSession => [(true, Cost::Connection), (false, Cost::Session)]
            .map(|(resumable, cost)| Order::new(cost, [Fault::InvalidSession { resumable }]))
            .into(),
        FaultKind::Close => [1000, 1001, 1011]
            .into_iter()
            .chain(4000..=4014)
            .map(close)
            .collect(),
        FaultKind::RequestHeartbeat => connection(Fault::RequestHeartbeat),
        FaultKind::MuteAcks => switch(Cost::Connection, |on| Fault::MuteAcks { on }),
        FaultKind::Silence => connection(Fault::Silence),
        FaultKind::RefuseResume => vec![Order::new(
            Cost::Session,
            [Fault::RefuseResume { times: 1 }, Fault::Cut],
        )],
        FaultKind::DeadResumeUrl => vec![
            Order::new(
                Cost::Connection,
                [Fault::DeadResumeUrl { on: true }, Fault::Cut],
            )
            .lifted_by(Fault::DeadResumeUrl { on: false }),
        ],
        FaultKind::HoldEvents => switch(Cost::Connection, |on| Fault::HoldEvents { on }),
        FaultKind::DuplicateEvents => switch(Cost::Connection, |on| Fault::DuplicateEvents { on }),
        FaultKind::SlowFrames => switch(Cost::Connection, |on| Fault::SlowFrames {
            bytes_per_second: if on { 2000 } else { 0 },
        }),
        FaultKind::SplitFrames => switch(Cost::Connection, |on| Fault::SplitFrames { on }),
        FaultKind::MalformedJson => connection(Fault::MalformedJson),
        FaultKind::MalformedCompression => connection(Fault::MalformedCompression),
        FaultKind::UnavailableGuilds => switch(Cost::Session, |on| Fault::UnavailableGuilds { on }),
    }
}

/// Whether a fault of this kind costs the worker its connection at least.
///
/// Exhaustive on purpose: a new kind does not compile without an answer.
const fn ends_the_connection(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Cut
        | FaultKind::CutMidFrame
        | FaultKind::Reconnect
        | FaultKind::ReconnectInsteadOfHello
        | FaultKind::WithholdHello
        | FaultKind::InvalidSession
        | FaultKind::Close
        | FaultKind::MuteAcks
        | FaultKind::Silence
        | FaultKind::RefuseResume
        | FaultKind::DeadResumeUrl
        | FaultKind::MalformedJson
        | FaultKind::MalformedCompression => true,
        FaultKind::RequestHeartbeat
        | FaultKind::HoldEvents
        | FaultKind::DuplicateEvents
        | FaultKind::SlowFrames
        | FaultKind::SplitFrames
        | FaultKind::UnavailableGuilds => false,
    }
}

async fn check(kind: FaultKind, order: Order, seed: u64, compression: Compression) {
    let what = format!("SEED={seed} {:?} {compression:?}", order.strike);
    let mut cloud = Cloud::new(seed);
    cloud.compression = compression;
    let mut run = Run::start_in(cloud, Breaking::Nothing).await;
    for _ in 0..8 {
        run.step().await;
    }
    let returns = |run: &Run| {
        let stats = run.cloud.sim.stats();
        stats.identifies + stats.resumes
    };
    let before = returns(&run);
    for fault in &order.strike {
        run.cloud.sim.fault(&run.cloud.bot, fault);
    }
    for _ in 0..20 {
        run.step().await;
    }
    if order.cost == Cost::Worker {
        // Longer than two identifies must be apart.
        tokio::time::sleep(Duration::from_secs(6)).await;
        run.cloud.kill_worker();
        run.cloud.start_worker();
    }
    // Long enough for a heartbeat that nobody acks to be missed.
    if matches!(kind, FaultKind::MuteAcks | FaultKind::Silence) {
        tokio::time::sleep(Duration::from_secs(95)).await;
    }
    if let Some(lift) = &order.lift {
        run.cloud.sim.fault(&run.cloud.bot, lift);
    }
    for _ in 0..12 {
        run.step().await;
    }
    run.verify(&what, order.cost == Cost::Connection).await;
    // No row passes because nothing happened.
    assert_eq!(
        returns(&run) > before,
        ends_the_connection(kind),
        "{what}\n{}",
        run.cloud.story()
    );
    let complaints = run.cloud.sim.complaints();
    assert!(
        complaints.is_empty(),
        "{what}: {complaints:#?}\n{}",
        run.cloud.story()
    );
}

async fn check_all(compression: Compression) {
    for (seed, kind) in (0..).zip(FaultKind::ALL) {
        for order in orders(*kind) {
            check(*kind, order, seed, compression).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_survived_without_compression() {
    check_all(Compression::None).await;
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_survived_with_zlib() {
    check_all(Compression::Zlib).await;
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_survived_with_zstd() {
    check_all(Compression::Zstd).await;
}
