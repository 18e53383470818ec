//! From a program's start to its first useful work.

use std::process::Command;

use anyhow::{Result, bail};

use crate::Run;

/// Starts this program for one step of a clip and waits for its end.
pub(crate) fn process() -> Result<Run> {
    let program = std::env::current_exe()?;
    Ok(Run::new(move || {
        let output = Command::new(&program)
            .args(["first-step", "--runs", "0"])
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => bail!("{}", String::from_utf8_lossy(&output.stderr)),
        }
    }))
}
