//! Sound files that go out, and sound that comes in.

use std::path::{Path, PathBuf};

use audio::{AudioBuffer, SampleFormat};
use protocol::SourceRole;
use protocol::recipe::BARS;

use super::{Conductor, MessageKind};
use crate::playback::ready;
use crate::project::{ChosenSource, SLOTS};
use crate::session::SlotState;

/// Longest stretch that is listened to, in seconds.
const MOST_LISTENING_SECS: f64 = 60.0;
/// What is said where nothing came in.
const IT_WAS_SILENT: &str = "it was silent; send sound to the plugin's input while it listens";

/// The input while it is listened to.
#[derive(Debug)]
pub(super) struct Listening {
    role: SourceRole,
    sample_rate_hz: f64,
    frames: usize,
    heard: [Vec<f32>; 2],
}

/// A clip as it was written as a WAV file.
#[derive(Debug)]
pub(super) struct Exported {
    clip: PathBuf,
    name: Option<String>,
    /// The host's tempo then, if it said one.
    tempo_bpm: Option<f64>,
    file: PathBuf,
}

impl Conductor {
    /// Writes a clip as a WAV file, at the host's tempo as far as it can be stretched to it: so it fits the timeline, and is what was heard. In the user's music folder it gets a free name; by hand it replaces what is there.
    pub(super) fn export(&mut self, slot: usize, path: Option<PathBuf>) {
        if slot >= SLOTS {
            return;
        }
        match self.write_clip(slot, path) {
            Ok(exported) => {
                let tempo = exported.tempo_bpm;
                let tempo = tempo.map(|tempo| format!(", at {} BPM", (tempo * 1e3).round() / 1e3));
                let text = format!(
                    "Written: {}{}",
                    exported.file.display(),
                    tempo.unwrap_or_default()
                );
                self.tell(MessageKind::Note, text);
                self.exported[slot] = Some(exported);
            }
            Err(problem) => self.tell(
                MessageKind::Problem,
                format!("The clip was not exported: {problem}"),
            ),
        }
    }

    fn write_clip(&self, slot: usize, path: Option<PathBuf>) -> Result<Exported, String> {
        let (clip, name) = self.clip_in(slot).ok_or("there is no clip in this slot")?;
        let sound = audio::read(clip).map_err(|error| error.to_string())?;
        let own = self.with_project(|project| Some(project.slots[slot].as_ref()?.recipe.tempo_bpm));
        let host = self.shared.host.tempo_bpm();
        let stretched = own.map(|own| ready::at_tempo(&sound, own, host));
        let stretched = stretched
            .transpose()
            .map_err(|error| error.to_string())?
            .flatten();
        let sound = stretched.map_or(sound, |(stretched, _)| stretched);
        let file = match path {
            Some(path) => {
                audio::write_wav(&path, &sound, SampleFormat::I24)
                    .map_err(|error| error.to_string())?;
                path
            }
            None => {
                let places = self.places.as_ref();
                let music = places.ok_or("the system names no music folder")?.music();
                let name = name.as_deref().unwrap_or_default();
                write_under_free_name(&music, name, &sound, SampleFormat::I24)?
            }
        };
        Ok(Exported {
            clip: clip.to_owned(),
            name,
            tempo_bpm: host,
            file,
        })
    }

    /// The file of the clip that is ready in a slot, and what the clip is called.
    fn clip_in(&self, slot: usize) -> Option<(&Path, Option<String>)> {
        let SlotState::Ready { path, .. } = &self.slots[slot].state else {
            return None;
        };
        let name = self.with_project(|project| Some(project.slots[slot].as_ref()?.name.clone()));
        Some((path, name))
    }

    /// Where the clip that is in a slot now was written last: what was there before it, under another name or at another tempo too, is not what a drag is to bring.
    pub(super) fn last_exported(&self, slot: usize) -> Option<PathBuf> {
        let exported = self.exported[slot].as_ref()?;
        let (clip, name) = self.clip_in(slot)?;
        let is_it = exported.clip == clip
            && exported.name == name
            && exported.tempo_bpm == self.shared.host.tempo_bpm();
        is_it.then(|| exported.file.clone())
    }

    pub(super) fn set_source(&mut self, path: Option<PathBuf>, role: SourceRole) {
        if self.listening.take().is_some() {
            self.ends.capture.disarm();
            self.view.listening = None;
        }
        let source = path.map(|path| ChosenSource {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path,
            role,
        });
        self.with_project(|project| project.source = source);
        self.hold();
    }

    pub(super) fn begin_listening(&mut self, role: SourceRole) {
        let sample_rate_hz = self.shared.host.sample_rate_hz();
        if sample_rate_hz <= 0.0 {
            self.tell(
                MessageKind::Problem,
                "Nothing can be listened to until the host processes sound.".to_owned(),
            );
            return;
        }
        let bars = self.shared.parameters.bars.value().count();
        debug_assert!(BARS.contains(&bars));
        let quarters = f64::from(bars) * self.shared.host.metre().quarters();
        let secs = (quarters * 60.0 / self.tempo_bpm()).min(MOST_LISTENING_SECS);
        // What was said of the try before is no longer so.
        self.view
            .messages
            .retain(|message| !message.text.contains(IT_WAS_SILENT));
        self.ends.capture.arm();
        self.listening = Some(Listening {
            role,
            sample_rate_hz,
            frames: (secs * sample_rate_hz) as usize,
            heard: [Vec::new(), Vec::new()],
        });
    }

    /// Collects what came in; when it is enough, it becomes the source.
    pub(super) fn listen(&mut self) {
        let Some(listening) = &mut self.listening else {
            return;
        };
        self.ends.capture.read(&mut listening.heard);
        let share = listening.heard[0].len() as f32 / listening.frames.max(1) as f32;
        self.view.listening = Some(share.min(1.0));
        self.is_changed = true;
        if listening.heard[0].len() < listening.frames {
            return;
        }
        self.ends.capture.disarm();
        self.view.listening = None;
        let Some(listening) = self.listening.take() else {
            return;
        };
        match self.write_heard(listening) {
            Ok((path, role)) => self.set_source(Some(path), role),
            Err(problem) => self.tell(
                MessageKind::Problem,
                format!("The input was not taken: {problem}"),
            ),
        }
    }

    fn write_heard(&self, listening: Listening) -> Result<(PathBuf, SourceRole), String> {
        let lost_frames = self.ends.capture.lost_frames();
        if lost_frames > 0 {
            return Err(format!(
                "{lost_frames} samples of it were lost; the machine was too busy, listen once more"
            ));
        }
        if self.shared.host.sample_rate_hz() != listening.sample_rate_hz {
            return Err("the host changed its sample rate meanwhile; listen once more".to_owned());
        }
        let mut channels = listening.heard;
        for channel in &mut channels {
            channel.truncate(listening.frames);
        }
        let peak = channels
            .iter()
            .flatten()
            .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        if peak < 1e-4 {
            return Err(IT_WAS_SILENT.to_owned());
        }
        let sound = AudioBuffer::new(listening.sample_rate_hz.round() as u32, channels.into())
            .map_err(|error| error.to_string())?;
        let places = self
            .places
            .as_ref()
            .ok_or("the system names no cache folder")?;
        let path = write_under_free_name(&places.inputs(), "input", &sound, SampleFormat::F32)?;
        Ok((path, listening.role))
    }
}

/// Writes a sound into a folder under a name that no file has yet, and that no other instance takes meanwhile.
fn write_under_free_name(
    folder: &Path,
    name: &str,
    sound: &AudioBuffer,
    format: SampleFormat,
) -> Result<PathBuf, String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let stem = plain(name);
    for number in 1..u32::MAX {
        let path = match number {
            1 => folder.join(format!("{stem}.wav")),
            _ => folder.join(format!("{stem} {number}.wav")),
        };
        // The name is taken first; the sound then takes the empty file's place.
        match std::fs::File::create_new(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed(&path, error)),
        }
        return match audio::write_wav(&path, sound, format) {
            Ok(()) => Ok(path),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(error.to_string())
            }
        };
    }
    Err(format!("{}: all names are taken", folder.display()))
}

/// A name as the stem of a file.
fn plain(name: &str) -> String {
    let kept = |letter: char| match letter.is_alphanumeric() || " -+_".contains(letter) {
        true => letter,
        false => '_',
    };
    let plain: String = name.chars().map(kept).take(80).collect();
    match plain.trim() {
        "" => "clip".to_owned(),
        plain => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_write_at_once_take_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let sound = AudioBuffer::new(44_100, vec![vec![0.5; 64]; 2]).unwrap();
        let write =
            || write_under_free_name(folder.path(), "a / b", &sound, SampleFormat::F32).unwrap();
        let mut paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(write)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 8);
        assert!(paths.contains(&folder.path().join("a _ b.wav")));
        for path in paths {
            assert_eq!(audio::read(&path).unwrap().frames(), 64);
        }
    }
}
