// discord.js, unmodified, through the list of checks in ../README.md against a running discord-sim.
//
// Prints one line for each check; exits 1 if one failed.
'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

// The packages are installed outside the source tree; NODE_MODULES names the folder that holds `node_modules`.
const from = createRequire(path.join(process.env.NODE_MODULES ?? __dirname, 'package.json'));
const { ChannelType, Client, Events, GatewayIntentBits } = from('discord.js');

const { CONTROL_URL, DISCORD_API_BASE, DISCORD_BOT_TOKEN, GUILD_ID, VOICE_CHANNEL_ID: LOBBY } = process.env;
const PATIENCE_MS = 30_000;

function assert(holds, message) {
  if (!holds) throw new Error(message);
}

// What a test asks of the simulator, and what it looks up there.
const control = {
  async get(where) {
    const answer = await fetch(`${CONTROL_URL}/${where}`);
    assert(answer.status === 200, `GET ${where}: ${answer.status}`);
    return answer.json();
  },
  async post(where, body = {}) {
    const answer = await fetch(`${CONTROL_URL}/${where}`, { method: 'POST', body: JSON.stringify(body) });
    assert(answer.status === 200, `POST ${where}: ${answer.status} ${await answer.text()}`);
  },
  voice: (person, channel) => control.post('voice', { user_id: person, channel_id: channel }),
  mark: async () => (await control.get('journal')).at(-1).number + 1,
  since: async (mark, kind) => (await control.get(`journal?since=${mark}`)).filter((entry) => entry.kind === kind),
};

// discord.js appends `/v10` itself.
const client = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildVoiceStates, GatewayIntentBits.GuildMessages],
  rest: { api: DISCORD_API_BASE.replace(/\/v10$/, '') },
});

const dispatched = []; // {s, t}
const happened = []; // 'what subject', as the typed events tell it
client.on(Events.Raw, ({ s, t }) => dispatched.push({ s, t }));
client.on(Events.VoiceStateUpdate, (_, state) => happened.push(`voice ${state.id} ${state.channelId}`));
client.on(Events.ChannelCreate, (channel) => happened.push(`created ${channel.id}`));
client.on(Events.ChannelUpdate, (_, channel) => happened.push(`changed ${channel.id}`));
client.on(Events.ChannelDelete, (channel) => happened.push(`deleted ${channel.id}`));
client.on(Events.MessageCreate, (message) => happened.push(`message ${message.id}`));
client.on(Events.MessageUpdate, (_, message) => happened.push(`edited ${message.id}`));
client.on(Events.Error, (error) => console.error(error));
client.on(Events.ShardError, (error) => console.error(`shard: ${error}`));

async function until(what, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await holds();
    if (found) return found;
    assert(Date.now() < deadline, `${what} did not come; last were ${happened.slice(-5).join(', ')}`);
    await sleep(20);
  }
}
const sees = (what, start = 0) => until(what, () => happened.includes(what, start));
const dispatch = (t, start) => until(t, () => dispatched.slice(start).some((event) => event.t === t));
const statuses = async (mark) => (await control.since(mark, 'rest_request')).map((call) => call.status).join();

let guild;
let people;

// Whatever `act` does, a RESUME follows, no IDENTIFY, and what happened meanwhile is replayed.
async function resumes(act) {
  const mark = await control.mark();
  const [seen, events, person] = [happened.length, dispatched.length, people[1]];
  await act();
  await control.voice(person, LOBBY);
  await dispatch('RESUMED', events);
  await sees(`voice ${person} ${LOBBY}`, seen);
  assert((await control.since(mark, 'identified')).length === 0, 'an IDENTIFY was spent');
  assert((await control.since(mark, 'resumed')).length > 0, 'the journal knows no RESUME');
  await control.voice(person, null);
  await sees(`voice ${person} null`, seen);
}

const list = {
  async login() {
    people = (await control.get('info')).people.map((person) => person.user_id);
    await client.login(DISCORD_BOT_TOKEN);
    await until('ready', () => client.isReady());
    guild = client.guilds.cache.get(GUILD_ID);
    assert(guild?.channels.cache.has(LOBBY), 'the guild or its lobby is not there');
    assert((await client.application.fetch()).id === client.application.id, 'the application is another');
  },
  async voice_states() {
    const room = await guild.channels.create({ name: 'Next door', type: ChannelType.GuildVoice });
    for (const channel of [LOBBY, room.id, null]) {
      await control.voice(people[0], channel);
      await sees(`voice ${people[0]} ${channel}`);
    }
    await room.delete();
  },
  async channels() {
    const room = await guild.channels.create({
      name: 'Room',
      type: ChannelType.GuildVoice,
      userLimit: 5,
      permissionOverwrites: [{ id: guild.id, allow: ['Connect'] }],
      reason: 'für alle',
    });
    await sees(`created ${room.id}`);
    assert(room.userLimit === 5, `a limit of ${room.userLimit}`);
    await room.edit({ name: 'Room two' });
    await sees(`changed ${room.id}`);
    assert(guild.channels.cache.get(room.id).name === 'Room two', 'the name is the old one');
    await room.delete();
    await sees(`deleted ${room.id}`);
  },
  async messages() {
    const text = await guild.channels.create({ name: 'talk', type: ChannelType.GuildText });
    const message = await text.send('hello');
    await sees(`message ${message.id}`);
    await message.edit('hello again');
    await sees(`edited ${message.id}`);
  },
  async rapid_calls() {
    await control.post('ratelimit', { route: 'GET /channels/{channel.id}', limit: 20, window: 2 });
    const mark = await control.mark();
    await Promise.all(Array.from({ length: 60 }, () => client.channels.fetch(LOBBY, { force: true })));
    await control.post('ratelimit', { clear: true });
    const calls = await control.since(mark, 'rest_request');
    const refused = calls.filter((call) => call.status === 429).length;
    assert(calls.length === 60 && refused === 0, `${calls.length} calls, ${refused} were answered 429`);
  },
  resume_after_op_7: () => resumes(() => control.post('reconnect')),
  resume_after_a_cut: () => resumes(() => control.post('drop')),
  op_9_resumable: () => resumes(() => control.post('invalid_session', { resumable: true })),
  async op_9_final() {
    const [mark, events] = [await control.mark(), dispatched.length];
    await control.post('invalid_session', { resumable: false });
    await dispatch('GUILD_CREATE', events);
    assert((await control.since(mark, 'identified')).length === 1, 'not one IDENTIFY');
    await until('the guild', () => client.guilds.cache.get(GUILD_ID)?.channels.cache.has(LOBBY));
  },
  async muted_acks() {
    await resumes(async () => {
      const mark = await control.mark();
      await control.post('mute_acks', { ms: 20_000 });
      await until('a resume', async () => (await control.since(mark, 'resumed')).length > 0);
      await control.post('mute_acks', { on: false });
    });
  },
  async server_error() {
    await control.post('fail5xx', { count: 1, status: 502, match: 'GET /channels/' });
    const mark = await control.mark();
    await client.channels.fetch(LOBBY, { force: true });
    assert((await statuses(mark)) === '502,200', await statuses(mark));
  },
  async rate_limited() {
    await control.post('ratelimit', { count: 1 });
    const mark = await control.mark();
    await client.channels.fetch(LOBBY, { force: true });
    assert((await statuses(mark)) === '429,200', await statuses(mark));
  },
  // Each event that the journal says was dispatched arrived, once. RESUMED is no event of the session's.
  async nothing_lost_or_doubled() {
    const sorted = (events) =>
      events.filter(({ t }) => t !== 'RESUMED').map(({ s, t }) => `${s} ${t}`).sort().join('\n');
    await until('every event', async () => {
      const sent = (await control.since(0, 'dispatched')).map(({ seq, t }) => ({ s: seq, t }));
      return sorted(sent) === sorted(dispatched);
    });
  },
  async no_complaint() {
    const complaints = (await control.since(0, 'complaint')).map((entry) => entry.what);
    assert(complaints.length === 0, `the simulator complains: ${complaints.join('; ')}`);
  },
};

async function main() {
  let failed = 0;
  for (const [name, check] of Object.entries(list)) {
    try {
      await check();
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}: ${error}`);
      if (name === 'login') break;
    }
  }
  await client.destroy();
  process.exit(failed === 0 ? 0 : 1);
}

main();
