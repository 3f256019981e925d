//! Simulated people in a call, who talk and listen.
