"""hikari, unmodified, through the list of checks in ../README.md against a running discord-sim."""

import asyncio
import collections
import pathlib
import sys

import aiohttp
import hikari

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "python"))
import simulator
from simulator import GUILD, LOBBY, PATIENCE


def listen(bot, seen):
    """Tells every dispatch, and what the typed events say."""

    @bot.listen(hikari.ShardPayloadEvent)
    async def dispatched(event):
        # hikari does not show the number of an event.
        await seen.tell(seen.dispatched, None, event.name)

    @bot.listen(hikari.VoiceStateUpdateEvent)
    async def voice(event):
        await seen.tell(seen.happened, "voice", int(event.state.user_id), event.state.channel_id)

    @bot.listen(hikari.GuildChannelCreateEvent)
    async def created(event):
        await seen.tell(seen.happened, "created", event.channel_id)

    @bot.listen(hikari.GuildChannelUpdateEvent)
    async def changed(event):
        await seen.tell(seen.happened, "changed", event.channel_id)

    @bot.listen(hikari.GuildChannelDeleteEvent)
    async def deleted(event):
        await seen.tell(seen.happened, "deleted", event.channel_id)

    @bot.listen(hikari.GuildMessageCreateEvent)
    async def message(event):
        await seen.tell(seen.happened, "message", event.message_id)

    @bot.listen(hikari.GuildMessageUpdateEvent)
    async def edited(event):
        await seen.tell(seen.happened, "edited", event.message_id)


class Checks(simulator.Checks):
    def __init__(self, bot, *rest):
        super().__init__(*rest)
        self.bot, self.fetch_channel = bot, bot.rest.fetch_channel

    async def login(self):
        await self.seen.until(self.seen.dispatched, lambda event: event[1] == "GUILD_CREATE")
        await asyncio.sleep(0.1)
        assert self.bot.cache.get_guild(GUILD) is not None, "the guild is not there"
        assert self.bot.cache.get_guild_channel(LOBBY) is not None, "the lobby is not there"
        assert (await self.bot.rest.fetch_application()).id == self.bot.get_me().id

    async def voice_states(self):
        person = self.people[0]
        room = await self.bot.rest.create_guild_voice_channel(GUILD, "Next door")
        for channel in (LOBBY, room.id, None):
            await self.control.voice(person, channel)
            await self.seen.sees("voice", int(person), channel)
        await self.bot.rest.delete_channel(room)

    async def channels(self):
        everyone = hikari.PermissionOverwrite(
            id=GUILD, type=hikari.PermissionOverwriteType.ROLE, allow=hikari.Permissions.CONNECT
        )
        room = await self.bot.rest.create_guild_voice_channel(
            GUILD, "Room", user_limit=5, permission_overwrites=[everyone], reason="für alle"
        )
        await self.seen.sees("created", room.id)
        assert room.user_limit == 5
        await self.bot.rest.edit_channel(room, name="Room two")
        await self.seen.sees("changed", room.id)
        assert self.bot.cache.get_guild_channel(room.id).name == "Room two"
        await self.bot.rest.delete_channel(room)
        await self.seen.sees("deleted", room.id)

    async def messages(self):
        text = await self.bot.rest.create_guild_text_channel(GUILD, "talk")
        message = await text.send("hello")
        await self.seen.sees("message", message.id)
        await message.edit("hello again")
        await self.seen.sees("edited", message.id)

    async def nothing_lost_or_doubled(self):
        """By name alone, since hikari does not show the numbers."""
        for _ in range(50):
            sent = collections.Counter(entry["t"] for entry in await self.control.since(0, "dispatched"))
            got = collections.Counter(name for _, name in self.seen.dispatched)
            del sent["RESUMED"], got["RESUMED"]
            if sent == got:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"lost {dict(sent - got)}, doubled or unknown {dict(got - sent)}")


async def main():
    seen = simulator.Seen()
    intents = hikari.Intents.GUILDS | hikari.Intents.GUILD_VOICE_STATES | hikari.Intents.GUILD_MESSAGES
    bot = hikari.GatewayBot(simulator.TOKEN, intents=intents, rest_url=simulator.API_BASE, banner=None)
    listen(bot, seen)
    async with aiohttp.ClientSession() as session:
        control = simulator.Control(session)
        await asyncio.wait_for(bot.start(check_for_updates=False), PATIENCE)
        failed = await Checks(bot, control, seen, await control.people()).run()
        await bot.close()
    return failed


sys.exit(asyncio.run(main()))
