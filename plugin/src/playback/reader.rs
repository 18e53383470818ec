//! Reads a loop: round and round, or a slice of it that turns back at its end.

use super::clip::LoopClip;
use super::kernel::{self, Kernel};

/// Steps beyond these are not told apart from them.
const STEPS: [f64; 2] = [1.0 / 64.0, 64.0];

/// A place in a clip that moves on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// Frame that `elapsed` counts from.
    origin: usize,
    /// Frames since `origin`, negative before it.
    elapsed: f64,
    /// Length of the slice; it is read back and forth rather than into the next slice, whose attack would sound too early.
    slice: Option<usize>,
    step: f64,
    kernel: &'static Kernel,
}

impl Reader {
    /// Reads from this frame on, round and round.
    pub(super) fn around(frame: f64, step: f64) -> Self {
        let step = step.clamp(STEPS[0], STEPS[1]);
        Self {
            origin: 0,
            elapsed: if step == 1.0 { frame.round() } else { frame },
            slice: None,
            step,
            kernel: kernel::for_step(step),
        }
    }

    /// Reads a slice, so many samples after its beginning (before it where negative).
    pub(super) fn slice(origin: usize, length: usize, samples: f64, step: f64) -> Self {
        let mut reader = Self::around(samples * step, step);
        reader.origin = origin;
        reader.slice = Some(length.max(1));
        reader
    }

    /// Goes on in place, but turns back at the end of this slice.
    pub(super) fn enter_slice(&mut self, origin: usize, length: usize, frames: usize) {
        let frames = frames as f64;
        let distance = (self.frame(frames as usize) - origin as f64).rem_euclid(frames);
        let is_before = distance > length as f64 && distance > frames / 2.0;
        self.elapsed = if is_before {
            distance - frames
        } else {
            distance
        };
        self.origin = origin;
        self.slice = Some(length.max(1));
    }

    /// Goes on in place, round and round.
    pub(super) fn leave_slice(&mut self, frames: usize) {
        self.elapsed = self.frame(frames);
        self.origin = 0;
        self.slice = None;
    }

    /// Samples since the slice's beginning.
    pub(super) fn samples(&self) -> f64 {
        self.elapsed / self.step
    }

    /// Whether it will be at the slice's end in so many samples.
    pub(super) fn ends_in(&self, samples: usize) -> bool {
        let at = self.elapsed + samples as f64 * self.step;
        self.slice
            .is_some_and(|length| (at - length as f64).abs() < 0.5 * self.step)
    }

    /// The frame it is at, from 0 to below the length.
    pub(super) fn frame(&self, frames: usize) -> f64 {
        self.frame_at(self.elapsed, frames)
    }

    fn frame_at(&self, elapsed: f64, frames: usize) -> f64 {
        let within = match self.slice {
            Some(length) if elapsed >= length as f64 => {
                let length = length as f64;
                let turned = elapsed.rem_euclid(2.0 * length);
                if turned < length {
                    turned
                } else {
                    (2.0 * length - 1.0 - turned).max(0.0)
                }
            }
            _ => elapsed,
        };
        let frames = frames as f64;
        let frame = (self.origin as f64 + within).rem_euclid(frames);
        // A negative number smaller than a frame's rounding comes out as the length itself.
        if frame < frames { frame } else { 0.0 }
    }

    /// The sample before the next one.
    pub(super) fn previous(&self, clip: &LoopClip) -> [f32; 2] {
        self.value(clip, self.elapsed - self.step)
    }

    fn value(&self, clip: &LoopClip, elapsed: f64) -> [f32; 2] {
        let frame = self.frame_at(elapsed, clip.frames());
        if frame.fract() == 0.0 && self.step == 1.0 {
            [0, 1].map(|channel| clip.channels[channel][frame as usize])
        } else {
            self.kernel.read(&clip.channels, frame)
        }
    }

    /// Writes the next samples.
    pub(super) fn read(&mut self, clip: &LoopClip, output: [&mut [f32]; 2]) {
        let [left, right] = output;
        let mut done = 0;
        while done < left.len() {
            let run = self.straight_run(clip.frames()).min(left.len() - done);
            if run == 0 {
                [left[done], right[done]] = self.value(clip, self.elapsed);
                self.elapsed += self.step;
                done += 1;
                continue;
            }
            let from = self.frame(clip.frames()) as usize;
            left[done..done + run].copy_from_slice(&clip.channels[0][from..from + run]);
            right[done..done + run].copy_from_slice(&clip.channels[1][from..from + run]);
            self.elapsed += run as f64;
            done += run;
        }
        if self.slice.is_none() {
            self.elapsed = self.frame(clip.frames());
        }
    }

    /// Frames from here that can be copied as they lie.
    fn straight_run(&self, frames: usize) -> usize {
        if self.step != 1.0 || self.elapsed.fract() != 0.0 {
            return 0;
        }
        let to_end = frames - self.frame(frames) as usize;
        match self.slice {
            None => to_end,
            Some(length) => to_end.min((length as f64 - self.elapsed).max(0.0) as usize),
        }
    }
}
