//! What a test sets up: guilds, people, bots, roles.

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use super::World;
use super::model::{BotAccount, Guild, IdentifyBudget, Member, Role, User};
use super::wire;
use crate::error::SimError;
use crate::ids::{ApplicationId, GuildId, RoleId, SoundId, UserId};
use crate::intents::Intents;
use crate::permissions::Permissions;

/// A bot as a test holds it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Bot {
    /// The bot's user.
    pub user_id: UserId,
    /// The application it belongs to; the same number, as with new applications.
    pub application_id: ApplicationId,
    /// The token it was made with, without the word `Bot`. Good for this simulator alone.
    pub token: String,
}

impl std::fmt::Debug for Bot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bot")
            .field("user_id", &self.user_id)
            .field("application_id", &self.application_id)
            .field("token", &"<redacted>")
            .finish()
    }
}

impl From<Bot> for UserId {
    fn from(bot: Bot) -> Self {
        bot.user_id
    }
}

impl From<&Bot> for UserId {
    fn from(bot: &Bot) -> Self {
        bot.user_id
    }
}

/// Making things.
impl World {
    /// A guild with `@everyone` and an owner of its own, and no channels.
    pub fn add_guild(&mut self, name: &str) -> GuildId {
        let id = GuildId(self.ids.next_guild(self.start_ms));
        let owner = self.make_user("owner", false);
        let everyone = Role {
            id: RoleId(id.0),
            name: "@everyone".to_owned(),
            permissions: Permissions::DEFAULT_EVERYONE,
            position: 0,
            managed: false,
        };
        let guild = Guild {
            id,
            name: name.to_owned(),
            owner,
            roles: BTreeMap::from([(everyone.id, everyone)]),
            members: BTreeMap::new(),
            channels: BTreeMap::new(),
            voice: BTreeMap::new(),
            audit: VecDeque::new(),
            sounds: BTreeMap::new(),
            unavailable: false,
        };
        self.guilds.insert(id, guild);
        self.insert_member(owner, id, Vec::new());
        self.acted(None, format!("guild {name:?} ({id}) was made"));
        id
    }

    /// A bot in a guild, with a role of its own that grants [`Permissions::DEFAULT_BOT`]. With an unknown guild it is
    /// in none.
    pub fn add_bot(&mut self, name: &str, guild: GuildId) -> Bot {
        let user_id = self.make_user(name, true);
        let application_id = ApplicationId(user_id.0);
        let token = self.make_token(user_id);
        self.tokens.insert(token.clone(), user_id);
        self.bots.insert(
            user_id,
            BotAccount {
                application: application_id,
                token: token.clone(),
                identifies: IdentifyBudget::default(),
                acks_muted_until: None,
                refuse_resumes: 0,
                hold: false,
                duplicate: false,
                split: false,
                pace: None,
                nonces: VecDeque::new(),
            },
        );
        self.acted(Some(user_id), format!("bot {name:?} was made"));
        // An unknown guild leaves the bot without one, as documented.
        let _ = self.add_bot_to_guild(user_id, guild);
        Bot {
            user_id,
            application_id,
            token: token.0,
        }
    }

    /// Lets a bot into one more guild; its live sessions get GUILD_CREATE.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn add_bot_to_guild(&mut self, bot: UserId, guild: GuildId) -> Result<(), SimError> {
        let name = self
            .users
            .get(&bot)
            .ok_or(SimError::UnknownUser(bot))?
            .name
            .clone();
        if !self.bots.contains_key(&bot) {
            return Err(SimError::NotABot(bot));
        }
        let role = RoleId(self.snowflake());
        let found = self
            .guilds
            .get_mut(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        let position = u32::try_from(found.roles.len()).unwrap_or(u32::MAX);
        let made = Role {
            id: role,
            name,
            permissions: Permissions::DEFAULT_BOT,
            position,
            managed: true,
        };
        found.roles.insert(role, made);
        self.insert_member(bot, guild, vec![role]);
        let sessions: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| {
                s.bot == bot && s.has_guild(guild) && s.intents.contains(Intents::GUILDS)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in sessions {
            let Some(found) = self.guilds.get(&guild) else {
                continue;
            };
            let text = wire::text(&self.guild_create(found, bot));
            self.dispatch_to(key, &"GUILD_CREATE".into(), &text.into());
        }
        Ok(())
    }

    /// A person who is a member of a guild. With an unknown guild they are in none.
    pub fn add_person(&mut self, name: &str, guild: GuildId) -> UserId {
        let user = self.make_user(name, false);
        self.acted(Some(user), format!("person {name:?} was made"));
        // An unknown guild leaves the person without one, as documented.
        let _ = self.add_member(user, guild);
        user
    }

    /// Makes a person a member of one more guild.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn add_member(&mut self, user: UserId, guild: GuildId) -> Result<(), SimError> {
        if !self.users.contains_key(&user) {
            return Err(SimError::UnknownUser(user));
        }
        if !self.guilds.contains_key(&guild) {
            return Err(SimError::UnknownGuild(guild));
        }
        self.insert_member(user, guild, Vec::new());
        Ok(())
    }

    /// Takes a user out of a guild: they leave its voice channels, then GUILD_MEMBER_REMOVE; a bot gets GUILD_DELETE.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn remove_member(&mut self, user: UserId, guild: GuildId) -> Result<(), SimError> {
        let found = self
            .guilds
            .get(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        if !found.members.contains_key(&user) {
            return Err(SimError::NotAMember(user, guild));
        }
        self.take_from_voice(user, guild);
        let keys: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| {
                s.bot == user && s.has_guild(guild) && s.intents.contains(Intents::GUILDS)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.dispatch_to(
                key,
                &"GUILD_DELETE".into(),
                &json!({"id": guild}).to_string().into(),
            );
        }
        if let Some(found) = self.guilds.get_mut(&guild) {
            found.members.remove(&user);
        }
        let d = json!({"guild_id": guild, "user": self.users.get(&user).map(wire::user)});
        self.dispatch_guild(guild, "GUILD_MEMBER_REMOVE", d.to_string());
        self.acted(Some(user), format!("left guild {guild}"));
        Ok(())
    }

    /// A sound of a guild's soundboard: GUILD_SOUNDBOARD_SOUND_CREATE, and part of what op 31 is answered with. There is
    /// no audio.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn add_sound(&mut self, guild: GuildId, name: &str) -> Result<SoundId, SimError> {
        if !self.guilds.contains_key(&guild) {
            return Err(SimError::UnknownGuild(guild));
        }
        let id = SoundId(self.snowflake());
        if let Some(found) = self.guilds.get_mut(&guild) {
            found.sounds.insert(id, name.to_owned());
        }
        let d = wire::text(&wire::sound(guild, id, name));
        self.acted(None, format!("sound {name:?} ({id}) was made"));
        self.dispatch_guild(guild, "GUILD_SOUNDBOARD_SOUND_CREATE", d);
        Ok(id)
    }

    /// Sets what a bot's own role grants in a guild. `@everyone` still grants its own.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn set_permissions(
        &mut self,
        bot: UserId,
        guild: GuildId,
        bits: Permissions,
    ) -> Result<(), SimError> {
        let found = self
            .guilds
            .get(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        let member = found
            .members
            .get(&bot)
            .ok_or(SimError::NotAMember(bot, guild))?;
        let role = *member.roles.first().ok_or(SimError::NotABot(bot))?;
        self.set_role_permissions(guild, role, bits);
        self.acted(
            None,
            format!("permissions of bot {bot} in {guild} are now {}", bits.0),
        );
        Ok(())
    }

    /// Sets what `@everyone` may in a guild.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn set_everyone_permissions(
        &mut self,
        guild: GuildId,
        bits: Permissions,
    ) -> Result<(), SimError> {
        if !self.guilds.contains_key(&guild) {
            return Err(SimError::UnknownGuild(guild));
        }
        self.set_role_permissions(guild, RoleId(guild.0), bits);
        self.acted(
            None,
            format!("permissions of everyone in {guild} are now {}", bits.0),
        );
        Ok(())
    }

    fn set_role_permissions(&mut self, guild: GuildId, role: RoleId, bits: Permissions) {
        self.with_visibility(guild, &[], |world| {
            let Some(role) = world
                .guilds
                .get_mut(&guild)
                .and_then(|guild| guild.roles.get_mut(&role))
            else {
                return;
            };
            role.permissions = bits;
            let d = json!({"guild_id": guild, "role": wire::role(role)}).to_string();
            world.dispatch_guild(guild, "GUILD_ROLE_UPDATE", d);
        });
    }

    /// Takes a guild away for a while, or brings it back: GUILD_DELETE with `unavailable`, later GUILD_CREATE.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn set_unavailable(&mut self, guild: GuildId, unavailable: bool) -> Result<(), SimError> {
        let found = self
            .guilds
            .get_mut(&guild)
            .ok_or(SimError::UnknownGuild(guild))?;
        if std::mem::replace(&mut found.unavailable, unavailable) == unavailable {
            return Ok(());
        }
        self.acted(
            None,
            format!(
                "guild {guild} is {}",
                if unavailable { "unavailable" } else { "back" }
            ),
        );
        if unavailable {
            let d = json!({"id": guild, "unavailable": true}).to_string();
            self.dispatch_guild(guild, "GUILD_DELETE", d);
            return Ok(());
        }
        let keys: Vec<(u64, UserId)> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.follows(guild) && s.intents.contains(Intents::GUILDS))
            .map(|(key, s)| (*key, s.bot))
            .collect();
        for (key, bot) in keys {
            let Some(found) = self
                .guilds
                .get(&guild)
                .filter(|g| g.members.contains_key(&bot))
            else {
                continue;
            };
            let text = wire::text(&self.guild_create(found, bot));
            self.dispatch_to(key, &"GUILD_CREATE".into(), &text.into());
        }
        Ok(())
    }

    fn make_user(&mut self, name: &str, is_bot: bool) -> UserId {
        let id = UserId(self.snowflake());
        let client_session = self.hex_id();
        self.users.insert(
            id,
            User {
                id,
                name: name.to_owned(),
                is_bot,
                client_session,
            },
        );
        id
    }

    fn insert_member(&mut self, user: UserId, guild: GuildId, roles: Vec<RoleId>) {
        let member = Member {
            user,
            nick: None,
            roles,
            joined_ms: self.unix_ms(),
            deaf: false,
            mute: false,
            timeout_until_ms: None,
        };
        let Some(account) = self.users.get(&user) else {
            return;
        };
        let mut d = wire::member(&member, account);
        d["guild_id"] = json!(guild);
        if let Some(found) = self.guilds.get_mut(&guild) {
            found.members.insert(user, member);
        }
        self.dispatch_guild(guild, "GUILD_MEMBER_ADD", d.to_string());
    }
}
