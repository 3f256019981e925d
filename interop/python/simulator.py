"""What the checks of Python clients share: the simulator's control API, what a bot has seen, and the list.

Prints one line for each check; the exit code is 1 if one failed.
"""

import asyncio
import collections
import os
import traceback

API_BASE = os.environ["DISCORD_API_BASE"]
CONTROL = os.environ["CONTROL_URL"]
GATEWAY = os.environ["DISCORD_GATEWAY_URL"]
TOKEN = os.environ["DISCORD_BOT_TOKEN"]
GUILD = int(os.environ["GUILD_ID"])
LOBBY = int(os.environ["VOICE_CHANNEL_ID"])
PATIENCE = 30.0


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

    async def people(self):
        return [person["user_id"] for person in (await self.get("info"))["people"]]

    async def mark(self):
        journal = await self.get("journal")
        return journal[-1]["number"] + 1

    async def since(self, mark, kind):
        return [entry for entry in await self.get(f"journal?since={mark}") if entry["kind"] == kind]


class Seen:
    """What arrived; a check can wait for more."""

    def __init__(self):
        self.dispatched = []  # (number, name)
        self.happened = []  # (what, subject..), as the typed events tell it
        self.news = asyncio.Condition()

    async def tell(self, log, *what):
        async with self.news:
            log.append(what)
            self.news.notify_all()

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
    """The checks that are the same for all; the others, and `fetch_channel`, are the client's."""

    def __init__(self, control, seen, people):
        self.control, self.seen, self.people = control, seen, people

    async def rapid_calls(self):
        await self.control.post("ratelimit", route="GET /channels/{channel.id}", limit=20, window=2)
        mark = await self.control.mark()
        await asyncio.gather(*(self.fetch_channel(LOBBY) for _ in range(60)))
        await self.control.post("ratelimit", clear=True)
        calls = await self.control.since(mark, "rest_request")
        refused = [call for call in calls if call["status"] == 429]
        assert len(calls) == 60 and not refused, f"{len(calls)} calls, {len(refused)} were answered 429"

    async def resumes(self, act):
        """Whatever `act` does, a RESUME follows, no IDENTIFY, and what happened meanwhile is replayed."""
        mark, seen, person = await self.control.mark(), len(self.seen.happened), self.people[1]
        dispatched = len(self.seen.dispatched)
        await act()
        await self.control.voice(person, LOBBY)
        await self.seen.until(self.seen.dispatched, lambda event: event[1] == "RESUMED", dispatched)
        await self.seen.sees("voice", int(person), LOBBY, start=seen)
        assert not await self.control.since(mark, "identified"), "an IDENTIFY was spent"
        assert await self.control.since(mark, "resumed"), "the journal knows no RESUME"
        await self.control.voice(person, None)
        await self.seen.sees("voice", int(person), None, start=seen)

    async def resume_after_op_7(self):
        await self.resumes(lambda: self.control.post("reconnect"))

    async def resume_after_a_cut(self):
        await self.resumes(lambda: self.control.post("drop"))

    async def op_9_resumable(self):
        await self.resumes(lambda: self.control.post("invalid_session", resumable=True))

    async def op_9_final(self):
        mark, dispatched = await self.control.mark(), len(self.seen.dispatched)
        await self.control.post("invalid_session", resumable=False)
        await self.seen.until(self.seen.dispatched, lambda event: event[1] == "GUILD_CREATE", dispatched)
        assert len(await self.control.since(mark, "identified")) == 1, "not one IDENTIFY"

    async def muted_acks(self):
        await self.resumes(self.mute_until_resumed)

    async def mute_until_resumed(self):
        mark = await self.control.mark()
        await self.control.post("mute_acks", ms=20000)
        async with asyncio.timeout(PATIENCE):
            while not await self.control.since(mark, "resumed"):
                await asyncio.sleep(0.2)
        await self.control.post("mute_acks", on=False)

    async def server_error(self):
        await self.control.post("fail5xx", count=1, status=502, match="GET /channels/")
        mark = await self.control.mark()
        await self.fetch_channel(LOBBY)
        statuses = [call["status"] for call in await self.control.since(mark, "rest_request")]
        assert statuses == [502, 200], f"{statuses}"

    async def rate_limited(self):
        await self.control.post("ratelimit", count=1)
        mark = await self.control.mark()
        await self.fetch_channel(LOBBY)
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
            got = [event for event in self.seen.dispatched if event[1] != "RESUMED"]
            lost = collections.Counter(sent) - collections.Counter(got)
            doubled = collections.Counter(got) - collections.Counter(sent)
            if not lost and not doubled:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"lost {dict(lost)}, doubled or unknown {dict(doubled)}")

    async def no_complaint(self):
        complaints = [entry["what"] for entry in await self.control.since(0, "complaint")]
        assert not complaints, f"the simulator complains: {complaints}"


    async def run(self):
        failed = 0
        for name in LIST:
            try:
                await getattr(self, name)()
                print(f"ok      {name}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
                traceback.print_exc()
                if name == "login":
                    break
        return 1 if failed else 0


LIST = (
    "login voice_states channels messages rapid_calls resume_after_op_7 resume_after_a_cut op_9_resumable op_9_final "
    "muted_acks server_error rate_limited nothing_lost_or_doubled no_complaint"
).split()
