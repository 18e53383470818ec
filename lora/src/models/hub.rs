//! Files of the Hugging Face hub: found in its cache where every tool of that world looks, fetched if they are not there.
//!
//! `HF_HUB_CACHE` or `HF_HOME` say where the cache is, `HF_HUB_OFFLINE=1` forbids the network, `HF_TOKEN` (or the token file of a login)
//! opens gated repositories, `HF_ENDPOINT` names another server.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo};

use super::catalog::RemoteFile;
use crate::error::LoraError;
use crate::progress::Progress;

/// Access to the hub and its cache.
#[derive(Debug, Clone)]
pub struct Hub {
    cache: PathBuf,
    offline: bool,
}

impl Hub {
    /// As the environment says.
    pub fn from_env() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let cache = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.map(PathBuf::from);
        let offline = variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE"));
        Self {
            // The crate's own default panics where there is no home folder.
            cache: cache.unwrap_or_else(|| home().join("hub")),
            offline: offline.is_some_and(|value| {
                let value = value.to_string_lossy().to_ascii_lowercase();
                ["1", "true", "yes", "on"].contains(&value.as_str())
            }),
        }
    }

    /// A cache without a network behind it.
    pub fn offline_at(cache: PathBuf) -> Self {
        let offline = true;
        Self { cache, offline }
    }

    /// Whether the network is forbidden.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The cache's folder.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The file in the cache, if it is there.
    pub fn find(&self, file: &RemoteFile) -> Option<PathBuf> {
        let repo = Repo::model(file.repository.to_owned());
        let folder = self.cache.join(repo.folder_name());
        let cached = Cache::new(self.cache.clone()).repo(repo).get(file.file);
        // Copies of a cache may lack the note which revision is the newest.
        cached.or_else(|| {
            let snapshots = std::fs::read_dir(folder.join("snapshots")).ok()?;
            let paths = snapshots
                .flatten()
                .map(|entry| entry.path().join(file.file));
            paths.filter(|path| path.exists()).max()
        })
    }

    /// The file in the cache, fetched first if need be.
    ///
    /// # Errors
    /// [`LoraError::NotFetched`], which says what to put where.
    pub fn get(
        &self,
        file: &RemoteFile,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, LoraError> {
        if let Some(path) = self.find(file) {
            return Ok(path);
        }
        if self.offline {
            return Err(self.not_fetched(&[*file], "HF_HUB_OFFLINE forbids the network".to_owned()));
        }
        self.download(file, progress)
            .map_err(|reason| self.not_fetched(&[*file], reason))
    }

    /// All of these files, in order.
    ///
    /// # Errors
    /// [`LoraError::NotFetched`], which names every one that is missing.
    pub fn get_all(
        &self,
        files: &[RemoteFile],
        progress: &mut dyn Progress,
    ) -> Result<Vec<PathBuf>, LoraError> {
        let mut paths = Vec::new();
        for file in files {
            match self.get(file, progress) {
                Ok(path) => paths.push(path),
                Err(LoraError::NotFetched { reason, .. }) => {
                    let missing = files.iter().filter(|file| self.find(file).is_none());
                    let missing: Vec<RemoteFile> = missing.copied().collect();
                    return Err(self.not_fetched(&missing, reason));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(paths)
    }

    fn download(&self, file: &RemoteFile, progress: &mut dyn Progress) -> Result<PathBuf, String> {
        progress.note(&format!(
            "fetching {} of {}, about {} MB, licence: {}",
            file.file, file.repository, file.about_megabytes, file.licence
        ));
        // The builder's own defaults panic where there is no home folder.
        let mut api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_token(token())
            .with_progress(false);
        if let Ok(endpoint) = std::env::var("HF_ENDPOINT") {
            api = api.with_endpoint(endpoint);
        }
        let api = api.build();
        let repo = api
            .map_err(|error| error.to_string())?
            .repo(Repo::model(file.repository.to_owned()));
        let result = repo.download_with_progress(file.file, Megabytes::of(progress));
        progress.end();
        result.map_err(|error| error.to_string())
    }

    fn not_fetched(&self, files: &[RemoteFile], reason: String) -> LoraError {
        let missing = |file: &RemoteFile| {
            let folder = Repo::model(file.repository.to_owned()).folder_name();
            let snapshot = self.cache.join(folder).join("snapshots").join("main");
            format!(
                "{} of {}, about {} MB: `huggingface-cli download {} {}`, or put it at {}",
                file.file,
                file.repository,
                file.about_megabytes,
                file.repository,
                file.file,
                snapshot.join(file.file).display()
            )
        };
        let mut flags: Vec<&str> = files.iter().map(|file| file.flag).collect();
        flags.dedup();
        let missing: Vec<String> = files.iter().map(missing).collect();
        LoraError::NotFetched {
            files: missing.join("\n  "),
            reason,
            flags: flags.join(" and "),
        }
    }
}

/// The token of the environment or, where that has none, of a login.
fn token() -> Option<String> {
    let said = |text: String| Some(text.trim().to_owned()).filter(|token| !token.is_empty());
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let file = || {
        let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
        let path = path.unwrap_or_else(|| home().join("token"));
        std::fs::read_to_string(path).ok()
    };
    let given = std::env::var("HF_TOKEN").ok().and_then(said);
    given.or_else(|| file().and_then(said))
}

/// `HF_HOME`, or what stands for it.
fn home() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let own = variable("HF_HOME").map(PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").map(PathBuf::from);
    let user = || variable("HOME").or_else(|| variable("USERPROFILE"));
    own.unwrap_or_else(|| {
        let cache = cache().or_else(|| user().map(|home| PathBuf::from(home).join(".cache")));
        cache.unwrap_or_default().join("huggingface")
    })
}

/// Counts bytes as megabytes of a progress bar.
struct Megabytes<'a> {
    progress: &'a mut dyn Progress,
    bytes: usize,
    shown: usize,
}

impl<'a> Megabytes<'a> {
    fn of(progress: &'a mut dyn Progress) -> Self {
        Self {
            progress,
            bytes: 0,
            shown: 0,
        }
    }
}

impl hf_hub::api::Progress for Megabytes<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.progress.begin("fetching", size >> 20);
    }

    fn update(&mut self, size: usize) {
        self.bytes += size;
        while self.shown < self.bytes >> 20 {
            self.shown += 1;
            self.progress.advance();
        }
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{KNOWN_MODELS, STYLE_ENCODER};
    use crate::progress::Silent;

    #[test]
    fn a_file_in_the_cache_is_found_with_and_without_its_revision() {
        let folder = tempfile::tempdir().unwrap();
        let file = KNOWN_MODELS[0].transformer;
        let hub = Hub::offline_at(folder.path().to_owned());
        assert_eq!(hub.find(&file), None);
        let repository = folder.path().join("models--ASLP-lab--DiffRhythm-base");
        let snapshot = repository.join("snapshots/0123");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::write(snapshot.join(file.file), "x").unwrap();
        assert_eq!(hub.find(&file), Some(snapshot.join(file.file)));
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), "0123").unwrap();
        assert_eq!(hub.find(&file), Some(snapshot.join(file.file)));
    }

    #[test]
    fn a_missing_file_is_told_with_its_size_its_place_and_its_flag() {
        let hub = Hub::offline_at("cache".into());
        let told = |files: &[RemoteFile]| hub.get_all(files, &mut Silent).unwrap_err().to_string();
        let error = told(&STYLE_ENCODER.files);
        for word in ["config.json", "2700 MB", "with --style-encoder"] {
            assert!(error.contains(word), "{word}: {error}");
        }
        let error = told(&[KNOWN_MODELS[0].transformer, KNOWN_MODELS[0].autoencoder]);
        for word in [
            "vae_model.pt",
            "with --model and --vae",
            "cfm_model.pt",
            "ASLP-lab/DiffRhythm-base",
            "2220 MB",
            "models--ASLP-lab--DiffRhythm-base",
            "HF_HUB_OFFLINE",
        ] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
