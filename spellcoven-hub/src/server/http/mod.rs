//! The HTTP side: routes, bodies, errors.

mod answer;
mod auth;
mod body;
mod cors;
mod create_room;
mod end_room;
mod events;
mod observe;
mod request_id;
mod service;
mod upgrade;

pub(crate) use answer::ApiError;
pub use service::{HubBody, HubService};
