//! A real engine in a process and a home of its own, and what plugins say to it.
#![allow(dead_code, reason = "every test takes what it needs")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use protocol::places::{ENGINE_NAME, Places};
use protocol::{BaseChoice, Client, ClipFile, FromEngine, Metre, Problem, Recipe, ToEngine};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Home {
    folder: tempfile::TempDir,
    pub(crate) places: Places,
}

impl Home {
    /// A home whose engine has these flags.
    pub(crate) fn new(flags: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let program = folder.path().join(ENGINE_NAME);
        // The environment of the tests is shared, so that it is the engine's own that is set.
        let script = format!(
            "#!/bin/sh\necho $$ > '{home}/pid'\nLORELEI_HOME='{home}' HF_HUB_CACHE='{home}/hub' exec '{engine}' --threads 2 {flags}\n",
            home = folder.path().display(),
            engine = env!("CARGO_BIN_EXE_lorelei-engine"),
        );
        std::fs::write(&program, script).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, places }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The plugin's own file, which is beside the engine.
    pub(crate) fn library(&self) -> PathBuf {
        self.path().join("Lorelei.clap")
    }

    /// A plugin; the first one starts the engine.
    pub(crate) fn connect(&self) -> Plugin {
        let library = self.library();
        let (client, hear) =
            Client::connect(&self.places, Some(&library), "a test", &|| false, || {}).unwrap();
        Plugin { client, hear }
    }

    pub(crate) fn pid(&self) -> String {
        let text = std::fs::read_to_string(self.path().join("pid")).unwrap();
        text.trim().to_owned()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill")
            .args([signal, &self.pid()])
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.places.log()).unwrap_or_default()
    }

    /// Waits until something is so.
    pub(crate) fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(
                Instant::now() < deadline,
                "never: {what}; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) struct Plugin {
    pub(crate) client: Client,
    pub(crate) hear: Receiver<FromEngine>,
}

impl Plugin {
    pub(crate) fn say(&self, message: &ToEngine) {
        self.client.say(message).unwrap();
    }

    pub(crate) fn generate(&self, job: u64, recipe: &Recipe) {
        let recipe = Box::new(recipe.clone());
        self.say(&ToEngine::Generate { job, recipe });
    }

    /// The next message that `take` wants; the others are passed over.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        mut take: impl FnMut(FromEngine) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut passed = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.hear.recv_timeout(left) {
                Ok(message) => {
                    let shown = format!("{message:?}");
                    match take(message) {
                        Some(found) => return found,
                        None => passed.push(shown),
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("never: {what}; heard: {passed:#?}")
                }
            }
        }
    }

    /// How a job ends.
    pub(crate) fn ending(&self, wanted: u64) -> Result<(ClipFile, Recipe), Option<Problem>> {
        self.wait_for("an end", |message| match message {
            FromEngine::Made { job, clip, recipe } if job == wanted => Some(Ok((clip, *recipe))),
            FromEngine::Failed { job, problem } if job == wanted => Some(Err(Some(problem))),
            FromEngine::Stopped { job } if job == wanted => Some(Err(None)),
            _ => None,
        })
    }

    pub(crate) fn made(&self, job: u64, recipe: &Recipe) -> (ClipFile, Recipe) {
        self.generate(job, recipe);
        self.ending(job).unwrap()
    }

    pub(crate) fn refused(&self, job: u64, recipe: &Recipe) -> Problem {
        self.generate(job, recipe);
        self.ending(job).unwrap_err().unwrap()
    }
}

/// A clip that is made in a moment.
pub(crate) fn recipe(seed: u64) -> Recipe {
    Recipe {
        base: BaseChoice {
            name: "embedded".to_owned(),
            identity: None,
        },
        adapters: Vec::new(),
        prompt: "lofi, piano".to_owned(),
        bars: 1,
        metre: Metre::default(),
        tempo_bpm: 120.0,
        key: Some("a-minor".to_owned()),
        seed,
        steps: Some(2),
        guidance: None,
        source: None,
        engine: String::new(),
    }
}

/// One that takes long enough to be interrupted.
pub(crate) fn long_recipe(seed: u64) -> Recipe {
    Recipe {
        bars: 8,
        steps: Some(400),
        ..recipe(seed)
    }
}
