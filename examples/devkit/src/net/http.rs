use std::io;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use spellcoven_discord_rest::{Transport, TransportError};
use spellcoven_hub::forward::{BoxFuture, PostAnswer, PostError, Poster};

use super::MemoryHost;

/// A request over a [`MemoryHost`] that did not get an answer.
#[derive(Debug)]
pub enum MemoryHttpError {
    /// Nobody listens there: the request was not sent.
    Refused(io::Error),
    /// The connection broke.
    Broken(hyper::Error),
}

impl MemoryHost {
    /// Sends one HTTP request on a connection of its own; the URI's authority is the name to dial.
    ///
    /// # Errors
    /// [`MemoryHttpError`]; any status is an answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn request(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, MemoryHttpError> {
        let name = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let stream = self.connect(&name).map_err(MemoryHttpError::Refused)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(MemoryHttpError::Broken)?;
        let exchange = async move {
            let (mut head, body) = request.into_parts();
            if let Ok(host) = name.parse() {
                head.headers.insert(header::HOST, host);
            }
            head.uri = head
                .uri
                .path_and_query()
                .cloned()
                .map(http::Uri::from)
                .unwrap_or_default();
            let (head, body) = sender
                .send_request(Request::from_parts(head, Full::new(body)))
                .await?
                .into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => return answer.map_err(MemoryHttpError::Broken),
            ended = &mut connection => ended.map_err(MemoryHttpError::Broken)?,
        }
        exchange.await.map_err(MemoryHttpError::Broken)
    }
}

impl Transport for MemoryHost {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            self.request(request).await.map_err(|error| match error {
                MemoryHttpError::Refused(error) => TransportError::not_sent(error),
                MemoryHttpError::Broken(error) => TransportError::maybe_sent(error),
            })
        })
    }
}

/// Posts to a hub over a [`MemoryHost`].
pub struct MemoryPoster {
    /// Who posts.
    pub host: MemoryHost,
    /// The hub's `/api/internal/events`.
    pub endpoint: http::Uri,
}

impl Poster for MemoryPoster {
    fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'_, Result<PostAnswer, PostError>> {
        Box::pin(async move {
            let mut request = Request::post(self.endpoint.clone())
                .body(body)
                .map_err(PostError::Request)?;
            *request.headers_mut() = headers;
            let (head, body) = match self.host.request(request).await {
                Ok(answer) => answer.into_parts(),
                Err(MemoryHttpError::Refused(error)) => {
                    return Err(PostError::Transport(Box::new(error)));
                }
                Err(MemoryHttpError::Broken(error)) => {
                    return Err(PostError::Transport(Box::new(error)));
                }
            };
            Ok(PostAnswer::from_parts(&head, body))
        })
    }
}
