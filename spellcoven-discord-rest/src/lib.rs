//! spellcoven-discord-rest
