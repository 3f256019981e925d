//! A day of virtual time on the world alone, without tokio.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_sim::core::{Bot, ConnectionId, Output, World};
use spellcoven_discord_sim::{ChannelId, ChannelKind, Fault, GuildId, Request, Settings, UserId};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A client in as few lines as it takes: heartbeats, resumes, a map of who is where.
struct Client {
    bot: Bot,
    connection: Option<ConnectionId>,
    session: Option<String>,
    seq: Option<u64>,
    next_beat: Duration,
    next_try: Duration,
    last_seen: u64,
    voice: BTreeMap<String, String>,
    resumed: u32,
    ready: u32,
}

impl Client {
    fn step(&mut self, world: &mut World, now: Duration) {
        if self.connection.is_none() && now >= self.next_try {
            self.connection = Some(world.gateway_open(now, "v=10&encoding=json"));
        }
        let Some(id) = self.connection else { return };
        if now >= self.next_beat {
            self.next_beat = now + Duration::from_millis(41_250);
            send(world, now, id, 1, &json!(self.seq));
        }
        while let Some(output) = world.poll_output(id) {
            if output == Output::Ping {
                continue;
            }
            let Output::Text(text) = output else {
                self.connection = None;
                self.next_try = now + Duration::from_secs(1);
                return;
            };
            let payload: Value = serde_json::from_str(&text).unwrap();
            self.take(world, now, id, &payload);
        }
    }

    fn take(&mut self, world: &mut World, now: Duration, id: ConnectionId, payload: &Value) {
        if let Some(seq) = payload["s"].as_u64() {
            assert_eq!(
                Some(seq),
                Some(self.last_seen + 1),
                "each number once and in order"
            );
            self.last_seen = seq;
            self.seq = Some(seq);
        }
        match payload["op"].as_u64() {
            Some(10) => {
                self.next_beat = now + Duration::from_millis(20_000);
                self.log_in(world, now, id);
            }
            Some(9) => {
                if payload["d"] == false {
                    (self.session, self.seq, self.last_seen) = (None, None, 0);
                }
                world.gateway_closed(now, id, Some(4000));
                self.connection = None;
                self.next_try = now + Duration::from_secs(6);
            }
            Some(7) => {
                world.gateway_closed(now, id, Some(4000));
                self.connection = None;
                self.next_try = now;
            }
            _ => self.event(payload),
        }
    }

    fn log_in(&mut self, world: &mut World, now: Duration, id: ConnectionId) {
        if let (Some(session), Some(seq)) = (&self.session, self.seq) {
            let d = json!({"token": self.bot.token, "session_id": session, "seq": seq});
            send(world, now, id, 6, &d);
        } else {
            let d = json!({"token": self.bot.token, "intents": 129, "properties": {}});
            send(world, now, id, 2, &d);
        }
    }

    fn event(&mut self, payload: &Value) {
        let d = &payload["d"];
        let place = |state: &Value| {
            let text = |key: &str| state[key].as_str().map(str::to_owned);
            (text("user_id").unwrap(), text("channel_id"))
        };
        match payload["t"].as_str() {
            Some("READY") => {
                self.ready += 1;
                self.session = d["session_id"].as_str().map(str::to_owned);
            }
            Some("RESUMED") => self.resumed += 1,
            Some("GUILD_CREATE") => {
                self.voice.clear();
                for state in d["voice_states"].as_array().unwrap() {
                    let (user, channel) = place(state);
                    self.voice.insert(user, channel.unwrap());
                }
            }
            Some("VOICE_STATE_UPDATE") => match place(d) {
                (user, Some(channel)) => drop(self.voice.insert(user, channel)),
                (user, None) => drop(self.voice.remove(&user)),
            },
            _ => {}
        }
    }
}

fn send(world: &mut World, now: Duration, id: ConnectionId, op: u64, d: &Value) {
    world.gateway_message(now, id, json!({"op": op, "d": d}).to_string().as_bytes());
}

struct Town {
    world: World,
    guild: GuildId,
    people: Vec<UserId>,
    rooms: Vec<ChannelId>,
}

fn town(seed: u64) -> (Town, Bot) {
    let mut settings = Settings::default();
    settings.start_unix_ms = Some(1_795_392_000_000);
    let mut world = World::new(settings, Some(seed));
    let guild = world.add_guild("g");
    let bot = world.add_bot("bot", guild);
    let rooms = (0..3)
        .map(|_| {
            world
                .add_channel(guild, ChannelKind::Voice, "v", None)
                .unwrap()
        })
        .collect();
    let people = (0..10)
        .map(|n| world.add_person(&format!("p{n}"), guild))
        .collect();
    (
        Town {
            world,
            guild,
            people,
            rooms,
        },
        bot,
    )
}

impl Town {
    fn act(&mut self, chance: &mut fastrand::Rng) {
        let person = self.people[chance.usize(..self.people.len())];
        if chance.u8(..) < 100 {
            // One who is in no channel cannot leave.
            let _ = self.world.leave(person);
        } else {
            self.world
                .join(person, self.rooms[chance.usize(..self.rooms.len())])
                .unwrap();
        }
    }

    fn break_something(&mut self, bot: &Bot, chance: &mut fastrand::Rng) {
        let fault = match chance.u8(..5) {
            0 => Fault::Cut,
            1 => Fault::Reconnect,
            2 => Fault::InvalidSession { resumable: true },
            3 => Fault::InvalidSession { resumable: false },
            _ => Fault::Close { code: 4000 },
        };
        self.world.fault(bot.user_id, &fault);
    }
}

#[test]
fn twenty_four_hours() {
    let seed = 24;
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut town, bot) = town(seed);
    let mut client = Client {
        bot: bot.clone(),
        connection: None,
        session: None,
        seq: None,
        next_beat: Duration::MAX,
        next_try: Duration::ZERO,
        last_seen: 0,
        voice: BTreeMap::new(),
        resumed: 0,
        ready: 0,
    };
    let (mut next_act, mut next_fault) = (Duration::ZERO, Duration::from_secs(600));
    let mut now = Duration::ZERO;
    while now < DAY {
        town.world.handle_timeout(now);
        if now >= next_act {
            town.act(&mut chance);
            next_act = now + Duration::from_secs(chance.u64(1..30));
        }
        if now >= next_fault {
            town.break_something(&bot, &mut chance);
            next_fault = now + Duration::from_secs(chance.u64(60..1800));
        }
        client.step(&mut town.world, now);
        let timers = [
            next_act,
            next_fault,
            client.next_beat,
            client.next_try,
            town.world.poll_timeout().unwrap_or(DAY),
        ];
        now = timers
            .into_iter()
            .filter(|at| *at > now)
            .min()
            .unwrap_or(DAY)
            .min(DAY);
    }
    // A last quiet while, so that a client that was just cut is back.
    for second in 0..30 {
        let now = DAY + Duration::from_secs(second);
        town.world.handle_timeout(now);
        client.step(&mut town.world, now);
    }
    let truth: BTreeMap<String, String> = town
        .world
        .voice_states(town.guild)
        .into_iter()
        .map(|(user, state)| (user.to_string(), state.channel_id.to_string()))
        .collect();
    assert_eq!(client.voice, truth);
    assert!(
        client.resumed > 20 && client.ready > 5,
        "{} {}",
        client.resumed,
        client.ready
    );
    let journal = town.world.journal_since(0);
    let complaints: Vec<String> = journal.complaints().map(ToString::to_string).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let me = Request::new("GET", "/api/v10/gateway/bot").bot(&bot.token);
    let answer = town.world.handle_rest(DAY + Duration::from_secs(60), &me);
    assert_eq!(answer.status, 200);
}
