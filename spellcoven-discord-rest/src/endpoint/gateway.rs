//! Endpoints about the Gateway.

use http::Method;
use twilight_model::gateway::connection_info::BotConnectionInfo;

use super::{Endpoint, Major, Route};

/// `GET /gateway/bot`. See Discord: Gateway, "Get Gateway Bot".
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct GetGatewayBot;

impl Endpoint for GetGatewayBot {
    type Response = BotConnectionInfo;

    fn name(&self) -> &'static str {
        "getGatewayBot"
    }

    fn route(&self) -> Route {
        Route::new(Method::GET, "/gateway/bot", Major::None)
    }
}
