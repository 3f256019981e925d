use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, body::Incoming, header::CONTENT_TYPE};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    Description,
    act::{Call, act},
};
use crate::Sim;

/// A control body is a few fields.
const BODY_LIMIT: usize = 64 * 1024;

/// Connections at one time.
const CONNECTIONS: usize = 1000;

/// A control API that listens. It obeys whoever reaches it: keep it on loopback.
#[derive(Debug)]
pub struct ControlServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl ControlServer {
    /// Binds to a TCP address (port 0 for a free one).
    ///
    /// # Errors
    /// What binding gives: the address is taken, or not this machine's.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it listens nowhere.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
        })
    }

    /// `http://HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future stops listening and drops every connection.
    pub async fn serve(self, sim: Sim, about: Description) {
        let about = Arc::new(about);
        let mut connections = JoinSet::new();
        loop {
            let io = tokio::select! {
                biased;
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => match accepted {
                    // Over the bound a connection is dropped unanswered.
                    Ok(_) if connections.len() >= CONNECTIONS => continue,
                    Ok((io, _)) => io,
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let _ = io.set_nodelay(true);
            let (sim, about) = (sim.clone(), Arc::clone(&about));
            connections.spawn(async move {
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    answer(sim.clone(), Arc::clone(&about), request)
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(io), service)
                    .await;
            });
        }
    }
}

async fn answer(
    sim: Sim,
    about: Arc<Description>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let (status, body) = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => {
            let call = Call {
                sim: &sim,
                about: &about,
                query: head.uri.query().unwrap_or_default(),
                body: &body.to_bytes(),
            };
            act(&call, head.method.as_str(), head.uri.path())
        }
        Err(_) => (
            413,
            serde_json::json!({ "message": "the body is too large or broke off" }),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
