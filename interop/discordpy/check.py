"""discord.py, unmodified, through the list of checks in ../README.md against a running discord-sim."""

import asyncio
import contextlib
import json
import pathlib
import sys

import aiohttp
import discord
import yarl

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "python"))
import simulator
from simulator import GUILD, LOBBY, PATIENCE

# The two places where discord.py keeps Discord's addresses.
discord.http.Route.BASE = simulator.API_BASE
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(simulator.GATEWAY + "/")


class Bot(discord.Client):
    """Tells every dispatch with its number, and what the typed events say."""

    def __init__(self, seen):
        self.seen = seen
        super().__init__(
            intents=discord.Intents(guilds=True, voice_states=True, guild_messages=True),
            enable_debug_events=True,
            # Silence ends a connection after this long; the default of 60 s would only make the check slower.
            heartbeat_timeout=5.0,
        )

    async def on_socket_raw_receive(self, text):
        message = json.loads(text)
        if message["op"] == 0:
            await self.seen.tell(self.seen.dispatched, message["s"], message["t"])

    async def on_voice_state_update(self, member, before, after):
        await self.seen.tell(self.seen.happened, "voice", member.id, after.channel.id if after.channel else None)

    async def on_guild_channel_create(self, channel):
        await self.seen.tell(self.seen.happened, "created", channel.id)

    async def on_guild_channel_update(self, before, after):
        await self.seen.tell(self.seen.happened, "changed", after.id)

    async def on_guild_channel_delete(self, channel):
        await self.seen.tell(self.seen.happened, "deleted", channel.id)

    async def on_message(self, message):
        await self.seen.tell(self.seen.happened, "message", message.id)

    async def on_message_edit(self, before, after):
        await self.seen.tell(self.seen.happened, "edited", after.id)


class Checks(simulator.Checks):
    def __init__(self, bot, *rest):
        super().__init__(*rest)
        self.bot, self.fetch_channel = bot, bot.fetch_channel

    async def login(self):
        await asyncio.wait_for(self.bot.wait_until_ready(), PATIENCE)
        guild = self.bot.get_guild(GUILD)
        assert guild is not None, "the guild is not there"
        assert guild.get_channel(LOBBY) is not None, "the lobby is not there"
        assert (await self.bot.application_info()).id == self.bot.application_id

    async def voice_states(self):
        person, guild = self.people[0], self.bot.get_guild(GUILD)
        room = await guild.create_voice_channel("Next door")
        await self.control.voice(person, LOBBY)
        await self.seen.sees("voice", int(person), LOBBY)
        await self.control.voice(person, room.id)
        await self.seen.sees("voice", int(person), room.id)
        await self.control.voice(person, None)
        await self.seen.sees("voice", int(person), None)
        await room.delete()

    async def channels(self):
        guild = self.bot.get_guild(GUILD)
        overwrites = {guild.default_role: discord.PermissionOverwrite(connect=True)}
        room = await guild.create_voice_channel("Room", user_limit=5, overwrites=overwrites, reason="für alle")
        await self.seen.sees("created", room.id)
        assert room.user_limit == 5
        await room.edit(name="Room two")
        await self.seen.sees("changed", room.id)
        assert guild.get_channel(room.id).name == "Room two"
        await room.delete()
        await self.seen.sees("deleted", room.id)

    async def messages(self):
        self.text = await self.bot.get_guild(GUILD).create_text_channel("talk")
        message = await self.text.send("hello")
        await self.seen.sees("message", message.id)
        await message.edit(content="hello again")
        await self.seen.sees("edited", message.id)


async def main():
    async with aiohttp.ClientSession() as session, Bot(simulator.Seen()) as bot:
        control = simulator.Control(session)
        running = asyncio.create_task(bot.start(simulator.TOKEN))
        # The loop that the bot belongs to is set at its first step.
        await asyncio.sleep(0)
        failed = await Checks(bot, control, bot.seen, await control.people()).run()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await running
    return failed


sys.exit(asyncio.run(main()))
