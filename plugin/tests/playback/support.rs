//! A host in small.

use assert_no_alloc::assert_no_alloc;
use plugin::parameters::PlayMode;
use plugin::playback::{Block, ExchangeSender, LoopClip, NoteEvent, Player, Settings, exchange};

pub(crate) const RATE_HZ: f64 = 48_000.0;

pub(crate) const SETTINGS: Settings = Settings {
    mode: PlayMode::Loop,
    slot: 0,
    audition: false,
    gain: 1.0,
    root_key: 60,
    attack_secs: 0.0,
    release_secs: 0.01,
};

/// A player, and what a host knows.
pub(crate) struct Host {
    pub(crate) player: Player,
    pub(crate) sender: ExchangeSender,
    pub(crate) rate_hz: f64,
    pub(crate) settings: Settings,
    pub(crate) tempo_bpm: f64,
    pub(crate) quarters: f64,
    pub(crate) is_playing: bool,
}

impl Host {
    pub(crate) fn new(rate_hz: f64, tempo_bpm: f64) -> Self {
        let (sender, receiver) = exchange();
        Self {
            player: Player::new(rate_hz, receiver),
            sender,
            rate_hz,
            settings: SETTINGS,
            tempo_bpm,
            quarters: 0.0,
            is_playing: true,
        }
    }

    pub(crate) fn with_clip(rate_hz: f64, tempo_bpm: f64, clip: &LoopClip) -> Self {
        let mut host = Self::new(rate_hz, tempo_bpm);
        host.give(0, clip);
        host
    }

    pub(crate) fn give(&mut self, slot: usize, clip: &LoopClip) {
        let is_sent = self.sender.send(slot, Some(Box::new(clip.clone()))).is_ok();
        assert!(is_sent, "there is room");
    }

    pub(crate) fn block(&self) -> Block {
        Block {
            is_playing: self.is_playing,
            tempo_bpm: Some(self.tempo_bpm),
            position_quarters: Some(self.quarters),
            position_samples: None,
            bar: None,
        }
    }

    /// Plays a block as the host says it is, and goes on to the next.
    pub(crate) fn play(&mut self, samples: usize) -> [Vec<f32>; 2] {
        let block = self.block();
        self.play_block(samples, &block, &[])
    }

    pub(crate) fn play_block(
        &mut self,
        samples: usize,
        block: &Block,
        events: &[NoteEvent],
    ) -> [Vec<f32>; 2] {
        let mut output = [vec![9.0; samples], vec![9.0; samples]];
        let [left, right] = &mut output;
        assert_no_alloc(|| {
            self.player
                .process([left, right], block, events.iter().copied(), &self.settings);
        });
        if self.is_playing {
            self.quarters += samples as f64 * self.tempo_bpm / (60.0 * self.rate_hz);
        }
        output
    }

    /// Plays so many samples in blocks of sizes that a seed draws.
    pub(crate) fn play_in_blocks(&mut self, samples: usize, seed: &mut Random) -> [Vec<f32>; 2] {
        let mut output = [vec![], vec![]];
        while output[0].len() < samples {
            let most = [1, 7, 64, 500, 9000][seed.below(5)];
            let block = (1 + seed.below(most)).min(samples - output[0].len());
            append(&mut output, &self.play(block));
        }
        output
    }
}

pub(crate) fn append(whole: &mut [Vec<f32>; 2], part: &[Vec<f32>; 2]) {
    for (whole, part) in whole.iter_mut().zip(part) {
        whole.extend_from_slice(part);
    }
}

/// Numbers that are the same every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    pub(crate) fn sample(&mut self) -> f32 {
        self.below(1 << 20) as f32 / (1 << 20) as f32 * 1.8 - 0.9
    }
}

/// A clip whose frames are made by a function of the frame.
pub(crate) fn clip_of(
    rate_hz: f64,
    tempo_bpm: f64,
    quarters: f64,
    mut frame: impl FnMut(usize) -> [f32; 2],
) -> LoopClip {
    let frames = (quarters * 60.0 / tempo_bpm * rate_hz).round() as usize;
    let mut clip = LoopClip {
        number: 1,
        sample_rate_hz: rate_hz,
        tempo_bpm,
        quarters,
        bar_quarters: 4.0,
        ..LoopClip::default()
    };
    for at in 0..frames {
        let [left, right] = frame(at);
        clip.channels[0].push(left);
        clip.channels[1].push(right);
    }
    clip
}

/// Noise, different on both sides, and silent at the end, so that even its first sample can be played as it is.
pub(crate) fn noise(rate_hz: f64, tempo_bpm: f64, quarters: f64) -> LoopClip {
    let mut random = Random(1);
    let frames = (quarters * 60.0 / tempo_bpm * rate_hz).round() as usize;
    clip_of(rate_hz, tempo_bpm, quarters, |frame| {
        let noise = [random.sample(), random.sample()];
        if frame + 1 == frames { [0.0; 2] } else { noise }
    })
}

/// An impulse on each quarter, the loop's first one higher.
pub(crate) fn clicks(rate_hz: f64, tempo_bpm: f64, quarters: f64) -> LoopClip {
    let quarter = 60.0 / tempo_bpm * rate_hz;
    let places: Vec<usize> = (0..quarters.ceil() as usize)
        .map(|beat| (beat as f64 * quarter).round() as usize)
        .collect();
    clip_of(rate_hz, tempo_bpm, quarters, |frame| {
        match places.iter().position(|place| *place == frame) {
            Some(0) => [0.9, -0.9],
            Some(_) => [0.5, -0.5],
            None => [0.0; 2],
        }
    })
}

/// Whole periods of a sine to the loop.
pub(crate) fn sine(rate_hz: f64, tempo_bpm: f64, quarters: f64, periods: usize) -> LoopClip {
    let frames = (quarters * 60.0 / tempo_bpm * rate_hz).round();
    let step = std::f64::consts::TAU * periods as f64 / frames;
    clip_of(rate_hz, tempo_bpm, quarters, |frame| {
        let phase = step * frame as f64;
        [0.5 * phase.sin() as f32, 0.5 * phase.cos() as f32]
    })
}

/// The sine of this frequency that is nearest to some samples: its amplitude, and what is left without it, as a share of it in dB.
pub(crate) fn fit_sine(samples: &[f32], hz: f64, rate_hz: f64) -> (f64, f64) {
    let step = std::f64::consts::TAU * hz / rate_hz;
    let (mut sine_sum, mut cosine_sum) = (0.0, 0.0);
    // A Hann window, so that the window's ends do not count.
    let window =
        |at: usize| 1.0 - (std::f64::consts::TAU * (at as f64 + 0.5) / samples.len() as f64).cos();
    for (at, sample) in samples.iter().enumerate() {
        let (sine, cosine) = (step * at as f64).sin_cos();
        sine_sum += f64::from(*sample) * sine * window(at);
        cosine_sum += f64::from(*sample) * cosine * window(at);
    }
    let scale = 2.0 / samples.len() as f64;
    let (sine_level, cosine_level) = (sine_sum * scale, cosine_sum * scale);
    let rest: f64 = samples
        .iter()
        .enumerate()
        .map(|(at, sample)| {
            let (sine, cosine) = (step * at as f64).sin_cos();
            (f64::from(*sample) - sine_level * sine - cosine_level * cosine).powi(2)
        })
        .sum();
    let amplitude = sine_level.hypot(cosine_level);
    let rest = (2.0 * rest / samples.len() as f64).sqrt();
    (amplitude, 20.0 * (rest / amplitude).log10())
}

/// Largest difference between neighbours.
pub(crate) fn largest_jump(samples: &[f32]) -> f32 {
    samples
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .fold(0.0, f32::max)
}

/// Bits, for comparisons that let nothing pass.
pub(crate) fn bits(samples: &[f32]) -> Vec<u32> {
    samples.iter().map(|sample| sample.to_bits()).collect()
}
