use serde_json::Value;

use crate::{
    command::{Error, cargo, cargo_output, cargo_with},
    tidy,
};

/// Everything that is wrong without a test: format, lints, docs, features, packages.
pub(crate) fn run() -> Result<(), Error> {
    cargo(&["fmt", "--all", "--check"])?;
    tidy::run()?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])?;
    cargo_with(
        &[
            "doc",
            "--workspace",
            "--no-deps",
            "--all-features",
            "--locked",
        ],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    cargo_with(
        &[
            "doc",
            "-p",
            "spellcoven-discord-voice",
            "--no-deps",
            "--no-default-features",
            "--locked",
        ],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    each_feature()?;
    // `--no-verify`: the packages hold what the workspace builds above; what is checked is that they can be made.
    cargo(&[
        "package",
        "--workspace",
        "--locked",
        "--no-verify",
        "--quiet",
        "--allow-dirty",
    ])
}

/// Each published crate without its default features, with each feature alone, and with all.
fn each_feature() -> Result<(), Error> {
    let metadata: Value = serde_json::from_slice(&cargo_output(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--locked",
    ])?)?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    // `publish = false` is an empty list of registries.
    let published = packages
        .iter()
        .filter(|package| !package["publish"].as_array().is_some_and(Vec::is_empty));
    for package in published {
        let name = package["name"].as_str().ok_or("a package without a name")?;
        let lint = |selection: &[&str]| {
            let head = ["clippy", "--quiet", "--locked", "-p", name];
            cargo(&[&head, selection, &["--", "-D", "warnings"]].concat())
        };
        lint(&["--no-default-features"])?;
        let features = package["features"]
            .as_object()
            .ok_or("a package without a feature table")?;
        for feature in features.keys().filter(|feature| *feature != "default") {
            lint(&["--no-default-features", "--features", feature])?;
        }
        lint(&["--all-features"])?;
    }
    Ok(())
}
