//! Loop, notes and limiter, block by block.

use std::sync::Arc;

use super::bars::Bar;
use super::denormals::FlushDenormals;
use super::exchange::ExchangeReceiver;
use super::gain::Gain;
use super::kernel;
use super::limiter::Limiter;
use super::looper::Looper;
use super::notes::Notes;
use super::position::PlayingPosition;
use super::shelf::{Places, Shelf};
use super::transport::{Moment, Transport};
use super::voice::CHUNK;
use crate::parameters::PlayMode;

/// Fade of the notes when loops are played again.
const MODE_SECS: f64 = 0.020;
/// Rates that can be; a host's nonsense becomes the nearest of them.
const RATES_HZ: [f64; 2] = [1_000.0, 1_000_000.0];

/// What the host says of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Whether its transport rolls.
    pub is_playing: bool,
    /// Quarter notes a minute, as the host says it, which may be nonsense.
    pub tempo_bpm: Option<f64>,
    /// Position of the block's first sample in quarter notes from the song's beginning.
    pub position_quarters: Option<f64>,
    /// The same in samples.
    pub position_samples: Option<i64>,
    /// The bar that it begins in, where the host knows of bars.
    pub bar: Option<Bar>,
}

/// A note within a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NoteEvent {
    /// A key goes down.
    On {
        /// Sample within the block.
        offset: usize,
        /// MIDI key.
        key: u8,
        /// From 0 to 1.
        velocity: f32,
    },
    /// A key goes up.
    Off {
        /// Sample within the block.
        offset: usize,
        /// MIDI key.
        key: u8,
    },
    /// A key stops at once.
    Choke {
        /// Sample within the block.
        offset: usize,
        /// MIDI key.
        key: u8,
    },
}

impl NoteEvent {
    /// Sample within the block.
    pub fn offset(&self) -> usize {
        match *self {
            Self::On { offset, .. } | Self::Off { offset, .. } | Self::Choke { offset, .. } => {
                offset
            }
        }
    }
}

/// The parameters as the audio thread needs them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Loop or notes.
    pub mode: PlayMode,
    /// The slot that plays: a variation, or a pad that is held.
    pub slot: usize,
    /// Plays the loop while the transport stands.
    pub audition: bool,
    /// Output level as a factor; the player smooths it.
    pub gain: f32,
    /// The note of the clip's own pitch.
    pub root_key: u8,
    /// Fade-in of a note in seconds.
    pub attack_secs: f32,
    /// Fade-out of a note in seconds.
    pub release_secs: f32,
}

/// Plays. Its clips come through the exchange; made, restarted and dropped off the audio thread.
#[derive(Debug)]
pub struct Player {
    shelf: Shelf,
    voices: Voices,
    position: Arc<PlayingPosition>,
}

/// All that depends on the rate and begins anew with a reset.
#[derive(Debug)]
struct Voices {
    transport: Transport,
    looper: Looper,
    notes: Notes,
    gain: Gain,
    limiter: Limiter,
    frames_to_bar: Option<usize>,
    sample_rate_hz: f64,
}

impl Voices {
    fn new(sample_rate_hz: f64) -> Self {
        let [least, most] = RATES_HZ;
        let rate_hz = if sample_rate_hz.is_nan() {
            least
        } else {
            sample_rate_hz.clamp(least, most)
        };
        Self {
            transport: Transport::new(rate_hz),
            looper: Looper::new(rate_hz),
            notes: Notes::new(rate_hz),
            gain: Gain::new(rate_hz),
            limiter: Limiter::new(rate_hz),
            frames_to_bar: None,
            sample_rate_hz: rate_hz,
        }
    }
}

impl Player {
    /// Samples by which the output is late: none, the limiter does not look ahead.
    pub const LATENCY_SAMPLES: u32 = 0;

    /// A player without clips, for blocks of any length.
    pub fn new(sample_rate_hz: f64, clips: ExchangeReceiver) -> Self {
        kernel::prepare();
        Self {
            shelf: Shelf::new(clips),
            voices: Voices::new(sample_rate_hz),
            position: Arc::default(),
        }
    }

    /// Begins anew at another rate. The clips stay, and are played at the right speed until they come made ready for it.
    pub fn set_sample_rate(&mut self, sample_rate_hz: f64) {
        self.voices = Voices::new(sample_rate_hz);
        self.position.set(None);
    }

    /// Silence; the clips stay. Allocates nothing, so that the audio thread may call it.
    pub fn reset(&mut self) {
        self.set_sample_rate(self.voices.sample_rate_hz);
    }

    /// Where the loop is, for the editor.
    pub fn position(&self) -> Arc<PlayingPosition> {
        Arc::clone(&self.position)
    }

    /// Frames from the last block's first one to the next that begins a bar of the host's; none where its transport stands, or it does not say.
    pub fn frames_to_bar(&self) -> Option<usize> {
        self.voices.frames_to_bar
    }

    /// Plays a block into two channels, as far as the shorter goes. Events are in the order of their samples.
    pub fn process(
        &mut self,
        output: [&mut [f32]; 2],
        block: &Block,
        events: impl IntoIterator<Item = NoteEvent>,
        settings: &Settings,
    ) {
        let [left, right] = output;
        let samples = left.len().min(right.len());
        self.run(samples, block, events, settings, |at, chunk| {
            let range = at..at + chunk[0].len();
            left[range.clone()].copy_from_slice(chunk[0]);
            right[range].copy_from_slice(chunk[1]);
        });
    }

    /// Plays a block into one channel: the mean of both.
    pub fn process_mono(
        &mut self,
        output: &mut [f32],
        block: &Block,
        events: impl IntoIterator<Item = NoteEvent>,
        settings: &Settings,
    ) {
        self.run(
            output.len(),
            block,
            events,
            settings,
            |at, [left, right]| {
                let output = output[at..].iter_mut();
                for ((output, left), right) in output.zip(left).zip(right) {
                    *output = 0.5 * (left + right);
                }
            },
        );
    }

    fn run(
        &mut self,
        samples: usize,
        block: &Block,
        events: impl IntoIterator<Item = NoteEvent>,
        settings: &Settings,
        mut emit: impl FnMut(usize, [&[f32]; 2]),
    ) {
        let _flush = FlushDenormals::begin();
        self.shelf.take_deliveries();
        let moment = self.begin_block(block, settings, samples);
        let mut events = events.into_iter().peekable();
        let mut at = 0;
        while at < samples {
            while let Some(event) = events.next_if(|event| event.offset() <= at) {
                self.take_event(event, settings);
            }
            let due = events.peek().map_or(samples, NoteEvent::offset);
            let count = (due.min(samples) - at).min(CHUNK);
            let (mut left, mut right) = ([0.0; CHUNK], [0.0; CHUNK]);
            let (left, right) = (&mut left[..count], &mut right[..count]);
            self.write(moment, settings, [&mut *left, &mut *right]);
            emit(at, [left, right]);
            at += count;
        }
        // A host may send notes beyond the block's end, or with an empty block.
        events.for_each(|event| self.take_event(event, settings));
        self.end_block(settings);
    }

    fn begin_block(
        &mut self,
        block: &Block,
        settings: &Settings,
        samples: usize,
    ) -> Option<Moment> {
        if samples == 0 {
            return None;
        }
        let place = self.shelf.of_slot(settings.slot);
        let clip = place.and_then(|place| self.shelf.clip(place));
        let voices = &mut self.voices;
        let moment = voices
            .transport
            .follow(block, settings.audition, clip, samples);
        voices.frames_to_bar = moment.and_then(Moment::frames_to_bar);
        let looped = place.filter(|_| settings.mode == PlayMode::Loop);
        voices
            .looper
            .begin_block(&self.shelf, looped, moment, samples);
        if settings.mode == PlayMode::Loop {
            voices.notes.stop(&self.shelf, MODE_SECS);
        }
        moment
    }

    fn take_event(&mut self, event: NoteEvent, settings: &Settings) {
        let (shelf, notes) = (&self.shelf, &mut self.voices.notes);
        match event {
            NoteEvent::On { key, velocity, .. } if settings.mode == PlayMode::Notes => {
                notes.start(shelf, shelf.of_slot(settings.slot), key, velocity, settings);
            }
            NoteEvent::On { .. } => {}
            NoteEvent::Off { key, .. } => notes.release(key, settings),
            NoteEvent::Choke { key, .. } => notes.choke(shelf, key),
        }
    }

    fn write(&mut self, moment: Option<Moment>, settings: &Settings, output: [&mut [f32]; 2]) {
        let [left, right] = output;
        let (shelf, voices) = (&self.shelf, &mut self.voices);
        voices
            .looper
            .write(shelf, moment, [&mut *left, &mut *right]);
        voices.notes.add_to(shelf, [&mut *left, &mut *right]);
        voices.gain.apply(settings.gain, [&mut *left, &mut *right]);
        voices.limiter.apply([left, right]);
    }

    fn end_block(&mut self, settings: &Settings) {
        let share = self.voices.looper.share(&self.shelf);
        self.position.set(share.map(|share| (settings.slot, share)));
        let mut used = Places::default();
        self.voices.looper.insert_places(&mut used);
        self.voices.notes.insert_places(&mut used);
        self.shelf.return_unused(used);
    }
}
