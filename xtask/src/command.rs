use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What went wrong, for a person.
pub(crate) type Error = Box<dyn std::error::Error>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// The cargo that runs this.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

pub(crate) fn cargo(arguments: &[&str]) -> Result<(), Error> {
    cargo_with(arguments, &[])
}

pub(crate) fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), Error> {
    eprintln!("$ cargo {}", arguments.join(" "));
    let status = cargo_command()
        .args(arguments)
        .envs(environment.iter().copied())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo {} failed", arguments.join(" ")).into())
    }
}

/// The standard output of a cargo command.
pub(crate) fn cargo_output(arguments: &[&str]) -> Result<Vec<u8>, Error> {
    let output = cargo_command().args(arguments).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!(
            "cargo {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )
        .into())
    }
}

/// Where cargo builds.
pub(crate) fn target_directory() -> Result<PathBuf, Error> {
    let metadata = cargo_output(&["metadata", "--no-deps", "--format-version", "1", "--locked"])?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata)?;
    let target = metadata["target_directory"]
        .as_str()
        .ok_or("cargo metadata names no target directory")?;
    Ok(target.into())
}

/// Runs a command that is not cargo.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let line = format!("{command:?}");
    eprintln!("$ {line}");
    let status = command
        .status()
        .map_err(|error| format!("{line}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line} failed").into())
    }
}
