//! spellcoven-discord-gateway
