use std::process::{Command, Stdio};

use crate::{command::Error, interop::Client};

/// Something the system must have, how to see that it is there, and the Debian package that brings it.
struct Need {
    what: &'static str,
    probe: &'static [&'static str],
    package: &'static str,
}

/// `ring` and the test-only back ends of `jsonwebtoken` hold C; rustc links with the C compiler too. Voice encodes and
/// decodes with libopus.
const NEEDS: &[Need] = &[
    Need {
        what: "a C compiler",
        probe: &["cc", "--version"],
        package: "gcc libc6-dev",
    },
    Need {
        what: "libopus, and pkg-config to find it",
        probe: &["pkg-config", "--exists", "opus"],
        package: "libopus-dev pkg-config",
    },
];

/// What discord.js needs, and only `interop` runs it.
const NODE: &[Need] = &[
    Need {
        what: "Node.js",
        probe: &["node", "--version"],
        package: "nodejs",
    },
    Need {
        what: "npm",
        probe: &["npm", "--version"],
        package: "npm",
    },
];

/// The same for discord.py and hikari.
const PYTHON: &[Need] = &[Need {
    what: "Python 3 with venv and pip",
    probe: &["python3", "-c", "import ensurepip, venv"],
    package: "python3 python3-venv",
}];

/// Parts of the Rust toolchain that a minimal install leaves out; only `check` needs them.
const COMPONENTS: &[(&str, &[&str])] = &[
    ("rustfmt", &["cargo", "fmt", "--version"]),
    ("clippy", &["cargo", "clippy", "--version"]),
];

/// Looks for what the system must have; as root on Debian it installs what is missing.
pub(crate) fn run() -> Result<(), Error> {
    provide(NEEDS)?;
    for (component, probe) in COMPONENTS {
        if !works(probe) {
            eprintln!(
                "setup: {component} is not there (only `cargo xtask check` needs it): rustup component add {component}"
            );
        }
    }
    eprintln!("setup: the system has what is needed");
    Ok(())
}

/// The same for what only these clients need.
pub(crate) fn interop(clients: &[Client]) -> Result<(), Error> {
    if clients.iter().any(|client| client.needs_node()) {
        provide(NODE)?;
    }
    if clients.contains(&Client::Discordpy) || clients.contains(&Client::Hikari) {
        provide(PYTHON)?;
    }
    Ok(())
}

fn provide(needs: &[Need]) -> Result<(), Error> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !works(need.probe)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|need| need.what).collect();
    let packages: Vec<_> = missing
        .iter()
        .flat_map(|need| need.package.split(' '))
        .collect();
    install(&names.join(", "), &packages)
}

fn install(what: &str, packages: &[&str]) -> Result<(), Error> {
    let line = format!(
        "apt-get update && apt-get install -y {}",
        packages.join(" ")
    );
    if !(works(&["apt-get", "--version"]) && is_root()) {
        return Err(format!("{what} is missing. On Debian or Ubuntu, as root: {line}").into());
    }
    eprintln!("setup: {what} is missing; as root on Debian, installing: {line}");
    let status = Command::new("sh")
        .args(["-c", &line])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the installation failed; run it by hand: {line}").into())
    }
}

fn works(command: &[&str]) -> bool {
    let [program, arguments @ ..] = command else {
        return false;
    };
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
