//! Requests that are sent when they are awaited.

mod create_voice_channel;
mod delete_channel;
mod execute;
mod send_message;

pub use self::{
    create_voice_channel::CreateVoiceChannel,
    delete_channel::{DeleteChannel, DeletedChannel},
    execute::Execute,
    send_message::SendMessage,
};
