//! From a score to samples.

use crate::dice::Dice;
use crate::effect::{limiter, reverb};
use crate::mastering;
use crate::score::{Note, Score, Sound, Track};
use crate::voice::Tone;

/// Changes whenever the same score sounds otherwise than before, or the same seed gives another score.
///
/// 1: level by root mean square. 2: loudness by EBU R 128, tempi spread over 60 to 180.
/// 3: no offset, firmer strings.
pub const VERSION: u32 = 3;

/// A finished piece: two channels of equal length in `-1..=1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// Left channel.
    pub left: Vec<f32>,
    /// Right channel.
    pub right: Vec<f32>,
}

impl Rendered {
    fn silence(frames: usize) -> Self {
        Self {
            left: vec![0.0; frames],
            right: vec![0.0; frames],
        }
    }

    fn add(&mut self, other: &Self, gain: f32) {
        for (to, from) in [
            (&mut self.left, &other.left),
            (&mut self.right, &other.right),
        ] {
            for (sum, sample) in to.iter_mut().zip(from) {
                *sum += gain * sample;
            }
        }
    }
}

/// Renders a score; the same score and rate give the same samples.
pub fn render(score: &Score, sample_rate_hz: u32) -> Rendered {
    let rate = sample_rate_hz as f32;
    let frames = (score.duration_secs * f64::from(sample_rate_hz)) as usize;
    let mut sum = Rendered::silence(frames);
    let mut send = Rendered::silence(frames);
    for (index, track) in score.tracks.iter().enumerate() {
        let mut dice = Dice::new(track.name, score.seed.wrapping_add(index as u64 * 977));
        let mut bus = play(track, frames, rate, &mut dice);
        for insert in &track.mix.inserts {
            insert.apply(&mut bus.left, &mut bus.right, rate);
        }
        // Voices differ in level by their construction; the mix says how loud a track is.
        let level = limiter::active_rms(&bus.left, &bus.right, rate);
        if level < 1e-7 {
            continue;
        }
        let gain = 10.0_f32.powf(track.mix.level_db / 20.0) * 0.1 / level;
        sum.add(&bus, gain);
        send.add(&bus, gain * track.mix.reverb_send);
    }
    let master = &score.master;
    reverb::apply(
        master.reverb_secs,
        master.reverb_size,
        master.reverb_damping_hz,
        &mut send.left,
        &mut send.right,
        rate,
    );
    sum.add(&send, master.reverb_gain);
    for insert in &master.inserts {
        insert.apply(&mut sum.left, &mut sum.right, rate);
    }
    fade_out(&mut sum, rate);
    mastering::master(&mut sum, sample_rate_hz);
    sum
}

/// All notes of a track on a stereo bus.
fn play(track: &Track, frames: usize, rate: f32, dice: &mut Dice) -> Rendered {
    let mut bus = Rendered::silence(frames);
    let mut scratch = Vec::new();
    for note in &track.notes {
        let start = (note.start_secs.max(0.0) * f64::from(rate)).round() as usize;
        if start >= frames {
            continue;
        }
        let double = track.mix.double_cents;
        if double > 0.0 {
            for (side, cents) in [(-0.8, -double / 2.0), (0.8, double / 2.0)] {
                sound(track, note, cents, frames - start, rate, dice, &mut scratch);
                place(&mut bus, &scratch, start, side);
            }
        } else {
            sound(track, note, 0.0, frames - start, rate, dice, &mut scratch);
            place(&mut bus, &scratch, start, position(track, note));
        }
    }
    bus
}

fn position(track: &Track, note: &Note) -> f32 {
    let offset = match note.sound {
        Sound::Pitch(midi) => (midi - 60.0) / 24.0,
        // A kit's pieces stand apart; the drum's place in the list spreads them.
        Sound::Drum(drum) => match drum as u8 {
            0 | 1 => 0.0,
            piece => f32::from(piece % 5) / 2.0 - 1.0,
        },
    };
    (track.mix.pan + track.mix.keyboard_spread * offset.clamp(-1.0, 1.0)).clamp(-1.0, 1.0)
}

fn sound(
    track: &Track,
    note: &Note,
    cents: f32,
    max_frames: usize,
    rate: f32,
    dice: &mut Dice,
    out: &mut Vec<f32>,
) {
    let mut tone = Tone {
        frequency_hz: 440.0,
        gate_secs: note.duration_secs as f32,
        velocity: note.velocity,
        slide_semitones: note.slide_semitones,
        sample_rate_hz: rate,
        seed: dice.bits(),
        max_frames,
    };
    match note.sound {
        Sound::Pitch(midi) => {
            tone.frequency_hz = 440.0 * ((midi - 69.0 + cents / 100.0) / 12.0).exp2();
            track.instrument.tone(&tone, out);
        }
        Sound::Drum(drum) => track.instrument.stroke(drum, &tone, out),
    }
}

/// Adds a mono note at a place from `-1` (left) to `1`, at equal power.
fn place(bus: &mut Rendered, note: &[f32], start: usize, pan: f32) {
    let angle = (pan + 1.0) * std::f32::consts::FRAC_PI_4;
    let (right_gain, left_gain) = angle.sin_cos();
    for (channel, gain) in [(&mut bus.left, left_gain), (&mut bus.right, right_gain)] {
        for (to, from) in channel[start..].iter_mut().zip(note) {
            *to += gain * from;
        }
    }
}

/// The last 0.8 s go to silence.
fn fade_out(piece: &mut Rendered, rate: f32) {
    let frames = piece.left.len();
    let fade = ((0.8 * rate) as usize).min(frames);
    for channel in [&mut piece.left, &mut piece.right] {
        for (i, sample) in channel[frames - fade..].iter_mut().enumerate() {
            let remaining = 1.0 - i as f32 / fade as f32;
            *sample *= remaining * remaining;
        }
    }
}
