//! rest_members
