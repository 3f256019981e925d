// @discordjs/voice, unmodified, as one speaker of a call: ../README.md, "Voice".
'use strict';

const { readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const { createInterface } = require('node:readline');
const { Readable } = require('node:stream');

// The packages are installed outside the source tree; NODE_MODULES names the folder that holds `node_modules`.
const from = createRequire(path.join(process.env.NODE_MODULES ?? __dirname, 'package.json'));
const { Client, Events, GatewayIntentBits } = from('discord.js');
const voice = from('@discordjs/voice');

const { DISCORD_API_BASE, DISCORD_BOT_TOKEN, GUILD_ID } = process.env;

const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
const trouble = (error) => tell({ event: 'trouble', why: `${error}` });
process.on('unhandledRejection', trouble);
process.on('uncaughtException', trouble);

// discord.js appends `/v10` itself.
const client = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildVoiceStates],
  rest: { api: DISCORD_API_BASE.replace(/\/v10$/, '') },
});
client.on(Events.Error, trouble);
client.on(Events.ShardError, trouble);
client.once(Events.ClientReady, () => tell({ event: 'ready', user: client.user.id }));

// The frames of a DCA file: a header whose length it tells, then each frame after its length.
function* frames(file) {
  const bytes = readFileSync(file);
  for (let at = 8 + bytes.readInt32LE(4); at < bytes.length; ) {
    const length = bytes.readInt16LE(at);
    yield bytes.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
}

const player = voice.createAudioPlayer();
player.on('error', trouble);
let connection;

// The library gives frames without their numbers, and ends the stream at each frame it cannot decrypt.
function listen(user) {
  if (connection.receiver.subscriptions.has(user)) return;
  const stream = connection.receiver.subscribe(user, { end: { behavior: voice.EndBehaviorType.Manual } });
  stream.on('data', (opus) => tell({ event: 'frame', user, data: opus.toString('hex') }));
  stream.on('error', (error) => tell({ event: 'unheard', user, why: `${error}` }));
  stream.on('close', () => connection && listen(user));
}

const commands = {
  async join(channelId) {
    const guild = client.guilds.cache.get(GUILD_ID);
    connection = voice.joinVoiceChannel({
      channelId,
      guildId: GUILD_ID,
      adapterCreator: guild.voiceAdapterCreator,
      selfDeaf: false,
    });
    connection.on('error', trouble);
    connection.on('stateChange', (before, after) => tell({ event: 'state', from: before.status, to: after.status }));
    connection.receiver.speaking.on('start', listen);
    connection.subscribe(player);
    await voice.entersState(connection, voice.VoiceConnectionStatus.Ready, 20_000);
    tell({ event: 'joined' });
  },
  async play(file) {
    player.play(voice.createAudioResource(Readable.from(frames(file)), { inputType: voice.StreamType.Opus }));
  },
  async stop() {
    player.stop();
  },
  async leave() {
    const left = connection;
    connection = undefined;
    left.destroy();
    tell({ event: 'left' });
  },
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [word, ...rest] = line.split(' ');
  commands[word](rest.join(' ')).catch(trouble);
});
lines.on('close', () => process.exit(0));
client.login(DISCORD_BOT_TOKEN).catch(trouble);
