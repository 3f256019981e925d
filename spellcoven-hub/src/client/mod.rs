//! A client of the hub's `/api/ws`: reconnects, resumes, and keeps a view of
//! the rooms.
//!
//! Feature `client`. A [`HubClient`] runs one task, gives [`Update`]s in order
//! and applies each to its [`RoomsView`] as it is taken out.
//!
//! - A lost connection is dialled again with exponential back-off (0.5 s
//!   doubling to 30 s, jittered), at most 5 times in a row or as many as the hub
//!   says; then comes [`Update::GaveUp`] and a person has to ask for
//!   [`HubClient::reconnect`]. A connection the hub accepts (`auth.ok`) starts
//!   the count anew.
//! - A token that the hub refused (4401) is not sent again: the
//!   [`TokenSource`] is asked for another, and where it has none the client
//!   stops with [`Update::Unauthorized`].
//! - After a reconnect the client resumes after the last event it was sent; the
//!   hub replays what was missed, or sends a snapshot where it no longer can.
//!   Within an epoch every `seq` comes out once and in order.
//! - When the reader is slow the client stops reading, so nothing is lost on
//!   this side; the hub closes a connection that lags too far (1013), and the
//!   client resumes.

mod builder;
mod connect;
mod driver;
mod session;
mod shell;
mod socket;
mod token;
mod update;
mod view;

pub use crate::future::BoxFuture;
pub use builder::{HubClientBuilder, StartError};
pub use connect::{Connector, DialError, IoStream, TcpTlsConnector};
pub use shell::{HubClient, HubClientHandle};
pub use token::{AccessToken, TokenError, TokenSource};
pub use update::Update;
pub use view::RoomsView;

pub use crate::wire::ResumePoint;
