//! One voice session as a state machine without I/O.
