//! slow_client
