use std::{os::unix::process::CommandExt, process::Command};

use crate::{
    command::{Error, cargo, root, target_directory},
    setup,
};

/// Builds the processes of the local stack and becomes the one that runs them.
pub(crate) fn run(arguments: &[String]) -> Result<(), Error> {
    setup::run()?;
    cargo(&[
        "build",
        "--locked",
        "--bins",
        "--features",
        "spellcoven-discord-sim/cli",
        "-p",
        "spellcoven-examples",
        "-p",
        "spellcoven-devkit",
        "-p",
        "spellcoven-discord-sim",
    ])?;
    let program = target_directory()?.join("debug/local");
    // The process is replaced, so that Ctrl-C and its exit code are the stack's own.
    Err(Command::new(program)
        .args(arguments)
        .current_dir(root())
        .exec()
        .into())
}
