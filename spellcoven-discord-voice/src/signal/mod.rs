//! How a session asks the main Gateway to join, and what it hears back.
