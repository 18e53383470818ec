//! Where things are: the user's folders, the socket, the engine's program.
//!
//! `LORELEI_HOME` puts all of them under one folder, and `LORELEI_ENGINE` names the engine's program; both are for tests and for people who want
//! several installations side by side.

use std::path::{Path, PathBuf};

use crate::PROTOCOL_VERSION;
use crate::error::ProtocolError;

/// The engine's program.
pub const ENGINE_NAME: &str = if cfg!(windows) {
    "lorelei-engine.exe"
} else {
    "lorelei-engine"
};

/// Longest path of a socket in bytes: what fits into `sun_path` beside the end of the text, which is 108 on Linux and 104 on macOS and the BSDs.
const MOST_SOCKET_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The user's folders.
#[derive(Debug, Clone)]
pub struct Places {
    data: PathBuf,
    cache: PathBuf,
    run: PathBuf,
    music: PathBuf,
}

impl Places {
    /// Of this user.
    ///
    /// # Errors
    /// When the system names no folders for this user.
    pub fn of_user() -> Result<Self, ProtocolError> {
        match std::env::var_os("LORELEI_HOME") {
            Some(home) if !home.is_empty() => Ok(Self::under(Path::new(&home))),
            _ => Self::of_system().ok_or_else(|| ProtocolError::Folder {
                path: PathBuf::from("~"),
                problem: "the system names no home folder; set LORELEI_HOME".to_owned(),
            }),
        }
    }

    /// All under one folder.
    pub fn under(home: &Path) -> Self {
        Self {
            data: home.join("data"),
            cache: home.join("cache"),
            run: home.join("run"),
            music: home.join("music"),
        }
    }

    fn of_system() -> Option<Self> {
        let cache = dirs::cache_dir()?.join("lorelei");
        let data = dirs::data_dir()?.join("lorelei");
        let run = dirs::runtime_dir().map_or_else(|| cache.join("run"), |run| run.join("lorelei"));
        let music =
            dirs::audio_dir().map_or_else(|| data.join("music"), |music| music.join("Lorelei"));
        Some(Self {
            data,
            cache,
            run,
            music,
        })
    }

    /// Adapters that are listed by themselves, each a `.safetensors` file.
    pub fn adapters(&self) -> PathBuf {
        self.data.join("adapters")
    }

    /// Training runs of the engine.
    pub fn runs(&self) -> PathBuf {
        self.data.join("runs")
    }

    /// Where `cargo xtask install` puts the engine.
    pub fn programs(&self) -> PathBuf {
        self.data.join("bin")
    }

    /// Clips by their key.
    pub fn clips(&self) -> PathBuf {
        self.cache.join("clips")
    }

    /// Sound that plugins bring.
    pub fn inputs(&self) -> PathBuf {
        self.cache.join("inputs")
    }

    /// Clips that went into other programs by drag or export; nothing is ever deleted there.
    pub fn music(&self) -> PathBuf {
        self.music.clone()
    }

    /// The engine's log, of this run and, with another ending, the one before. Engines of two versions run side by side, each with its own.
    pub fn log(&self) -> PathBuf {
        self.cache.join(format!("engine-{PROTOCOL_VERSION}.log"))
    }

    /// The socket; on Windows it stands for the named pipe.
    pub fn socket(&self) -> PathBuf {
        self.run.join(format!("engine-{PROTOCOL_VERSION}.socket"))
    }

    /// Held locked by the engine that runs.
    pub fn lock(&self) -> PathBuf {
        self.run.join(format!("engine-{PROTOCOL_VERSION}.lock"))
    }

    /// Makes the socket's folder, which nobody else may enter.
    ///
    /// # Errors
    /// When it cannot be made, or belongs to somebody else, or its name is too long for a socket.
    pub fn make_run_folder(&self) -> Result<(), ProtocolError> {
        let problem = |error: std::io::Error| ProtocolError::Folder {
            path: self.run.clone(),
            problem: error.to_string(),
        };
        self.check_socket()?;
        std::fs::create_dir_all(&self.run).map_err(problem)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Fails where the folder is another user's, so that nobody can lay one in the way.
            let private = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(&self.run, private).map_err(problem)?;
        }
        Ok(())
    }

    /// Systems bound the length of a socket's path, and what is longer cannot be listened at.
    fn check_socket(&self) -> Result<(), ProtocolError> {
        let bytes = self.socket().as_os_str().len();
        if cfg!(windows) || bytes <= MOST_SOCKET_BYTES {
            return Ok(());
        }
        Err(ProtocolError::Folder {
            path: self.run.clone(),
            problem: format!(
                "the path of the engine's socket in it has {bytes} bytes, and the system takes {MOST_SOCKET_BYTES}; name a shorter folder in LORELEI_HOME, or in XDG_RUNTIME_DIR"
            ),
        })
    }

    /// Where the engine's program may be, the first one first: `LORELEI_ENGINE`, beside the plugin's library or its bundle, the folder of
    /// `cargo xtask install`, the folders of `PATH`.
    pub fn engine_candidates(&self, library: Option<&Path>) -> Vec<PathBuf> {
        let mut candidates = Vec::new();
        if let Some(engine) = std::env::var_os("LORELEI_ENGINE").filter(|engine| !engine.is_empty())
        {
            // Named by hand: nothing else is meant.
            return vec![PathBuf::from(engine)];
        }
        // A VST3 bundle holds its library at Lorelei.vst3/Contents/x86_64-linux/Lorelei.so; any other file has but one place beside it.
        let is_bundled = library.is_some_and(|library| {
            let mut folders = library.ancestors().skip(1).take(3);
            folders.any(|folder| folder.extension().is_some_and(|ending| ending == "vst3"))
        });
        let depth = if is_bundled { 4 } else { 1 };
        let folders = library
            .into_iter()
            .flat_map(|library| library.ancestors().skip(1).take(depth));
        for folder in folders {
            candidates.push(folder.join(ENGINE_NAME));
            candidates.push(folder.join("Resources").join(ENGINE_NAME));
        }
        candidates.push(self.programs().join(ENGINE_NAME));
        let path = std::env::var_os("PATH").unwrap_or_default();
        candidates.extend(std::env::split_paths(&path).map(|folder| folder.join(ENGINE_NAME)));
        candidates.retain(|candidate| candidate.is_absolute());
        candidates
    }

    /// The engine's program.
    ///
    /// # Errors
    /// When it is at none of its places.
    pub fn engine(&self, library: Option<&Path>) -> Result<PathBuf, ProtocolError> {
        let mut looked = self.engine_candidates(library);
        match looked.iter().position(|candidate| candidate.is_file()) {
            Some(found) => Ok(looked.swap_remove(found)),
            None => Err(ProtocolError::NoEngine { looked }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_found_beside_a_bundle_first() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::under(home.path());
        let library = home
            .path()
            .join("Lorelei.vst3/Contents/x86_64-linux/Lorelei.so");
        let missing = places.engine(Some(&library)).unwrap_err().to_string();
        assert!(
            missing.contains("not installed") && missing.contains("Lorelei.vst3"),
            "{missing}"
        );
        std::fs::create_dir_all(places.programs()).unwrap();
        let installed = places.programs().join(ENGINE_NAME);
        std::fs::write(&installed, "").unwrap();
        assert_eq!(places.engine(Some(&library)).unwrap(), installed);
        let beside = home.path().join("Lorelei.vst3/Contents").join(ENGINE_NAME);
        std::fs::create_dir_all(beside.parent().unwrap()).unwrap();
        std::fs::write(&beside, "").unwrap();
        assert_eq!(places.engine(Some(&library)).unwrap(), beside);
    }

    #[cfg(unix)]
    #[test]
    fn a_home_too_deep_for_a_socket_is_told_before_anything_is_made() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("deep".repeat(30));
        let refused = Places::under(&deep).make_run_folder().unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("LORELEI_HOME"), "{text}");
        assert!(!deep.exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_enter_the_sockets_folder() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let places = Places::under(home.path());
        places.make_run_folder().unwrap();
        let folder = places.socket().parent().unwrap().to_owned();
        let mode = std::fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
