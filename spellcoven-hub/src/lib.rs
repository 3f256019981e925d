//! spellcoven-hub
