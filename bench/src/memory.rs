//! Peak memory of this process.

use anyhow::{Context, Result};

/// The most memory that was resident at any time, in bytes.
///
/// # Errors
/// Where the system has no `/proc`.
pub(crate) fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("peak memory is read from /proc, which is missing")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .context("/proc/self/status has no VmHWM line")?;
    Ok(kibibytes * 1024)
}
