//! The rooms as the updates taken out so far describe them.

use std::sync::Arc;

use super::update::Update;
use crate::model::GuildModel;
use crate::wire::{GuildSnapshot, ResumePoint, Room, Snowflake};

/// The rooms of the guild and who is in them.
///
/// [`HubClient::view`](super::HubClient::view) keeps one; [`apply`](Self::apply)
/// is for callers that keep their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomsView {
    model: GuildModel,
    guild_id: Option<Snowflake>,
    position: Option<(Arc<str>, u64)>,
    whole: bool,
}

impl RoomsView {
    /// An empty view.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one update. Updates have to come in the order the client gave
    /// them; connection updates change nothing.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Snapshot {
                epoch,
                seq,
                snapshot,
            } => {
                self.model = GuildModel::from_snapshot(snapshot);
                self.guild_id = Some(snapshot.guild_id);
                self.whole = true;
                self.position = Some((Arc::clone(epoch), *seq));
            }
            Update::Event {
                seq, epoch, event, ..
            } => {
                self.model.apply(event);
                self.guild_id = Some(event.guild_id());
                self.position = Some((Arc::clone(epoch), *seq));
            }
            Update::Raw { seq, epoch, .. } => self.position = Some((Arc::clone(epoch), *seq)),
            Update::Connected { .. }
            | Update::Disconnected { .. }
            | Update::GaveUp { .. }
            | Update::Unauthorized { .. } => {}
        }
    }

    /// Whether the view began with a snapshot. One that began with a resume
    /// point, or at a hub without snapshots, knows only what happened since.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// All rooms by rising channel id, members by rising user id. `None` before
    /// anything is known.
    #[must_use]
    pub fn snapshot(&self) -> Option<GuildSnapshot> {
        self.guild_id.map(|guild_id| self.model.snapshot(guild_id))
    }

    /// One room with its members.
    #[must_use]
    pub fn room(&self, channel_id: Snowflake) -> Option<Room> {
        self.model.room(channel_id)
    }

    /// How many rooms there are.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.model.room_count()
    }

    /// The channel a person is in.
    #[must_use]
    pub fn channel_of(&self, user_id: Snowflake) -> Option<Snowflake> {
        self.model.channel_of(user_id)
    }

    /// Where the view stands: to be kept by a program that wants to resume in
    /// its next life. `None` before the first snapshot or event, and at a hub
    /// without epochs.
    #[must_use]
    pub fn resume_point(&self) -> Option<ResumePoint> {
        let (epoch, seq) = self
            .position
            .as_ref()
            .filter(|(epoch, _)| !epoch.is_empty())?;
        Some(ResumePoint {
            epoch: epoch.to_string(),
            seq: *seq,
        })
    }
}
