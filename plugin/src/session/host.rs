//! What the audio thread tells of the host, in atomics: nothing here waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use protocol::Metre;

/// Written by the audio thread, read by the conductor.
#[derive(Debug, Default)]
pub struct HostState {
    sample_rate_hz: AtomicU64,
    tempo_bpm: AtomicU64,
    metre: AtomicU64,
    presses: AtomicU64,
    vain_waits: AtomicU64,
    blocks: AtomicU64,
    is_playing: AtomicBool,
    is_offline: AtomicBool,
    expects_blocks: AtomicBool,
}

impl HostState {
    /// The host's rate, in Hz.
    pub fn set_sample_rate_hz(&self, rate_hz: f64) {
        self.sample_rate_hz
            .store(rate_hz.to_bits(), Ordering::Relaxed);
    }

    /// 0 as long as it is not known.
    pub fn sample_rate_hz(&self) -> f64 {
        f64::from_bits(self.sample_rate_hz.load(Ordering::Relaxed))
    }

    /// The tempo that clips are to be made ready for, in quarter notes a minute; only what a clip can be played at.
    pub fn set_tempo_bpm(&self, tempo_bpm: f64) {
        self.tempo_bpm.store(tempo_bpm.to_bits(), Ordering::Relaxed);
    }

    /// None as long as the host says none.
    pub fn tempo_bpm(&self) -> Option<f64> {
        let tempo = f64::from_bits(self.tempo_bpm.load(Ordering::Relaxed));
        (tempo > 0.0).then_some(tempo)
    }

    /// The time signature.
    pub fn set_metre(&self, metre: Metre) {
        let packed = u64::from(metre.beats) << 32 | u64::from(metre.unit);
        self.metre.store(packed, Ordering::Relaxed);
    }

    /// 4/4 as long as the host says none.
    pub fn metre(&self) -> Metre {
        match self.metre.load(Ordering::Relaxed) {
            0 => Metre::default(),
            packed => Metre {
                beats: (packed >> 32) as u32,
                unit: packed as u32,
            },
        }
    }

    /// One more block is processed, while the transport plays or stands.
    pub fn count_block(&self, is_playing: bool) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.is_playing.store(is_playing, Ordering::Relaxed);
    }

    /// How many blocks were processed.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Whether the transport played in the last one.
    pub fn is_playing(&self) -> bool {
        self.is_playing.load(Ordering::Relaxed)
    }

    /// Blocks are to come as long as the program runs: a DAW may let its plugins rest, without one the audio server never does.
    pub fn expect_blocks(&self) {
        self.expects_blocks.store(true, Ordering::Relaxed);
    }

    /// See [`Self::expect_blocks`].
    pub fn expects_blocks(&self) -> bool {
        self.expects_blocks.load(Ordering::Relaxed)
    }

    /// The generate parameter went on.
    pub fn press(&self) {
        self.presses.fetch_add(1, Ordering::Release);
    }

    /// How often it went on.
    pub fn presses(&self) -> u64 {
        self.presses.load(Ordering::Acquire)
    }

    /// An offline render went on without what it had waited for.
    pub fn wait_in_vain(&self) {
        self.vain_waits.fetch_add(1, Ordering::Release);
    }

    /// How often one did.
    pub fn vain_waits(&self) -> u64 {
        self.vain_waits.load(Ordering::Acquire)
    }

    /// Whether the host renders offline: clips are then made ready only when the audio thread asks and waits for it.
    pub fn set_offline(&self, is_offline: bool) {
        self.is_offline.store(is_offline, Ordering::Relaxed);
    }

    /// See [`Self::set_offline`].
    pub fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Relaxed)
    }
}
