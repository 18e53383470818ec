//! The training runs of the engine: a folder each under the user's own.
//!
//! ```text
//! runs/NAME/request.json   what was asked for
//!           segments/      the recordings, cut
//!           run/           lora-train's run folder: checkpoints, figures, report
//!           adapter.safetensors   once it is trained
//!           finished       once the adapter is among the user's
//! ```

use std::path::{Path, PathBuf};

use protocol::messages::MOST_RECORDINGS;
use protocol::places::Places;
use protocol::{LearnRequest, Problem, ProblemKind, RunInfo};

use crate::problem::{of_writing, problem};

const REQUEST: &str = "request.json";
const FINISHED: &str = "finished";
/// What the names of folders begin with that are being deleted; no run's does.
const DISCARDED: char = '.';
/// Longest name of an adapter, in letters.
const MOST_NAME_CHARS: usize = 80;
/// Steps that can be asked for.
const STEPS: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Steps of a run that asks for none, until its configuration says.
const USUAL_STEPS: u32 = 300;

/// A run's folder.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) name: String,
    folder: PathBuf,
}

/// Whether a request makes sense, without a look at the recordings.
///
/// # Errors
/// What to change.
pub(crate) fn check(request: &LearnRequest) -> Result<(), Problem> {
    let refuse = |text: String| Err(problem(ProblemKind::BadRequest, text));
    if stem(&request.name).is_empty() {
        return refuse("the new adapter needs a name with letters in it".to_owned());
    }
    if request.name.chars().count() > MOST_NAME_CHARS {
        return refuse(format!(
            "the new adapter's name is too long; {MOST_NAME_CHARS} letters are the most"
        ));
    }
    if request.recordings.is_empty() {
        return refuse("there are no recordings to learn from; drop some".to_owned());
    }
    if request.recordings.len() > MOST_RECORDINGS {
        return refuse(format!(
            "{} recordings are too many to name one by one; put them into a folder and drop that",
            request.recordings.len()
        ));
    }
    if request.steps.is_some_and(|steps| !STEPS.contains(&steps)) {
        return refuse("training takes 1 to 1000000 steps".to_owned());
    }
    Ok(())
}

/// A name as the stem of a file: letters, digits and a few signs of any script.
pub(crate) fn stem(name: &str) -> String {
    let kept = |letter: char| match letter {
        letter if letter.is_alphanumeric() => letter,
        '-' | '_' | ' ' => letter,
        _ => '-',
    };
    let stem: String = name
        .trim()
        .chars()
        .map(kept)
        .take(MOST_NAME_CHARS)
        .collect();
    let has_letters = stem.chars().any(char::is_alphanumeric);
    match has_letters {
        true => stem.trim_matches([' ', '-']).to_owned(),
        false => String::new(),
    }
}

/// Unfinished runs, the newest first; the one of this name is at work.
pub(crate) fn list(places: &Places, under_way: Option<&str>) -> Vec<RunInfo> {
    let entries = std::fs::read_dir(places.runs()).into_iter().flatten();
    let mut runs: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let run = Run::named(places, &name).ok()?;
            let request = run.request().ok().filter(|_| !run.is_finished())?;
            let begun = std::fs::metadata(run.folder.join(REQUEST))
                .ok()?
                .modified()
                .ok()?;
            let info = RunInfo {
                is_under_way: under_way == Some(&name),
                run: name,
                name: request.name,
                steps_done: run.steps_done(),
                steps: request.steps.unwrap_or(USUAL_STEPS),
            };
            Some((begun, info))
        })
        .collect();
    runs.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.run.cmp(&right.1.run)));
    runs.into_iter().map(|(_, info)| info).collect()
}

/// Deletes what is left of runs that were deleted.
pub(crate) fn sweep(places: &Places) {
    let entries = std::fs::read_dir(places.runs()).into_iter().flatten();
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(DISCARDED)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!("{}: {error}", entry.path().display());
        }
    }
}

impl Run {
    /// A new run. Its name is told before it can be listed.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub(crate) fn begin(
        places: &Places,
        request: &LearnRequest,
        named: impl Fn(&str),
    ) -> Result<Self, Problem> {
        let runs = places.runs();
        std::fs::create_dir_all(&runs).map_err(|error| of_writing(&runs, &error))?;
        let stem = stem(&request.name);
        let mut number = 1;
        let (name, folder) = loop {
            let name = format!("{stem}-{number}");
            let folder = runs.join(&name);
            match std::fs::create_dir(&folder) {
                Ok(()) => break (name, folder),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(of_writing(&folder, &error)),
            }
        };
        named(&name);
        let path = folder.join(REQUEST);
        let text = serde_json::to_vec_pretty(request)
            .map_err(|error| problem(ProblemKind::Internal, error.to_string()))?;
        dataset::write_aside(&path, &text).map_err(|error| of_writing(&path, &error))?;
        Ok(Self { name, folder })
    }

    /// An earlier run.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) fn named(places: &Places, name: &str) -> Result<Self, Problem> {
        let is_plain = Path::new(name).components().count() == 1
            && Path::new(name)
                .file_name()
                .is_some_and(|plain| plain == name);
        let folder = places.runs().join(name);
        if !is_plain || name.starts_with(DISCARDED) || !folder.join(REQUEST).is_file() {
            return Err(problem(
                ProblemKind::MissingFile,
                format!(
                    "there is no training run {:?} any more",
                    name.chars().take(MOST_NAME_CHARS).collect::<String>()
                ),
            ));
        }
        let name = name.to_owned();
        Ok(Self { name, folder })
    }

    /// What was asked for.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn request(&self) -> Result<LearnRequest, Problem> {
        let path = self.folder.join(REQUEST);
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        let parsed =
            read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        parsed.map_err(|text| {
            let text = format!("{}: {text}; begin the training anew", path.display());
            problem(ProblemKind::MissingFile, text)
        })
    }

    /// The cut recordings.
    pub(crate) fn segments(&self) -> PathBuf {
        self.folder.join("segments")
    }

    /// The trainer's folder.
    pub(crate) fn training(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Where the trainer puts the adapter.
    pub(crate) fn adapter(&self) -> PathBuf {
        self.folder.join("adapter.safetensors")
    }

    /// A mark that all recordings are cut.
    pub(crate) fn cut_mark(&self) -> PathBuf {
        self.folder.join("cut")
    }

    /// Whether somebody trains in it: this engine, one of another version, or `lora-train`.
    pub(crate) fn is_locked(&self) -> bool {
        lora::train::is_at_work(&self.training())
    }

    /// Whether the adapter is among the user's.
    pub(crate) fn is_finished(&self) -> bool {
        self.folder.join(FINISHED).exists()
    }

    /// Marks the run as finished, and gives its space back but for the report.
    pub(crate) fn finish(&self) {
        let mark = self.folder.join(FINISHED);
        // The mark that is there takes another name, for which a full disk has room, too.
        let marked = std::fs::rename(self.cut_mark(), &mark)
            .or_else(|_| std::fs::write(&mark, b""))
            .inspect(|()| dataset::sync_folder(&mark));
        if let Err(error) = marked {
            // Without the mark the run can be gone on with, for which everything must be there.
            tracing::warn!("{}: {error}", mark.display());
            return;
        }
        // The adapter is where it belongs: what goes wrong here costs space alone.
        let _ = std::fs::remove_dir_all(self.segments());
        let _ = std::fs::remove_dir_all(self.training().join("checkpoints"));
        let _ = std::fs::remove_file(self.adapter());
    }

    /// Deletes all of it.
    ///
    /// # Errors
    /// When that is not possible; what is left of it is no run any more.
    pub(crate) fn discard(&self) -> Result<(), Problem> {
        // Under another name first: what is half deleted is no run any more, and is swept away later.
        let away = self
            .folder
            .with_file_name(format!("{DISCARDED}{}", self.name));
        let _ = std::fs::remove_dir_all(&away);
        std::fs::rename(&self.folder, &away).map_err(|error| of_writing(&self.folder, &error))?;
        std::fs::remove_dir_all(&away).map_err(|error| of_writing(&away, &error))
    }

    /// Steps of the newest checkpoint, as the trainer names it.
    pub(crate) fn steps_done(&self) -> u32 {
        let entries = std::fs::read_dir(self.training().join("checkpoints"));
        let steps = entries.into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
            number.parse().ok()
        });
        steps.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> LearnRequest {
        LearnRequest {
            name: name.to_owned(),
            recordings: vec!["a.wav".into()],
            base: "embedded".to_owned(),
            steps: Some(10),
        }
    }

    #[test]
    fn names_become_files_and_stay_in_their_folder() {
        assert_eq!(stem(" Grandma's Songs "), "Grandma-s Songs");
        assert_eq!(stem("../../etc/passwd"), "etc-passwd");
        assert_eq!(stem("日本"), "日本");
        assert_eq!(stem("../."), "");
        for bad in ["", " ", "...", &"x".repeat(81)] {
            assert!(check(&request(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn unfinished_runs_are_listed() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::under(home.path());
        assert!(list(&places, None).is_empty());
        let first = Run::begin(&places, &request("mine"), |_| {}).unwrap();
        let second = Run::begin(&places, &request("mine"), |_| {}).unwrap();
        assert_eq!(
            (first.name.as_str(), second.name.as_str()),
            ("mine-1", "mine-2")
        );
        let checkpoints = second.training().join("checkpoints");
        std::fs::create_dir_all(&checkpoints).unwrap();
        std::fs::write(checkpoints.join("step-00000004.safetensors"), "").unwrap();
        first.finish();
        let runs = list(&places, Some("mine-2"));
        assert_eq!(runs.len(), 1);
        assert!(runs[0].is_under_way && !list(&places, None)[0].is_under_way);
        assert_eq!((runs[0].steps_done, runs[0].steps), (4, 10));
        for name in ["..", "mine-9", "", "/", "mine-2/run"] {
            assert!(Run::named(&places, name).is_err(), "{name}");
        }
        second.discard().unwrap();
        assert!(list(&places, None).is_empty() && !second.folder.exists());
        // One that an engine was ended over.
        let half = places.runs().join(".mine-7");
        std::fs::create_dir_all(half.join("segments")).unwrap();
        std::fs::write(half.join(REQUEST), "{}").unwrap();
        assert!(Run::named(&places, ".mine-7").is_err());
        sweep(&places);
        assert!(!half.exists());
        assert!(first.folder.exists());
    }

    #[test]
    fn nothing_is_removed_of_a_run_that_cannot_be_marked() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::under(home.path());
        let run = Run::begin(&places, &request("mine"), |_| {}).unwrap();
        std::fs::create_dir_all(run.segments()).unwrap();
        std::fs::write(run.cut_mark(), "").unwrap();
        // Something that is no file is in the way of the mark.
        let in_the_way = run.folder.join(FINISHED);
        std::fs::create_dir_all(in_the_way.join("x")).unwrap();
        run.finish();
        assert!(run.segments().exists() && run.cut_mark().exists());
        std::fs::remove_dir_all(in_the_way).unwrap();
        run.finish();
        assert!(run.is_finished() && !run.segments().exists());
    }
}
