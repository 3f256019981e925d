//! rest_guilds
