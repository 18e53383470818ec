//! A project from its text. What cannot be read, of a damaged project or of a newer version, costs no more than itself: it is kept as it was
//! written, saved again, and tried again by whoever opens the project next.

use std::sync::{Mutex, OnceLock, PoisonError};

use nice_plug::prelude::{ParamPtr, Params};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::{Map, Value};

use super::{FIRST_PAD, PROJECT_VERSION, Project};

/// The project's name among what a host saves.
const SAVED_AS: &str = "project";
/// Where a project keeps what could not be read.
const UNREADABLE: &str = "unreadable";
/// The name there of a text that is no project at all.
const WHOLE: &str = "whole";

/// The project as the host saves and restores it.
#[derive(Default)]
pub struct SavedProject {
    project: Mutex<Project>,
    restored: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for SavedProject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.project.fmt(formatter)
    }
}

impl std::ops::Deref for SavedProject {
    type Target = Mutex<Project>;

    fn deref(&self) -> &Self::Target {
        &self.project
    }
}

impl SavedProject {
    /// What to do when the host has restored a project; the first one to say so is heard.
    pub(crate) fn call_when_restored(&self, call: impl Fn() + Send + Sync + 'static) {
        let _ = self.restored.set(Box::new(call));
    }
}

// SAFETY: there are no parameters in it, so that no pointer to one can outlive it.
#[allow(unsafe_code)]
unsafe impl Params for SavedProject {
    fn param_map(&self) -> Vec<(String, ParamPtr, String)> {
        Vec::new()
    }

    fn serialize_fields(&self) -> std::collections::BTreeMap<String, String> {
        let project = self.lock().unwrap_or_else(PoisonError::into_inner);
        match serde_json::to_string(&*project) {
            Ok(text) => [(SAVED_AS.to_owned(), text)].into(),
            Err(error) => {
                tracing::error!("the project is not saved: {error}");
                Default::default()
            }
        }
    }

    fn deserialize_fields(&self, saved: &std::collections::BTreeMap<String, String>) {
        if let Some(text) = saved.get(SAVED_AS) {
            let project = Project::read(text);
            *self.lock().unwrap_or_else(PoisonError::into_inner) = project;
            if let Some(call) = self.restored.get() {
                call();
            }
        }
    }
}

impl<'de> Deserialize<'de> for Project {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(fields) => Ok(Self::of_fields(fields)),
            other => Ok(Self::unreadable(other)),
        }
    }
}

impl Project {
    /// What can be read of a project's text; the rest is in `Project::unreadable`.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| {
            tracing::warn!("a project cannot be read: {error}");
            Self::unreadable(Value::String(text.to_owned()))
        })
    }

    fn unreadable(whole: Value) -> Self {
        let unreadable = Map::from_iter([(WHOLE.to_owned(), whole)]);
        Self {
            unreadable,
            ..Self::default()
        }
    }

    fn of_fields(mut fields: Map<String, Value>) -> Self {
        let before = match fields.remove(UNREADABLE) {
            Some(Value::Object(before)) => before,
            Some(other) => Map::from_iter([(UNREADABLE.to_owned(), other)]),
            None => Map::new(),
        };
        let mut reader = Reader {
            fields,
            unreadable: before,
        };
        let usual = Self::default();
        Self {
            version: reader.take("version").unwrap_or(PROJECT_VERSION),
            base: reader.take("base").unwrap_or(usual.base),
            adapters: reader.take_array("adapters"),
            prompt: reader.take("prompt").unwrap_or_default(),
            source: reader.take("source"),
            slots: reader.take_array("slots"),
            clips_asked: reader.take("clips_asked").unwrap_or_default(),
            editor_size: reader.take("editor_size").unwrap_or(usual.editor_size),
            is_known: false,
            unreadable: reader.unreadable,
            unknown: reader.fields,
        }
    }

    /// What could not be read, in a musician's words.
    pub fn unreadable_parts(&self) -> Vec<String> {
        self.unreadable.keys().map(|name| words_for(name)).collect()
    }
}

/// Takes one thing after the other out of a project's fields.
struct Reader {
    fields: Map<String, Value>,
    unreadable: Map<String, Value>,
}

impl Reader {
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let written = self.fields.remove(name);
        self.read(name, written)
    }

    /// As many as there are; places that are missing are empty.
    fn take_array<T: DeserializeOwned, const N: usize>(&mut self, name: &str) -> [Option<T>; N] {
        let written = match self.fields.remove(name) {
            Some(Value::Array(written)) => written,
            None | Some(Value::Null) => Vec::new(),
            Some(other) => {
                self.unreadable.insert(name.to_owned(), other);
                Vec::new()
            }
        };
        let mut written = written.into_iter();
        let read = std::array::from_fn(|at| self.read(&place(name, at), written.next()));
        for (at, more) in written.enumerate().filter(|(_, more)| !more.is_null()) {
            self.unreadable.insert(place(name, N + at), more);
        }
        read
    }

    /// A value, or in its absence the one that could not be read before.
    fn read<T: DeserializeOwned>(&mut self, name: &str, written: Option<Value>) -> Option<T> {
        let is_empty = |value: &Value| value.is_null() || value == "";
        let value = match written.filter(|value| !is_empty(value)) {
            Some(value) => value,
            None => self.unreadable.remove(name)?,
        };
        match T::deserialize(&value) {
            Ok(read) => Some(read),
            Err(error) => {
                tracing::warn!("{name} of a project cannot be read: {error}");
                self.unreadable.insert(name.to_owned(), value);
                None
            }
        }
    }
}

fn place(name: &str, at: usize) -> String {
    format!("{name}/{at}")
}

fn words_for(name: &str) -> String {
    let place = name.split_once('/');
    let place = place.and_then(|(name, at)| Some((name, at.parse::<usize>().ok()?)));
    match (place, name) {
        (Some(("slots", at)), _) if at < FIRST_PAD => format!("clip {}", at + 1),
        (Some(("slots", at)), _) => format!("the clip of pad {}", at + 1 - FIRST_PAD),
        (Some(("adapters", at)), _) => format!("adapter {}", at + 1),
        (_, WHOLE) => "all of it".to_owned(),
        (_, "slots") => "the clips".to_owned(),
        (_, "adapters") => "the adapters".to_owned(),
        (_, "clips_asked") => "the number of clips".to_owned(),
        (_, "editor_size") => "the size of the window".to_owned(),
        (_, other) => format!("the {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{EMBEDDED, SLOTS};

    /// A project with a clip in every second slot.
    fn whole() -> Value {
        let clip = serde_json::json!({
            "name": "mine", "key": "00", "frames": 1, "sample_rate_hz": 44_100, "is_kept": true, "sound": "AAAA",
            "recipe": {
                "base": {"name": "embedded", "identity": null}, "adapters": [], "prompt": "", "bars": 1,
                "metre": {"beats": 4, "unit": 4}, "tempo_bpm": 120.0, "key": null, "seed": 7,
                "steps": null, "guidance": null, "source": null
            }
        });
        let slots: Vec<Value> = (0..SLOTS)
            .map(|slot| match slot % 2 {
                0 => clip.clone(),
                _ => Value::Null,
            })
            .collect();
        serde_json::json!({"version": 1, "prompt": "lofi", "base": "embedded", "slots": slots})
    }

    fn saved(project: &Project) -> String {
        serde_json::to_string(project).unwrap()
    }

    #[test]
    fn what_a_newer_version_wrote_is_kept() {
        let newer = r#"{"version": 7, "prompt": "lofi", "constellation": {"stars": [1, 2]}}"#;
        let project = Project::read(newer);
        assert_eq!((project.version, project.prompt.as_str()), (7, "lofi"));
        assert_eq!(project.base, EMBEDDED);
        let saved = saved(&project);
        assert!(
            saved.contains(r#""constellation":{"stars":[1,2]}"#),
            "{saved}"
        );
    }

    #[test]
    fn one_damaged_part_costs_itself_alone_and_is_saved_again() {
        let sound = Project::read(&whole().to_string());
        assert!(sound.unreadable.is_empty());
        for (pointer, damaged, words) in [
            ("/prompt", Value::from(5), "the prompt"),
            ("/slots/2/recipe/seed", Value::from("x"), "clip 3"),
            ("/slots/8/frames", Value::from(-1), "the clip of pad 1"),
        ] {
            let mut text = whole();
            *text.pointer_mut(pointer).unwrap() = damaged.clone();
            let project = Project::read(&text.to_string());
            assert_eq!(project.unreadable_parts(), [words]);
            let same = |slot: &usize| project.slots[*slot] == sound.slots[*slot];
            let slots_alike = (0..SLOTS).filter(same).count();
            assert_eq!(
                slots_alike,
                SLOTS - usize::from(pointer.starts_with("/slots"))
            );
            let again = Project::read(&saved(&project));
            assert_eq!(again, project);
            assert!(
                saved(&again).contains(&damaged.to_string()),
                "{}",
                saved(&again)
            );
        }
    }

    #[test]
    fn who_can_read_it_later_has_it_again() {
        let mut text = whole();
        let clip = text["slots"][2].take();
        text["unreadable"] = serde_json::json!({"slots/2": clip, "prompt": "jazz"});
        let project = Project::read(&text.to_string());
        assert!(project.slots[2].is_some());
        assert_eq!(project.prompt, "lofi", "what was written since stays");
        assert_eq!(project.unreadable_parts(), ["the prompt"]);
    }

    #[test]
    fn what_is_no_project_is_kept_whole() {
        for text in ["{\"prompt\": \"lo", "", "[1, 2]", "{\"seed\": 1e999}"] {
            let project = Project::read(text);
            assert_eq!(project.unreadable_parts(), ["all of it"], "{text}");
            let again = Project::read(&saved(&project));
            assert_eq!(again, project);
        }
        let more: Vec<Value> = (0..SLOTS + 1).map(Value::from).collect();
        let text = serde_json::json!({"slots": more, "adapters": 3});
        let project = Project::read(&text.to_string());
        assert_eq!(project.unreadable.len(), SLOTS + 2);
        assert_eq!(Project::read(&saved(&project)), project);
    }
}
