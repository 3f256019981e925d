"""discord.py, unmodified, through the list of checks in ../README.md against a running discord-sim.

Prints one line for each check; exits 1 if one failed.
"""

import asyncio
import collections
import contextlib
import json
import os
import sys
import traceback

import aiohttp
import discord
import yarl

API_BASE = os.environ["DISCORD_API_BASE"]
CONTROL = os.environ["CONTROL_URL"]
GUILD = int(os.environ["GUILD_ID"])
LOBBY = int(os.environ["VOICE_CHANNEL_ID"])
PATIENCE = 30.0

# The two places where discord.py keeps Discord's addresses.
discord.http.Route.BASE = API_BASE
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["DISCORD_GATEWAY_URL"] + "/")


class Control:
    """What a test asks of the simulator, and what it looks up there."""

    def __init__(self, session):
        self.session = session

    async def get(self, path):
        async with self.session.get(f"{CONTROL}/{path}") as answer:
            assert answer.status == 200, f"GET {path}: {answer.status} {await answer.text()}"
            return await answer.json()

    async def post(self, path, **body):
        async with self.session.post(f"{CONTROL}/{path}", json=body) as answer:
            assert answer.status == 200, f"POST {path}: {answer.status} {await answer.text()}"
            return await answer.json()

    async def voice(self, person, channel):
        await self.post("voice", user_id=person, channel_id=None if channel is None else str(channel))

    async def mark(self):
        journal = await self.get("journal")
        return journal[-1]["number"] + 1

    async def since(self, mark, kind):
        return [entry for entry in await self.get(f"journal?since={mark}") if entry["kind"] == kind]


class Bot(discord.Client):
    """Keeps every dispatch with its number, and lets a check wait for one."""

    def __init__(self):
        super().__init__(
            intents=discord.Intents(guilds=True, voice_states=True, guild_messages=True),
            enable_debug_events=True,
            # Silence ends a connection after this long; the default of 60 s would only make the check slower.
            heartbeat_timeout=5.0,
        )
        self.dispatched = []  # (number, name)
        self.happened = []  # (name, subject), as the typed events tell it
        self.news = asyncio.Condition()

    async def on_socket_raw_receive(self, text):
        message = json.loads(text)
        if message["op"] == 0:
            await self.tell(self.dispatched, (message["s"], message["t"]))

    async def tell(self, log, what):
        async with self.news:
            log.append(what)
            self.news.notify_all()

    async def on_voice_state_update(self, member, before, after):
        await self.tell(self.happened, ("voice", member.id, after.channel.id if after.channel else None))

    async def on_guild_channel_create(self, channel):
        await self.tell(self.happened, ("created", channel.id))

    async def on_guild_channel_update(self, before, after):
        await self.tell(self.happened, ("changed", after.id))

    async def on_guild_channel_delete(self, channel):
        await self.tell(self.happened, ("deleted", channel.id))

    async def on_message(self, message):
        await self.tell(self.happened, ("message", message.id))

    async def on_message_edit(self, before, after):
        await self.tell(self.happened, ("edited", after.id))

    async def until(self, log, wanted, start=0):
        """Waits until `wanted` holds of something that arrived after the first `start` of `log`."""
        async with self.news:
            await asyncio.wait_for(
                self.news.wait_for(lambda: any(wanted(entry) for entry in log[start:])), PATIENCE
            )

    async def sees(self, *what, start=0):
        try:
            await self.until(self.happened, lambda entry: entry == what, start)
        except asyncio.TimeoutError:
            raise AssertionError(f"{what} was not seen; last were {self.happened[-5:]}") from None


class Checks:
    def __init__(self, bot, control, people):
        self.bot, self.control, self.people = bot, control, people

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
        await self.bot.sees("voice", int(person), LOBBY)
        await self.control.voice(person, room.id)
        await self.bot.sees("voice", int(person), room.id)
        await self.control.voice(person, None)
        await self.bot.sees("voice", int(person), None)
        await room.delete()

    async def channels(self):
        guild = self.bot.get_guild(GUILD)
        overwrites = {guild.default_role: discord.PermissionOverwrite(connect=True)}
        room = await guild.create_voice_channel("Room", user_limit=5, overwrites=overwrites, reason="für alle")
        await self.bot.sees("created", room.id)
        assert room.user_limit == 5
        await room.edit(name="Room two")
        await self.bot.sees("changed", room.id)
        assert guild.get_channel(room.id).name == "Room two"
        await room.delete()
        await self.bot.sees("deleted", room.id)

    async def messages(self):
        self.text = await self.bot.get_guild(GUILD).create_text_channel("talk")
        message = await self.text.send("hello")
        await self.bot.sees("message", message.id)
        await message.edit(content="hello again")
        await self.bot.sees("edited", message.id)

    async def rapid_calls(self):
        await self.control.post("ratelimit", route="GET /channels/{channel.id}", limit=20, window=2)
        mark = await self.control.mark()
        await asyncio.gather(*(self.bot.fetch_channel(LOBBY) for _ in range(60)))
        await self.control.post("ratelimit", clear=True)
        calls = await self.control.since(mark, "rest_request")
        refused = [call for call in calls if call["status"] == 429]
        assert len(calls) == 60 and not refused, f"{len(calls)} calls, {len(refused)} were answered 429"

    async def resumes(self, act):
        """Whatever `act` does, a RESUME follows, no IDENTIFY, and what happened meanwhile is replayed."""
        mark, seen, person = await self.control.mark(), len(self.bot.happened), self.people[1]
        dispatched = len(self.bot.dispatched)
        await act()
        await self.control.voice(person, LOBBY)
        await self.bot.until(self.bot.dispatched, lambda event: event[1] == "RESUMED", dispatched)
        await self.bot.sees("voice", int(person), LOBBY, start=seen)
        assert not await self.control.since(mark, "identified"), "an IDENTIFY was spent"
        assert await self.control.since(mark, "resumed"), "the journal knows no RESUME"
        await self.control.voice(person, None)
        await self.bot.sees("voice", int(person), None, start=seen)

    async def resume_after_op_7(self):
        await self.resumes(lambda: self.control.post("reconnect"))

    async def resume_after_a_cut(self):
        await self.resumes(lambda: self.control.post("drop"))

    async def op_9_resumable(self):
        await self.resumes(lambda: self.control.post("invalid_session", resumable=True))

    async def op_9_final(self):
        mark, dispatched = await self.control.mark(), len(self.bot.dispatched)
        await self.control.post("invalid_session", resumable=False)
        await self.bot.until(self.bot.dispatched, lambda event: event[1] == "GUILD_CREATE", dispatched)
        assert len(await self.control.since(mark, "identified")) == 1, "not one IDENTIFY"
        assert self.bot.get_guild(GUILD).get_channel(LOBBY) is not None

    async def muted_acks(self):
        await self.resumes(self.mute_until_resumed)

    async def mute_until_resumed(self):
        mark = await self.control.mark()
        await self.control.post("mute_acks", ms=9000)
        async with asyncio.timeout(PATIENCE):
            while not await self.control.since(mark, "resumed"):
                await asyncio.sleep(0.2)

    async def server_error(self):
        await self.control.post("fail5xx", count=1, status=502, match="GET /channels/")
        mark = await self.control.mark()
        assert (await self.bot.fetch_channel(LOBBY)).id == LOBBY
        statuses = [call["status"] for call in await self.control.since(mark, "rest_request")]
        assert statuses == [502, 200], f"{statuses}"

    async def rate_limited(self):
        await self.control.post("ratelimit", count=1)
        mark = await self.control.mark()
        assert (await self.bot.fetch_channel(LOBBY)).id == LOBBY
        statuses = [call["status"] for call in await self.control.since(mark, "rest_request")]
        assert statuses == [429, 200], f"{statuses}"

    async def nothing_lost_or_doubled(self):
        """Each event that the journal says was dispatched arrived, once. RESUMED is no event of the session's."""
        for _ in range(50):
            sent = [
                (entry["seq"], entry["t"])
                for entry in await self.control.since(0, "dispatched")
                if entry["t"] != "RESUMED"
            ]
            got = [event for event in self.bot.dispatched if event[1] != "RESUMED"]
            lost = collections.Counter(sent) - collections.Counter(got)
            doubled = collections.Counter(got) - collections.Counter(sent)
            if not lost and not doubled:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"lost {dict(lost)}, doubled or unknown {dict(doubled)}")

    async def no_complaint(self):
        complaints = [entry["what"] for entry in await self.control.since(0, "complaint")]
        assert not complaints, f"the simulator complains: {complaints}"


LIST = (
    "login voice_states channels messages rapid_calls resume_after_op_7 resume_after_a_cut op_9_resumable op_9_final "
    "muted_acks server_error rate_limited nothing_lost_or_doubled no_complaint"
).split()


async def main():
    failed = 0
    async with aiohttp.ClientSession() as session, Bot() as bot:
        control = Control(session)
        people = [person["user_id"] for person in (await control.get("info"))["people"]]
        running = asyncio.create_task(bot.start(os.environ["DISCORD_BOT_TOKEN"]))
        await asyncio.sleep(0)
        checks = Checks(bot, control, people)
        for name in LIST:
            try:
                await getattr(checks, name)()
                print(f"ok      {name}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
                traceback.print_exc()
                if name == "login":
                    break
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await running
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
