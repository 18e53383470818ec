//! What the plugin's tests share.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub(crate) mod clap_host;
pub(crate) mod fake_engine;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use protocol::places::Places;

/// A home of this test program's own. Where the engine's program would be is nothing.
pub(crate) fn home() -> &'static Places {
    static HOME: OnceLock<(tempfile::TempDir, Places)> = OnceLock::new();
    let (_, places) = HOME.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        // SAFETY: every test comes through here before it starts a thread that reads the environment.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var("LORELEI_HOME", folder.path());
            std::env::set_var("LORELEI_ENGINE", folder.path().join("no-such-engine"));
        }
        let places = Places::under(folder.path());
        (folder, places)
    });
    places
}

/// The plugin's library, built beside the tests.
pub(crate) fn library() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().unwrap();
    let name = format!(
        "{}plugin{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let library = folder.join(name);
    assert!(library.is_file(), "{}: not built", library.display());
    library
}

/// Waits until something is so; it takes milliseconds, and a minute on a machine that is busy.
pub(crate) fn wait_for<T>(
    what: &str,
    mut is_so: impl FnMut() -> Option<T>,
    describe: impl Fn() -> String,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = is_so() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited in vain: {what}; {}",
            describe()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
