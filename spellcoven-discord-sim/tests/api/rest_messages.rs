//! rest_messages
