//! spellcoven-discord-sim
