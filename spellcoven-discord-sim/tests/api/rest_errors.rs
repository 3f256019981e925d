//! rest_errors
