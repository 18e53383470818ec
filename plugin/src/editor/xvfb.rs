//! An X server without a screen, for tests that need one.

use std::process::{Child, Command, Stdio};

/// A display of the test's own.
pub(crate) struct Display(Child, String);

impl Display {
    /// None where no Xvfb is installed.
    pub(crate) fn start() -> Option<Self> {
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "640x480x24"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let output = child.stdout.take()?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).ok()?;
        Some(Self(child, format!(":{}", line.trim())))
    }

    /// As `DISPLAY` has it.
    pub(crate) fn name(&self) -> &str {
        &self.1
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
