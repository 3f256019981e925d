use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::command::{Error, root};

/// Folders that hold state machines: no runtime, no socket, no clock may be named there.
const PURE: &[&str] = &[
    "spellcoven-discord-rest/src/limit",
    "spellcoven-discord-gateway/src/proto",
    "spellcoven-discord-gateway/src/tracker",
    "spellcoven-discord-voice/src/audio",
    "spellcoven-discord-voice/src/dave",
    "spellcoven-discord-voice/src/gateway",
    "spellcoven-discord-voice/src/media",
    "spellcoven-discord-voice/src/rtp",
    "spellcoven-discord-voice/src/session",
    "spellcoven-discord-voice/src/transport",
    "spellcoven-discord-voice/src/udp",
    "spellcoven-hub/src/wire",
    "spellcoven-hub/src/server/state",
    "spellcoven-discord-sim/src/core",
];
const IMPURE_WORDS: &[&str] = &["tokio", "std::net", "Instant::now", "SystemTime", "hyper"];

/// An example assembles; what it has to invent belongs in a library.
const EXAMPLE_LINES: usize = 150;

/// The rules of the repository that no compiler knows.
pub(crate) fn run() -> Result<(), Error> {
    let root = root();
    let mut faults = Vec::new();
    for folder in PURE {
        let files = rust_files(&root.join(folder))?;
        if files.is_empty() {
            faults.push(format!(
                "{folder} is gone: mend the list in xtask/src/tidy.rs"
            ));
        }
        // A test may begin time somewhere.
        for file in files
            .iter()
            .filter(|file| !is_test(file.strip_prefix(&root).unwrap_or(file)))
        {
            let text = fs::read_to_string(file)?;
            let code = text.lines().take_while(|line| *line != "mod tests {");
            for (number, line) in code.enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if let Some(word) = IMPURE_WORDS.iter().find(|word| code.contains(*word)) {
                    faults.push(format!(
                        "{}:{}: a state machine names {word}",
                        file.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    for file in rust_files(&root.join("examples/src/bin"))? {
        let lines = fs::read_to_string(&file)?.lines().count();
        if lines >= EXAMPLE_LINES {
            faults.push(format!(
                "{}: {lines} lines, an example has under {EXAMPLE_LINES}",
                file.display()
            ));
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n").into())
    }
}

/// `tests.rs`, `…_tests.rs`, or a file in a folder `tests`; the path is that inside the repository.
fn is_test(file: &Path) -> bool {
    let mut parts = file.iter().map(|part| part.to_string_lossy());
    parts.any(|part| part == "tests" || part.ends_with("tests.rs"))
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
