//! Attack, decay, sustain, release.

/// Times in seconds; `sustain` is a level in `0..=1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adsr {
    pub(crate) attack_secs: f32,
    pub(crate) decay_secs: f32,
    pub(crate) sustain: f32,
    pub(crate) release_secs: f32,
}

impl Adsr {
    pub(crate) const fn new(attack: f32, decay: f32, sustain: f32, release: f32) -> Self {
        Self {
            attack_secs: attack,
            decay_secs: decay,
            sustain,
            release_secs: release,
        }
    }

    /// Frames from the start of a note to silence.
    pub(crate) fn frames(&self, gate_secs: f32, sample_rate_hz: f32) -> usize {
        ((gate_secs + self.release_secs * 1.6) * sample_rate_hz) as usize + 1
    }
}

/// One running envelope: a linear attack, exponential decay and release.
pub(crate) struct Envelope {
    level: f32,
    attack_step: f32,
    decay: f32,
    sustain: f32,
    release: f32,
    gate_frames: usize,
    frame: usize,
    attacking: bool,
}

/// The factor per frame of an exponential that falls by 60 dB in `secs`.
pub(crate) fn decay_factor(secs: f32, sample_rate_hz: f32) -> f32 {
    (-6.907_755 / (secs.max(1e-4) * sample_rate_hz)).exp()
}

impl Envelope {
    pub(crate) fn new(shape: &Adsr, gate_secs: f32, sample_rate_hz: f32) -> Self {
        Self {
            level: 0.0,
            attack_step: 1.0 / (shape.attack_secs * sample_rate_hz).max(1.0),
            decay: decay_factor(shape.decay_secs, sample_rate_hz),
            sustain: shape.sustain,
            release: decay_factor(shape.release_secs, sample_rate_hz),
            gate_frames: (gate_secs * sample_rate_hz) as usize,
            frame: 0,
            attacking: true,
        }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> f32 {
        if self.frame >= self.gate_frames {
            self.level *= self.release;
        } else if self.attacking {
            self.level += self.attack_step;
            if self.level >= 1.0 {
                self.level = 1.0;
                self.attacking = false;
            }
        } else {
            self.level = self.sustain + (self.level - self.sustain) * self.decay;
        }
        self.frame += 1;
        self.level
    }
}
