//! The engine's log: a file of this run, and that of the run before.

use std::fs::File;
use std::path::Path;

use protocol::places::Places;

/// Logs go to [`Places::log`] from here on; `RUST_LOG` chooses which.
///
/// # Errors
/// When the file cannot be made.
pub(crate) fn begin(places: &Places) -> std::io::Result<()> {
    let path = places.log();
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    let earlier = path.with_extension("log.1");
    // There may be none.
    let _ = std::fs::rename(&path, earlier);
    let file = File::create(&path)?;
    let usual = "warn,engine=info";
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| usual.into());
    let begun = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(file)
        .with_ansi(false)
        .with_target(false)
        .try_init();
    if begun.is_err() {
        return Err(std::io::Error::other("logs go elsewhere already"));
    }
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::force_capture();
        tracing::error!("{panic}\n{trace}");
    }));
    Ok(())
}
