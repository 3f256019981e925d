use std::{
    convert::Infallible,
    error::Error,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::Full;
use hyper::body::Body;
use tower_service::Service;

use super::{
    answer::{Answer, ApiError},
    cors, create_room, end_room, events, observe, request_id, upgrade,
};
use crate::BoxFuture;
use crate::server::hub::{Hub, Shared};

/// A request's body as the hub can read it; every ordinary one is.
pub trait HubBody:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

impl<B> HubBody for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

/// A [`Hub`] as a `tower` service; always ready, never fails. From [`Hub::service`].
#[derive(Clone, Debug)]
pub struct HubService {
    hub: Hub,
}

/// What a handler gets besides the request's head.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) request_id: &'a str,
}

impl HubService {
    pub(crate) fn new(hub: Hub) -> Self {
        Self { hub }
    }
}

impl<B: HubBody> Service<Request<B>> for HubService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.hub.shared);
        Box::pin(async move { Ok(handle(shared, request).await) })
    }
}

async fn handle<B: HubBody>(shared: Arc<Shared>, request: Request<B>) -> Answer {
    shared.start();
    let (parts, body) = request.into_parts();
    let request_id = request_id::of(&parts.headers, &shared);
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let api = parts.uri.path().starts_with("/api/") && parts.uri.path() != EVENTS;
    let context = Call {
        shared: &shared,
        request_id: &request_id,
    };
    let mut answer = match route(&context, parts, body).await {
        Ok(answer) => answer,
        Err(error) => {
            shared.metrics.errors.add(error.code());
            error.into_answer(&request_id)
        }
    };
    answer.headers_mut().insert(
        crate::wire::headers::REQUEST_ID,
        request_id::value(&request_id),
    );
    if api {
        cors::decorate(&mut answer, &origin, shared.origin.as_deref());
    }
    answer
}

const EVENTS: &str = "/api/internal/events";
const END_ROOM: &str = "/api/end-room/";

async fn route<B: HubBody>(
    context: &Call<'_>,
    parts: request::Parts,
    body: B,
) -> Result<Answer, ApiError> {
    let path = parts.uri.path().to_owned();
    let methods: &[Method] = match path.as_str() {
        "/api/create-room" | EVENTS => &[Method::POST],
        "/api/ws" | "/api/rooms" => &[Method::GET],
        "/health" | "/ready" | "/metrics" => &[Method::GET, Method::HEAD],
        path if room_id(path).is_some() => &[Method::DELETE],
        _ => return Err(ApiError::not_found("no such path")),
    };
    if path != EVENTS && cors::is_preflight(&parts) {
        return cors::preflight(&parts.headers, context.shared.origin.as_deref());
    }
    if !methods.contains(&parts.method) {
        return Err(method_not_allowed(methods));
    }
    match path.as_str() {
        "/api/create-room" => create_room::handle(context, &parts, body).await,
        EVENTS => events::handle(context, &parts, body).await,
        "/api/ws" => upgrade::handle(context, parts),
        "/api/rooms" => observe::rooms(context, &parts).await,
        "/health" => Ok(observe::health(context)),
        "/ready" => Ok(observe::ready(context).await),
        "/metrics" => Ok(observe::metrics(context)),
        path => end_room::handle(context, &parts, room_id(path).unwrap_or_default()).await,
    }
}

/// The last segment of an end-room path.
fn room_id(path: &str) -> Option<&str> {
    path.strip_prefix(END_ROOM)
        .filter(|id| !id.is_empty() && !id.contains('/'))
}

fn method_not_allowed(methods: &[Method]) -> ApiError {
    let allow = methods
        .iter()
        .map(Method::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let allow = HeaderValue::from_str(&allow).expect("names of methods are plain ASCII");
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "this path does not take this method",
    )
    .with(header::ALLOW, allow)
}
