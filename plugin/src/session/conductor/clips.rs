//! Clips from the cache to the audio thread: read, made ready for the host's rate and tempo, handed over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::{AudioBuffer, PartFile};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Conductor;
use crate::playback::LoopClip;
use crate::playback::ready;
use crate::project::{SLOTS, Variation};
use crate::session::SlotState;
use crate::session::picture::picture_of;

/// How long a tempo must stay before clips are stretched to it; while it moves, the audio thread plays on its own.
const TEMPO_RESTS: Duration = Duration::from_millis(150);

/// What a slot's clip is at.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) state: SlotState,
    clip: Option<Decoded>,
    /// What was handed over last.
    handed: Option<Handed>,
    /// Tells that the audio thread's clip is to go.
    is_to_empty: bool,
}

/// What to do about a clip whose file is not there, or not as the project says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfGone {
    /// Ask the engine for it.
    MakeAgain,
    /// Say so: the engine has just made it.
    Tell,
}

/// A clip as its file has it.
#[derive(Debug)]
struct Decoded {
    number: u64,
    sound: Arc<AudioBuffer>,
    tempo_bpm: f64,
    quarters: f64,
    bar_quarters: f64,
    shown: SlotState,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Handed {
    number: u64,
    sample_rate_hz: f64,
    tempo_bpm: Option<f64>,
}

/// What clips are to be made ready for.
#[derive(Debug)]
pub(super) struct Wanted {
    sample_rate_hz: f64,
    tempo_bpm: Option<f64>,
    newest_tempo_bpm: Option<f64>,
    changed: Instant,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            sample_rate_hz: 0.0,
            tempo_bpm: None,
            newest_tempo_bpm: None,
            changed: Instant::now(),
        }
    }
}

impl Slot {
    /// A job for it came to nothing: it shows the clip that it still has.
    pub(super) fn show_what_is_there(&mut self) {
        self.state = match &self.clip {
            Some(clip) => clip.shown.clone(),
            None => SlotState::Empty,
        };
    }

    /// Its clip cannot be had.
    pub(super) fn miss(&mut self, problem: String) {
        self.state = SlotState::Missing { problem };
    }

    fn empty(&mut self) {
        self.state = SlotState::Empty;
        self.clip = None;
        self.is_to_empty = self.handed.take().is_some() || self.is_to_empty;
    }

    fn is_ready(&self, wanted: &Wanted) -> bool {
        let is_handed = match &self.clip {
            Some(clip) => self.handed == Some(wanted.of(clip)),
            None => true,
        };
        is_handed && !self.is_to_empty
    }
}

impl Wanted {
    fn of(&self, clip: &Decoded) -> Handed {
        Handed {
            number: clip.number,
            sample_rate_hz: self.sample_rate_hz,
            tempo_bpm: self.tempo_bpm,
        }
    }
}

impl Conductor {
    /// Reads the clip of a slot as the project has it.
    pub(super) fn fill(&mut self, slot: usize, if_gone: IfGone) {
        self.is_changed = true;
        let Some(variation) = self.with_project(|project| project.slots[slot].clone()) else {
            self.slots[slot].empty();
            return;
        };
        match self.read(&variation) {
            Some((sound, path)) => {
                self.decoded(slot, &variation, sound, path);
                if variation.is_kept && variation.sound.is_none() {
                    self.keep(slot, true);
                }
            }
            None => {
                self.slots[slot].empty();
                match if_gone {
                    IfGone::MakeAgain => self.ask_clip(slot, variation.recipe, true),
                    IfGone::Tell => self.slots[slot].miss(
                        "the engine made it, and it cannot be read; is the disk full?".to_owned(),
                    ),
                }
            }
        }
    }

    fn decoded(&mut self, slot: usize, variation: &Variation, sound: AudioBuffer, path: PathBuf) {
        let shown = SlotState::Ready {
            picture: Arc::new(picture_of(&sound)),
            path,
        };
        let number = self.next_clip;
        self.next_clip += 1;
        let place = &mut self.slots[slot];
        place.state = shown.clone();
        place.is_to_empty = false;
        place.clip = Some(Decoded {
            number,
            sound: Arc::new(sound),
            tempo_bpm: variation.recipe.tempo_bpm,
            quarters: variation.recipe.quarters(),
            bar_quarters: variation.recipe.metre.quarters(),
            shown,
        });
    }

    /// The clip and its file: from the cache, or from the project, which puts it back there.
    fn read(&self, variation: &Variation) -> Option<(AudioBuffer, PathBuf)> {
        let folder = self.places.as_ref()?.clips();
        // The project may be a stranger's: its clip must not take another one's place.
        if variation.key != variation.recipe.key() {
            return None;
        }
        let path = folder.join(format!("{}.flac", variation.key));
        if path.is_file() {
            if let Some(sound) = read_clip(&path, variation) {
                return Some((sound, path));
            }
            // A damaged file is in the way of a whole one.
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!("{}: {error}", path.display());
            }
        }
        let bytes = BASE64.decode(variation.sound.as_ref()?).ok()?;
        if let Err(error) = put_back(&path, &bytes) {
            tracing::warn!("{}: {error}", path.display());
            return None;
        }
        Some((read_clip(&path, variation)?, path))
    }

    /// Whether every clip can be heard at the host's rate and tempo, as far as they are known.
    pub(super) fn is_all_ready(&self) -> bool {
        let host = &self.shared.host;
        let is_wanted = self.wanted.sample_rate_hz == host.sample_rate_hz()
            && self.wanted.tempo_bpm == host.tempo_bpm();
        let is_silent = self.wanted.sample_rate_hz <= 0.0 && host.sample_rate_hz() <= 0.0;
        let mut slots = self.slots.iter();
        is_silent || (is_wanted && slots.all(|slot| slot.is_ready(&self.wanted)))
    }

    /// Hands one clip over that is not ready yet: the one that plays first. One at a time, so that commands do not wait for ten.
    pub(super) fn make_ready(&mut self) {
        self.follow_host();
        if self.wanted.sample_rate_hz <= 0.0 {
            return;
        }
        let selected = self.shared.parameters.variation.value() - 1;
        let selected = usize::try_from(selected).unwrap_or_default().min(SLOTS - 1);
        let others = (0..SLOTS).filter(|slot| *slot != selected);
        let order = std::iter::once(selected).chain(others);
        for slot in order {
            if !self.slots[slot].is_ready(&self.wanted) {
                self.hand_over(slot);
                return;
            }
        }
    }

    fn follow_host(&mut self) {
        let host = &self.shared.host;
        let wanted = &mut self.wanted;
        wanted.sample_rate_hz = host.sample_rate_hz();
        let newest = host.tempo_bpm();
        if newest != wanted.newest_tempo_bpm {
            wanted.newest_tempo_bpm = newest;
            wanted.changed = Instant::now();
        }
        // An offline render says a tempo only when it waits for it.
        let rests = wanted.changed.elapsed() >= TEMPO_RESTS || host.is_offline();
        if rests || wanted.tempo_bpm.is_none() {
            wanted.tempo_bpm = newest;
        }
    }

    fn hand_over(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        let Some(clip) = &place.clip else {
            place.is_to_empty = self.ends.clips.send(slot, None).is_err();
            return;
        };
        let handed = self.wanted.of(clip);
        let ready = ready::loop_clip(
            &clip.sound,
            clip.number,
            clip.quarters,
            clip.tempo_bpm,
            handed.sample_rate_hz,
            handed.tempo_bpm,
        );
        let ready: LoopClip = match ready {
            Ok(ready) => LoopClip {
                bar_quarters: clip.bar_quarters,
                ..ready
            },
            Err(error) => {
                let problem = format!("it cannot be made ready for the host: {error}");
                place.empty();
                place.miss(problem);
                self.is_changed = true;
                return;
            }
        };
        // A full ring is emptied by the next block; until then this is tried again.
        if self.ends.clips.send(slot, Some(Box::new(ready))).is_ok() {
            place.handed = Some(handed);
        }
    }

    /// A clip that is kept is saved with its sound.
    pub(super) fn keep(&mut self, slot: usize, is_kept: bool) {
        if slot >= SLOTS {
            return;
        }
        let path = match &self.slots[slot].state {
            SlotState::Ready { path, .. } if is_kept => Some(path.clone()),
            _ => None,
        };
        let sound = path.and_then(|path| std::fs::read(path).ok());
        let sound = sound.map(|bytes| BASE64.encode(bytes));
        self.with_project(|project| {
            if let Some(variation) = &mut project.slots[slot] {
                variation.is_kept = is_kept;
                variation.sound = sound.or_else(|| variation.sound.take().filter(|_| is_kept));
            }
        });
    }
}

/// The clip, if the file holds what the project says.
fn read_clip(path: &Path, variation: &Variation) -> Option<AudioBuffer> {
    match audio::read(path) {
        Ok(sound) => {
            let is_it = sound.frames() as u64 == variation.frames
                && sound.sample_rate_hz == variation.sample_rate_hz;
            is_it.then(|| sound.to_stereo())
        }
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

fn put_back(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut part = PartFile::create(path)?;
    part.write_all(bytes)?;
    part.commit()
}
