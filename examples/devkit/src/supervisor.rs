//! Processes that are started again when they die, and stopped together.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How long a process has to end by itself once it was asked to.
const STOP_GRACE: Duration = Duration::from_secs(10);
const RESTART_FIRST: Duration = Duration::from_millis(200);
const RESTART_CAP: Duration = Duration::from_secs(5);
/// A process that lived this long starts its restart delay anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Clone)]
pub struct Service {
    /// The name in front of each line of its output.
    pub name: &'static str,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables set for it beside the inherited ones. May hold secrets: never printed.
    pub environment: Vec<(String, String)>,
}

/// Runs services, restarts one that dies, stops all of them.
pub struct Supervisor {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor of nothing yet. What its services print on standard output is swallowed; what they log on standard
    /// error is passed on, with their names in front.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: Vec::new(),
        }
    }

    /// Starts `service` and keeps it running until [`stop`](Self::stop).
    pub fn start(&mut self, service: Service) {
        let stop = self.stop.clone();
        self.tasks.push(tokio::spawn(keep_running(service, stop)));
    }

    /// Asks every service to end (SIGTERM), kills what has not ended within ten seconds, and returns when all are gone.
    ///
    /// # Cancel safety
    /// Services still running when the future is dropped are killed when their tasks are.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn keep_running(service: Service, stop: CancellationToken) {
    let mut delay = RESTART_FIRST;
    while !stop.is_cancelled() {
        let started = Instant::now();
        match spawn(&service) {
            Ok(mut child) => {
                let ended = tokio::select! {
                    biased;
                    () = stop.cancelled() => {
                        end(&mut child).await;
                        return;
                    }
                    ended = child.wait() => ended,
                };
                eprintln!(
                    "[local] {} ended ({}), starting it again",
                    service.name,
                    describe(&ended)
                );
            }
            Err(error) => eprintln!("[local] {} cannot be started: {error}", service.name),
        }
        if started.elapsed() >= HEALTHY_AFTER {
            delay = RESTART_FIRST;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
        delay = (delay * 2).min(RESTART_CAP);
    }
}

fn spawn(service: &Service) -> std::io::Result<Child> {
    let mut command = Command::new(&service.program);
    command
        .args(&service.arguments)
        .envs(
            service
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal reaches the whole group: the supervisor alone decides when its services stop.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(output) = child.stderr.take() {
        tokio::spawn(relay(service.name, output));
    }
    Ok(child)
}

async fn relay(name: &'static str, output: impl tokio::io::AsyncRead + Unpin) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("[{name}] {line}");
    }
}

async fn end(child: &mut Child) {
    if let Some(pid) = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?))
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(STOP_GRACE, child.wait())
        .await
        .is_err()
    {
        let _ = child.kill().await;
    }
}

fn describe(ended: &std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Service {
        Service {
            name: "test",
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
        }
    }

    /// Waits until the file has as many lines; each start of the service writes one, its process id.
    async fn starts(file: &std::path::Path, count: usize) -> Vec<String> {
        loop {
            let lines = std::fs::read_to_string(file).unwrap_or_default();
            if lines.lines().count() >= count {
                return lines.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let file = std::env::temp_dir().join(format!("spellcoven-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        file
    }

    #[tokio::test]
    async fn a_service_that_dies_is_started_again_and_stopped_in_the_end() {
        let file = scratch("restarts");
        let mut supervisor = Supervisor::new();
        supervisor.start(shell(&format!(
            "echo $$ >> {}; exec sleep 1000",
            file.display()
        )));
        let pid: i32 = starts(&file, 1).await[0].parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let last: i32 = starts(&file, 2).await[1].parse().unwrap();
        supervisor.stop().await;
        let last = rustix::process::Pid::from_raw(last).unwrap();
        assert!(
            rustix::process::test_kill_process(last).is_err(),
            "it still runs"
        );
        std::fs::remove_file(&file).unwrap();
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_does_not_keep_the_others_from_stopping() {
        let mut supervisor = Supervisor::new();
        supervisor.start(Service {
            program: "/nowhere/at-all".into(),
            ..shell("")
        });
        supervisor.start(shell("exec sleep 1000"));
        supervisor.stop().await;
    }
}
