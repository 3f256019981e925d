//! Random schedules of joins, leaves, moves, cuts and faults: in the end all agree with the simulator.

use std::{collections::BTreeMap, time::Duration};

use spellcoven_discord_sim::{
    CallFault, ChannelId, EntryKind, MediaFaults, Sim, UserId, VoiceFault,
};
use spellcoven_discord_voice::{Backlog, ConnectionState, ReceiveMode};

use crate::{
    cuts_support::{Ear, Tap, assert_sound, endless, run, sleep_ms, tapped},
    support::{Member, Room, channel_id},
};

const MEMBERS: usize = 4;
const STEPS: u32 = 25;
/// Schedules of a usual run; `SEEDS=n` for more.
const SEEDS: u64 = 4;

fn seeds() -> u64 {
    let wanted = std::env::var("SEEDS").ok();
    wanted.map_or(SEEDS, |seeds| seeds.parse().unwrap())
}

struct World {
    room: Room,
    channels: [ChannelId; 2],
    members: Vec<(Member, Ear)>,
    rng: fastrand::Rng,
    /// Where each was sent last, `None` for out.
    wanted: Vec<Option<ChannelId>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut room = Room::with(seed, |builder| builder.journal_limit(20_000));
        let channels = [
            room.channel,
            room.sim.add_voice_channel(room.guild, "Other"),
        ];
        let members = (0..MEMBERS)
            .map(|number| {
                let tap = Tap::new(&room.sim);
                let member = room.member(&format!("member {number}"), |builder| {
                    let builder = tapped(&tap)(builder);
                    // One with jitter buffers between.
                    match number {
                        0 => builder.receive(ReceiveMode::Opus),
                        _ => builder,
                    }
                });
                let ear = Ear::of(&room, &member);
                (member, ear)
            })
            .collect();
        Self {
            room,
            channels,
            members,
            rng: fastrand::Rng::with_seed(seed),
            wanted: vec![None; MEMBERS],
        }
    }

    fn sim(&self) -> &Sim {
        &self.room.sim
    }

    /// One thing that happens; what it was.
    fn step(&mut self) -> String {
        let who = self.rng.usize(..MEMBERS);
        let channel = self.channels[usize::from(self.rng.u8(..4) == 0)];
        let user = self.members[who].0.bot.user_id;
        let sim = self.room.sim.clone();
        let inside = self.wanted[who].is_some();
        let what = match self.rng.u8(..20) {
            0..=5 => {
                self.wanted[who] = Some(channel);
                self.send(who);
                format!("joins {channel}")
            }
            6 => {
                self.wanted[who] = None;
                self.send(who);
                "leaves".to_owned()
            }
            7 if sim.voice_states(self.room.guild).contains_key(&user) => {
                self.wanted[who] = Some(channel);
                sim.join(user, channel).unwrap();
                format!("is moved to {channel}")
            }
            8 if inside => {
                self.wanted[who] = None;
                let _ = sim.leave(user);
                "is put out".to_owned()
            }
            9 | 10 => {
                sim.voice_fault(user, VoiceFault::Cut);
                "is cut".to_owned()
            }
            11 => {
                let fault = VoiceFault::CutAt {
                    message: self.rng.u32(1..12),
                    from_client: self.rng.bool(),
                    lost: self.rng.bool(),
                };
                sim.voice_fault(user, fault);
                format!("{fault:?}")
            }
            12 => {
                let code = self.rng.choice([4009, 4013, 4015, 1001]).unwrap();
                sim.voice_fault(user, VoiceFault::Close { code });
                format!("is closed with {code}")
            }
            13 => {
                sim.voice_fault(user, VoiceFault::RefuseResume { times: 1 });
                sim.voice_fault(user, VoiceFault::Cut);
                "is cut, and may not resume".to_owned()
            }
            14 => {
                let (welcome, commit) = (self.rng.bool(), self.rng.bool());
                sim.corrupt_dave(Some(user), welcome, commit);
                format!("corrupt welcome {welcome}, commit {commit}")
            }
            15 => {
                sim.mute_voice_acks_for(user, Duration::from_secs(12));
                "acks are muted".to_owned()
            }
            16 => {
                let mut faults = MediaFaults::loss(0.1);
                faults.reorder = 0.1;
                faults.duplicate = 0.05;
                faults.corrupt = 0.02;
                faults.padding = 0.1;
                faults.all_padding = 0.05;
                sim.set_media_faults_of(user, self.rng.bool().then_some(faults));
                "media faults".to_owned()
            }
            17 => {
                let fault = self
                    .rng
                    .choice([
                        CallFault::DropExecute,
                        CallFault::SlowExecute { ms: 1_500 },
                        CallFault::ProposeInWrongEpoch,
                        CallFault::ExecuteUnknown,
                        CallFault::ExternalSenderAgain,
                        CallFault::ProposeTwice { user_id: user },
                    ])
                    .unwrap();
                sim.call_fault(channel, fault);
                format!("{fault:?} in {channel}")
            }
            18 => {
                let spare = sim.add_voice_server();
                sim.move_call(channel, spare).unwrap();
                format!("{channel} goes to server {spare}")
            }
            _ => {
                sim.cut(user);
                "main gateway is cut".to_owned()
            }
        };
        format!("{:>8} ms: member {who} {what}", sim.now().as_millis())
    }

    /// Sends a client where it should be, without waiting for it.
    fn send(&self, who: usize) {
        let client = self.members[who].0.client.clone();
        let to = self.wanted[who];
        tokio::spawn(async move {
            match to {
                // A later order may take its place.
                Some(channel) => _ = client.connect(channel_id(channel)).await,
                None => client.disconnect().await,
            }
        });
    }

    /// All faults taken back, everyone where they should be, and a while without trouble.
    async fn settle(&mut self) {
        let sim = self.room.sim.clone();
        for (member, _) in &self.members {
            sim.set_media_faults_of(member.bot.user_id, None);
            // A cut that has not struck yet strikes now, at the latest with a heartbeat.
            sim.mute_voice_acks_for(member.bot.user_id, Duration::ZERO);
        }
        sleep_ms(60_000).await;
        for who in 0..MEMBERS {
            if self.members[who].0.client.channel() != self.wanted[who].map(channel_id) {
                self.send(who);
            }
        }
        sleep_ms(30_000).await;
    }

    /// The SSRC that the simulator gave each user last.
    fn ssrcs(&self) -> BTreeMap<UserId, u32> {
        let journal = self.sim().journal();
        let entries = journal.entries().iter();
        entries
            .filter_map(|entry| match entry.what {
                EntryKind::VoiceIdentified { user, ssrc, .. } => Some((user, ssrc)),
                _ => None,
            })
            .collect()
    }

    /// Whether all agree with the simulator, with what does not.
    async fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let from = self.sim().now();
        sleep_ms(2_000).await;
        let now = self.sim().now();
        let ssrcs = self.ssrcs();
        for channel in self.channels {
            let inside: Vec<usize> = (0..MEMBERS)
                .filter(|who| self.wanted[*who] == Some(channel))
                .collect();
            let call = self.sim().call(channel);
            let mut users: Vec<UserId> = inside
                .iter()
                .map(|who| self.members[*who].0.bot.user_id)
                .collect();
            let mut members = call
                .as_ref()
                .map_or_else(Vec::new, |call| call.members.clone());
            users.sort_unstable();
            members.sort_unstable();
            if members != users {
                wrong.push(format!(
                    "{channel} has {members:?}, and should have {users:?}"
                ));
            }
            let mut codes = Vec::new();
            for who in &inside {
                let (member, ear) = &self.members[*who];
                let client = &member.client;
                if client.state() != ConnectionState::Connected {
                    wrong.push(format!("member {who} is {:?}", client.state()));
                }
                codes.push(client.privacy_code());
                let known: BTreeMap<UserId, Option<u32>> = client
                    .participants()
                    .iter()
                    .map(|person| (UserId(person.user_id.get()), person.ssrc))
                    .collect();
                let expected: BTreeMap<UserId, Option<u32>> = users
                    .iter()
                    .filter(|user| **user != member.bot.user_id)
                    .map(|user| (*user, ssrcs.get(user).copied()))
                    .collect();
                if known != expected {
                    wrong.push(format!("member {who} knows {known:?}, not {expected:?}"));
                }
                let others = expected.len();
                self.check_backlog(*who, client.stats().backlog, others, &mut wrong);
                for other in inside.iter().filter(|other| *other != who) {
                    let heard = ear.judge(&self.members[*other].0, from, now);
                    if heard.lost > 0 || heard.heard < 95 || heard.twice > 0 {
                        wrong.push(format!("member {who} hears of {other}: {heard:?}"));
                    }
                }
            }
            if codes
                .iter()
                .any(|code| *code != codes[0] || (codes.len() > 1 && code.is_none()))
            {
                wrong.push(format!("the privacy codes in {channel} are {codes:?}"));
            }
        }
        wrong
    }

    fn check_backlog(&self, who: usize, backlog: Backlog, others: usize, wrong: &mut Vec<String>) {
        let waits = [
            backlog.gateway_messages,
            backlog.key_messages,
            backlog.sealed_frames,
        ];
        let kept = [backlog.people, backlog.streams];
        if waits != [0; 3]
            // A source without pauses stays late by what was once held, which is half a second at most.
            || backlog.held_frames > 26
            || kept.iter().any(|count| *count > others)
            || backlog.keys > others
        {
            wrong.push(format!(
                "member {who} with {others} others keeps {backlog:?}"
            ));
        }
    }
}

#[test]
fn after_any_schedule_all_agree_with_the_simulator() {
    for seed in 300..300 + seeds() {
        run(async {
            let mut world = World::new(seed);
            for who in 0..MEMBERS {
                world.members[who].0.client.play(endless());
                world.wanted[who] = Some(world.channels[0]);
                world.send(who);
            }
            sleep_ms(12_000).await;
            let mut story = Vec::new();
            for _ in 0..STEPS {
                story.push(world.step());
                let pause = match world.rng.u8(..4) {
                    0 => 0,
                    1 => world.rng.u64(..100),
                    2 => world.rng.u64(..1_000),
                    _ => world.rng.u64(..8_000),
                };
                sleep_ms(pause).await;
            }
            world.settle().await;
            let wrong = world.check().await;
            let story = story.join("\n");
            assert!(
                wrong.is_empty(),
                "seed {seed}:\n{story}\n\n{}\n\n{}",
                wrong.join("\n"),
                world
                    .sim()
                    .complaints()
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            assert_sound(world.sim(), &story);
        });
    }
}
