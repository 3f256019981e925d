//! What a person is told who started the stack.

use crate::stack::{ORIGIN, Stack};

/// Addresses, a token, and lines to paste.
#[must_use]
pub fn text(stack: &Stack, token: &str) -> String {
    let Stack {
        backend,
        worker,
        identity,
        guild_id,
        ..
    } = stack;
    let ws = backend.replacen("http", "ws", 1);
    let people = stack.simulated.as_ref().map_or_else(String::new, |simulated| {
        let person = simulated.people.first().map_or("USER_ID", String::as_str);
        let control = &simulated.control_url;
        let env = simulated.env_file.display();
        let (lobby, bot) = (&simulated.voice_channel_id, &simulated.spare_bot.user_id);
        format!(
            "
Make a person of the simulated Discord join the room and leave it:
curl -s -X POST {control}/voice -H 'Content-Type: application/json' -d '{{\"user_id\":\"{person}\",\"channel_id\":\"'$CHANNEL'\"}}'
curl -s -X POST {control}/voice -H 'Content-Type: application/json' -d '{{\"user_id\":\"{person}\",\"channel_id\":null}}'
curl -s '{control}/journal?text'

Let the voice bot say a melody in the channel \"Lobby\" and echo what it hears, and a person hear it and talk to it
(in another terminal):
set -a; . {env}; set +a; DISCORD_BOT_TOKEN=$DISCORD_BOT_TOKEN_2 SSL_CERT_FILE=$CA_CERT target/debug/voice-bot
curl -s -X POST {control}/voice -d '{{\"user_id\":\"{person}\",\"channel_id\":\"{lobby}\"}}'
curl -s -X POST {control}/voice/listen -d '{{\"user_id\":\"{person}\"}}'
curl -s -X POST {control}/voice/talk -d '{{\"user_id\":\"{person}\",\"tone\":440}}'
curl -s '{control}/voice/heard?user_id={person}&from={bot}&left=440'
"
        )
    });
    format!(
        "
backend            {backend}   (allowed origin {ORIGIN})
worker             {worker}/health
identity provider  {identity}/.well-known/openid-configuration
guild              {guild_id}

A token for alice, good for 12 hours:
TOKEN={token}

Make a room, see the rooms, end it:
CHANNEL=$(curl -s -X POST {backend}/api/create-room -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{{\"name\":\"Commander night\",\"userLimit\":4}}' | tee /dev/stderr | cut -d'\"' -f4)
curl -s {backend}/api/rooms -H \"Authorization: Bearer $TOKEN\"
curl -s -X DELETE {backend}/api/end-room/$CHANNEL -H \"Authorization: Bearer $TOKEN\"

Watch the events (in another terminal, TOKEN set there too):
echo \"$TOKEN\" | target/debug/local --watch {ws}/api/ws
or with any WebSocket client, the first message being the token:
npx wscat -c {ws}/api/ws -x '{{\"type\":\"auth\",\"token\":\"'$TOKEN'\"}}' -w 600
{people}
Ctrl-C stops everything."
    )
}
