//! REST v10: one request in, one answer out.

mod channels;
mod error;
mod faults;
mod form;
mod guilds;
mod limits;
mod me;
mod members;
mod messages;
mod overwrites;
mod positions;
mod request;
mod route;
mod voice;

pub(super) use limits::Limits;
pub use request::{Pace, Request, Response};

use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::World;
use super::audit::{AuditQuery, Record};
use crate::clock::http_date;
use crate::ids::{GuildId, UserId};
use crate::journal::{EntryKind, RestRequest};
use crate::permissions::Permissions;
use crate::rest_faults::RestFault;
use error::ApiError;
use faults::too_many;
use limits::Checked;
use route::{Endpoint, Matched};

/// Bytes of a request body that are shown in the journal.
const BODY_SHOWN: usize = 2048;

/// A request that passed authentication, as an endpoint sees it.
struct Call<'a> {
    bot: UserId,
    query: &'a str,
    body: &'a Bytes,
    json_type: bool,
    reason: Option<String>,
    secure: bool,
}

impl Call<'_> {
    /// An audit entry of what this call does.
    fn record(&self, action: u64, target: Option<u64>) -> Record {
        Record::new(self.bot, self.reason.as_deref(), action, target)
    }

    /// A parameter of the query.
    fn param(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// A parameter that is a number; anything else counts as absent.
    fn number(&self, name: &str) -> Option<u64> {
        self.param(name)?.parse().ok()
    }

    /// The parameter `limit`, from 1 to `most`.
    fn limit(&self, default: usize, most: u64) -> Result<usize, ApiError> {
        let limit = match self.param("limit") {
            None => return Ok(default),
            Some(text) => text.parse::<u64>().unwrap_or(0),
        };
        if (1..=most).contains(&limit) {
            return Ok(usize::try_from(limit).unwrap_or(default));
        }
        let code = if limit == 0 {
            "NUMBER_TYPE_MIN"
        } else {
            "NUMBER_TYPE_MAX"
        };
        let message = format!("int value should be between 1 and {most}.");
        Err(ApiError::form(vec![form::Leaf::new(
            "limit", code, message,
        )]))
    }
}

/// What an endpoint gives back: a status with a body, or an error.
type Answer = Result<(u16, Value), ApiError>;

impl World {
    /// Answers a request. The shell waits for [`Response::delay`] and then sends it, or hangs up.
    pub fn handle_rest(&mut self, now: Duration, request: &Request) -> Response {
        self.advance(now);
        let (path, query) = request
            .path
            .split_once('?')
            .unwrap_or((request.path.as_str(), ""));
        let bot = request
            .value("authorization")
            .and_then(|value| self.authenticate(value));
        let plain = route::without_base(path);
        if let Some(mut refused) = self.banned() {
            self.finish_headers(&mut refused, false);
            self.log_request(request, &refused, bot, false, None);
            return refused;
        }
        let fault = self.take_rest_fault(&request.method, plain.as_deref().unwrap_or(path));
        let skip = fault.as_ref().is_some_and(|fault| !fault.executes());
        let mut executed = false;
        let mut response = if skip {
            Response::new(500, &Value::Null)
        } else {
            self.answer(request, bot, plain.as_deref(), query, &mut executed)
        };
        response.delay = self.settings.rest_delay;
        if let Some(fault) = &fault {
            let found = plain
                .as_deref()
                .map(|plain| route::find(&request.method, plain));
            response = self.apply_fault(fault, response, found.as_ref());
        }
        let genuine = !fault.as_ref().is_some_and(|fault| fault.what.is_foreign());
        self.finish_headers(&mut response, genuine);
        self.count_invalid(&response);
        self.log_request(request, &response, bot, executed, fault);
        response
    }

    fn authenticate(&self, value: &str) -> Option<UserId> {
        let token = value.strip_prefix("Bot ")?;
        self.tokens
            .get(&super::model::Token(token.to_owned()))
            .copied()
    }

    fn answer(
        &mut self,
        request: &Request,
        bot: Option<UserId>,
        plain: Option<&str>,
        query: &str,
        executed: &mut bool,
    ) -> Response {
        let Some(plain) = plain else {
            return ApiError::new(400, 50041, "Invalid API version provided.").into();
        };
        if let Some(refused) = self.check_user_agent(request) {
            return refused;
        }
        let matched = match route::find(&request.method, plain) {
            Matched::Endpoint(endpoint) => endpoint,
            Matched::OtherMethod(allowed) => {
                let refused: Response = ApiError::new(405, 0, "405: Method Not Allowed").into();
                return refused.with("allow", allowed.join(", "));
            }
            Matched::Nothing => return ApiError::new(404, 0, "404: Not Found").into(),
        };
        if matched.endpoint == Endpoint::Gateway {
            *executed = true;
            let url = self.settings.gateway_url_for(request.secure);
            return Response::new(200, &json!({ "url": url }));
        }
        if let Some(gone) = matched.endpoint.without_auth() {
            return gone.into();
        }
        let Some(bot) = bot else {
            self.complain(
                "a REST client",
                format!("{} {plain} without a valid token", request.method),
            );
            return ApiError::new(401, 0, "401: Unauthorized").into();
        };
        let checked = match self.check_limits(bot, &matched) {
            Ok(checked) => checked,
            Err(limited) => {
                self.complain(
                    format!("bot {bot}"),
                    format!(
                        "{} {plain} over the {} rate limit",
                        request.method,
                        limited.scope.name()
                    ),
                );
                return too_many(&limited);
            }
        };
        let reason = request.value("x-audit-log-reason").map(decoded_reason);
        let call = Call {
            bot,
            query,
            body: &request.body,
            json_type: is_json(request.value("content-type")),
            reason,
            secure: request.secure,
        };
        let mut response = match self
            .check_reason(&call)
            .and_then(|()| self.run(&matched, &call))
        {
            Ok((status, body)) => {
                *executed = true;
                Response::new(status, &body)
            }
            Err(ApiError {
                limited: Some(limited),
                ..
            }) => too_many(&limited),
            Err(error) => error.into(),
        };
        if let Some(checked) = checked {
            self.limit_headers(&mut response, &checked);
        }
        response
    }

    fn run(&mut self, matched: &route::Found, call: &Call<'_>) -> Answer {
        let ids = &matched.ids;
        match matched.endpoint {
            // Answered before authentication.
            Endpoint::Gateway | Endpoint::Interaction | Endpoint::Webhook => Ok((200, Value::Null)),
            Endpoint::GatewayBot => self.get_gateway_bot(call),
            Endpoint::Me => self.get_me(call),
            Endpoint::Application => self.get_application(call),
            Endpoint::VoiceRegions => Ok(me::voice_regions()),
            Endpoint::GetGuild => self.get_guild(call, ids.guild()),
            Endpoint::GetRoles => self.get_roles(call, ids.guild()),
            Endpoint::GetChannels => self.get_channels(call, ids.guild()),
            Endpoint::CreateChannel => self.create_channel(call, ids.guild()),
            Endpoint::GetChannel => self.get_channel(call, ids.channel()),
            Endpoint::ModifyChannel => self.modify_channel(call, ids.channel()),
            Endpoint::DeleteChannel => self.delete_channel_rest(call, ids.channel()),
            Endpoint::CreateMessage => self.create_message(call, ids.channel()),
            Endpoint::EditMessage => self.edit_message(call, ids.channel(), ids.message()),
            Endpoint::AuditLog => self.get_audit_log(call, ids.guild()),
            Endpoint::GetMember => self.get_member(call, ids.guild(), ids.user()),
            Endpoint::ModifyMember => self.modify_member(call, ids.guild(), ids.user()),
            Endpoint::ModifyMe => self.modify_member(call, ids.guild(), call.bot),
            Endpoint::ListMembers => self.list_members(call, ids.guild()),
            Endpoint::SearchMembers => self.search_members(call, ids.guild()),
            Endpoint::AddRole => self.change_role(call, ids.guild(), ids.user(), ids.role(), true),
            Endpoint::RemoveRole => {
                self.change_role(call, ids.guild(), ids.user(), ids.role(), false)
            }
            Endpoint::VoiceState => self.get_voice_state(call, ids.guild(), ids.user_or(call.bot)),
            Endpoint::ModifyVoiceState => {
                self.modify_voice_state(call, ids.guild(), ids.user_or(call.bot))
            }
            Endpoint::VoiceStatus => self.put_voice_status(call, ids.channel()),
            Endpoint::PutOverwrite => self.put_overwrite(call, ids.channel(), ids.overwrite()),
            Endpoint::DeleteOverwrite => {
                self.delete_overwrite(call, ids.channel(), ids.overwrite())
            }
            Endpoint::Positions => self.modify_positions(call, ids.guild()),
            Endpoint::GetMessages => self.get_messages(call, ids.channel()),
            Endpoint::GetMessage => self.get_message(call, ids.channel(), ids.message()),
            Endpoint::DeleteMessage => self.delete_message(call, ids.channel(), ids.message()),
            Endpoint::User => self.get_user(ids.first_user(call.bot)),
            Endpoint::MyGuilds => self.get_my_guilds(call),
        }
    }

    /// `GET /guilds/{guild.id}/audit-logs`.
    fn get_audit_log(&self, call: &Call<'_>, guild: GuildId) -> Answer {
        let found = self.guild_for(call.bot, guild)?;
        if !self
            .guild_permissions(found, call.bot)
            .contains(Permissions::VIEW_AUDIT_LOG)
        {
            return Err(error::MISSING_PERMISSIONS);
        }
        let query = AuditQuery {
            user: call.number("user_id"),
            action: call.number("action_type"),
            before: call.number("before"),
            after: call.number("after"),
            limit: call.limit(50, 100)?,
        };
        Ok((200, self.audit_page(guild, &query)))
    }

    fn check_reason(&self, call: &Call<'_>) -> Result<(), ApiError> {
        match &call.reason {
            Some(reason) if reason.chars().count() > 512 => {
                Err(ApiError::form(vec![form::Leaf::new(
                    "reason",
                    "BASE_TYPE_MAX_LENGTH",
                    "Must be 512 or fewer in length.",
                )]))
            }
            _ => Ok(()),
        }
    }

    /// See: Discord documentation, Reference, "User Agent".
    fn check_user_agent(&mut self, request: &Request) -> Option<Response> {
        let agent = request.value("user-agent").unwrap_or("");
        // discord.py writes a space alone between the two, and is served.
        let valid = agent
            .strip_prefix("DiscordBot (")
            .and_then(|rest| rest.split_once(')'))
            .is_some_and(|(both, _)| both.contains(' '));
        if valid {
            return None;
        }
        self.complain(
            "a REST client",
            format!("User-Agent {agent:?} is not DiscordBot ($url, $version)"),
        );
        self.settings
            .strict_user_agent
            .then(|| ApiError::new(403, 40333, "internal network error").into())
    }

    fn finish_headers(&self, response: &mut Response, genuine: bool) {
        let mut add = |name: &str, value: String| response.headers.push((name.to_owned(), value));
        add("date", http_date(self.unix_ms()));
        if !genuine {
            return;
        }
        // One client takes an answer without Via for Cloudflare's.
        add("via", "1.1 google".to_owned());
        if response.status != 204 && response.header("content-type").is_none() {
            response
                .headers
                .push(("content-type".to_owned(), "application/json".to_owned()));
        }
    }

    fn log_request(
        &mut self,
        request: &Request,
        response: &Response,
        bot: Option<UserId>,
        executed: bool,
        fault: Option<RestFault>,
    ) {
        let shown = request.body.get(..BODY_SHOWN).unwrap_or(&request.body);
        let code = if response.status >= 400 {
            response.json()["code"].as_u64()
        } else {
            None
        };
        self.log(EntryKind::RestRequest(RestRequest {
            method: request.method.clone(),
            path: request.path.clone(),
            status: if response.hang_up { 0 } else { response.status },
            code,
            bot,
            reason: request.value("x-audit-log-reason").map(decoded_reason),
            user_agent: request.value("user-agent").map(str::to_owned),
            body: String::from_utf8_lossy(shown).into_owned(),
            executed,
            fault: fault.map(|fault| format!("{:?} {:?}", fault.what, fault.when)),
        }));
    }
}

fn decoded_reason(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

fn is_json(content_type: Option<&str>) -> bool {
    content_type
        .map(|value| value.split(';').next().unwrap_or("").trim())
        .is_some_and(|value| value.eq_ignore_ascii_case("application/json"))
}

impl World {
    fn limit_headers(&self, response: &mut Response, checked: &Checked) {
        if response.header("x-ratelimit-limit").is_none() {
            checked.write(response);
        }
        if self.settings.scope_on_all && response.header("x-ratelimit-scope").is_none() {
            response
                .headers
                .push(("x-ratelimit-scope".to_owned(), "user".to_owned()));
        }
    }
}
