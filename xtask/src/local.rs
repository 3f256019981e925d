use std::{os::unix::process::CommandExt, process::Command};

use crate::{
    command::{Error, cargo, cargo_output, root},
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
    let metadata: serde_json::Value = serde_json::from_slice(&cargo_output(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--locked",
    ])?)?;
    let target = metadata["target_directory"]
        .as_str()
        .ok_or("cargo metadata names no target directory")?;
    let program = std::path::Path::new(target).join("debug/local");
    // The process is replaced, so that Ctrl-C and its exit code are the stack's own.
    Err(Command::new(program)
        .args(arguments)
        .current_dir(root())
        .exec()
        .into())
}
