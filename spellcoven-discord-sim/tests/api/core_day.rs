//! core_day
