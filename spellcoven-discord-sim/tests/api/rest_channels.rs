//! rest_channels
