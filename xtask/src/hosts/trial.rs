//! One host's script: run with a home of its own, for a bounded time, and cleaned up after.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long a host may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked after.
const GLANCE: Duration = Duration::from_millis(100);
/// Exit status of a script that cannot run here.
const NOT_RUN: i32 = 77;
/// Lines of a failed script that are shown.
const LAST_LINES: usize = 40;

/// What is run with what.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    pub(super) script: &'a Path,
    pub(super) python: &'a Path,
    pub(super) plugin: &'a Path,
    /// Where screenshots go.
    pub(super) artefacts: &'a Path,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With its figures.
    Passed(Vec<String>),
    /// With its last words.
    Failed(String),
    /// With the reason.
    NotRun(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(figures) => write!(formatter, "ok: {}", figures.join("; ")),
            Self::Failed(words) => write!(formatter, "FAILED\n{words}"),
            Self::NotRun(reason) => write!(formatter, "not run: {reason}"),
        }
    }
}

impl Trial<'_> {
    pub(super) fn run(&self) -> Result<Outcome> {
        // Short, because a socket's path may have about a hundred bytes.
        let folder = tempfile::Builder::new().prefix("lorelei-host-").tempdir()?;
        let home = folder.path().join("home");
        let [said, complained] = ["said", "complained"].map(|name| folder.path().join(name));
        let mut command = Command::new(self.python);
        command
            .arg("-B")
            .arg(self.script)
            .arg("--plugin")
            .arg(self.plugin)
            .arg("--work")
            .arg(folder.path().join("work"))
            .arg("--artefacts")
            .arg(self.artefacts)
            .env("LORELEI_HOME", &home)
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .stderr(File::create(&complained)?);
        if let Some(plugins) = self.plugin.parent() {
            command.env("VST3_PATH", plugins).env("CLAP_PATH", plugins);
        }
        let status = match bounded(&mut command, PATIENCE) {
            Ok(status) => status,
            Err(error) => {
                let reason = format!("{} does not start: {error}", self.python.display());
                return Ok(Outcome::NotRun(reason));
            }
        };
        // Engines are in groups of their own, and outlive their hosts for some minutes.
        end_engines_below(folder.path());
        let read =
            |path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(outcome(status, &read(&said)?, &read(&complained)?))
    }
}

/// Runs a command in a process group of its own, which is ended after it, or when it takes too long: then there is no status.
pub(super) fn bounded(
    command: &mut Command,
    patience: Duration,
) -> std::io::Result<Option<ExitStatus>> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = command.spawn()?;
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() >= deadline => break None,
            None => std::thread::sleep(GLANCE),
        }
    };
    end_group(&mut child);
    Ok(status)
}

fn end_group(child: &mut Child) {
    // A group whose processes have all ended is none any more, which is as good.
    let group = format!("-{}", child.id());
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

/// Ends every process whose home is in this folder.
fn end_engines_below(folder: &Path) {
    let mark = format!("LORELEI_HOME={}/", folder.display());
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let is_meant = std::fs::read(process.path().join("environ")).is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable.starts_with(mark.as_bytes()))
        });
        if is_meant {
            let _ = Command::new("kill").arg(process.file_name()).status();
        }
    }
}

fn outcome(status: Option<ExitStatus>, said: &str, complained: &str) -> Outcome {
    let lines_of = |start: &str| -> Vec<String> {
        let lines = said.lines().filter_map(|line| line.strip_prefix(start));
        lines.map(str::to_owned).collect()
    };
    match status {
        Some(status) if status.success() => Outcome::Passed(lines_of("figure ")),
        Some(status) if status.code() == Some(NOT_RUN) => {
            Outcome::NotRun(lines_of("not run: ").join("; "))
        }
        _ => {
            let end = match status {
                Some(status) => status.to_string(),
                None => format!("it did not end within {} s", PATIENCE.as_secs()),
            };
            let lines: Vec<&str> = said.lines().chain(complained.lines()).collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            Outcome::Failed(format!("{}\n{end}", last.join("\n")))
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn ran(script: &str, patience: Duration) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("said");
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdout(File::create(&path).unwrap());
        let status = bounded(&mut command, patience).unwrap();
        outcome(status, &std::fs::read_to_string(path).unwrap(), "")
    }

    #[test]
    fn scripts_pass_fail_or_are_not_run() {
        let patience = Duration::from_secs(60);
        let passed = ran("echo figure scan: 3 ms; echo more", patience);
        assert_eq!(passed, Outcome::Passed(vec!["scan: 3 ms".to_owned()]));
        let not_run = ran("echo not run: no host; exit 77", patience);
        assert_eq!(not_run, Outcome::NotRun("no host".to_owned()));
        assert!(matches!(ran("exit 1", patience), Outcome::Failed(_)));
        assert!(matches!(ran("kill -SEGV $$", patience), Outcome::Failed(_)));
    }

    #[test]
    fn a_script_that_hangs_is_ended_with_its_children() {
        let started = Instant::now();
        let outcome = ran(
            "sh -c 'trap \"\" TERM; sleep 60' & sleep 60",
            Duration::from_millis(300),
        );
        assert!(
            matches!(&outcome, Outcome::Failed(words) if words.contains("did not end")),
            "{outcome}"
        );
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
