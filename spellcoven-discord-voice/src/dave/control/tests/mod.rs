//! The rules of the conversation, one test for each.

mod any;
mod call;
mod groups;
mod order;
mod recovery;
mod versions;
