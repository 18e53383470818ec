//! Where the music is, out of what the host says, which may be incomplete or nonsense.

use super::bars::Bars;
use super::clip::LoopClip;
use super::player::Block;

/// Tempos that are believed.
const TEMPOS_BPM: std::ops::RangeInclusive<f64> = 10.0..=1000.0;
/// When neither the host nor a clip has one.
const FALLBACK_BPM: f64 = 120.0;
/// Positions beyond this are not believed; it is years of music.
const MOST_QUARTERS: f64 = 1e9;
/// Ticks of a quarter to which hosts round positions in the music, if they do; coarser ones are among them.
const TICKS: f64 = 1920.0;
/// Of a tick: so near to one is on it.
const ON_TICK: f64 = 1e-6;
/// A block that begins so near to where the one before ended goes on from there; in a tempo ramp it is not the same.
const FOLLOWS_QUARTERS: f64 = 1.0 / 16.0;

/// What a block plays from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moment {
    /// Position of the block's first sample, counted so that bars of the clip's metre begin at multiples of their length.
    pub(super) quarters: f64,
    /// To the next position that begins a bar, or has begun to be played by a jump; none where the host does not say its metre, and in audition.
    pub(super) quarters_to_bar: Option<f64>,
    pub(super) tempo_bpm: f64,
    pub(super) quarters_per_sample: f64,
    /// Whether this is the first block of a run.
    pub(super) is_start: bool,
    /// Whether the position is known to the sample; otherwise the host may have rounded it.
    pub(super) is_exact: bool,
}

impl Moment {
    /// See [`Self::quarters_to_bar`].
    pub(super) fn frames_to_bar(self) -> Option<usize> {
        let frames = self.quarters_to_bar? / self.quarters_per_sample;
        Some(frames.round() as usize)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Stopped,
    Host,
    Audition,
}

/// Counts on where the host says nothing, and while the loop is auditioned.
#[derive(Debug)]
pub(super) struct Transport {
    clock: Clock,
    /// Position after the last block.
    expected_quarters: f64,
    /// What the host said last, to see whether it moves.
    host_quarters: Option<f64>,
    bars: Bars,
    sample_rate_hz: f64,
}

impl Transport {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            clock: Clock::Stopped,
            expected_quarters: 0.0,
            host_quarters: None,
            bars: Bars::default(),
            sample_rate_hz,
        }
    }

    /// Where a block of so many samples begins, or nothing while nothing rolls.
    pub(super) fn follow(
        &mut self,
        block: &Block,
        is_audition: bool,
        clip: Option<&LoopClip>,
        samples: usize,
    ) -> Option<Moment> {
        let clock = match (block.is_playing, is_audition) {
            (true, _) => Clock::Host,
            (false, true) => Clock::Audition,
            (false, false) => Clock::Stopped,
        };
        let is_start = clock != self.clock;
        self.clock = clock;
        if is_start {
            (self.expected_quarters, self.host_quarters) = (0.0, None);
        }
        let own_bpm = clip.map_or(FALLBACK_BPM, |clip| clip.tempo_bpm);
        let (quarters, tempo_bpm) = match clock {
            Clock::Stopped => return None,
            Clock::Audition => (self.expected_quarters, own_bpm),
            Clock::Host => (
                self.host_position(block.position_quarters),
                block
                    .tempo_bpm
                    .filter(|tempo| TEMPOS_BPM.contains(tempo))
                    .unwrap_or(own_bpm),
            ),
        };
        let quarters_per_sample = tempo_bpm / (60.0 * self.sample_rate_hz);
        let is_said = block.position_quarters == Some(quarters);
        let counted = block
            .position_samples
            .filter(|_| clock == Clock::Host && is_said)
            .map(|position| position as f64 * quarters_per_sample)
            .filter(|counted| is_rounding_of(quarters, *counted));
        let follows = !is_start && (quarters - self.expected_quarters).abs() <= FOLLOWS_QUARTERS;
        let quarters = counted.unwrap_or(quarters);
        let bar = block.bar.filter(|_| clock == Clock::Host && is_said);
        self.bars.hear(bar, quarters, follows);
        let quarters_to_bar = match clock {
            // Where the host jumps is where music begins, too: its own loop may have no bar in it.
            Clock::Host if !is_start && !follows => Some(0.0),
            Clock::Host => self.bars.until_bar(quarters),
            _ => None,
        };
        self.expected_quarters = quarters + samples as f64 * quarters_per_sample;
        Some(Moment {
            quarters: quarters + self.bars.shift(clip.map_or(0.0, |clip| clip.bar_quarters)),
            quarters_to_bar,
            tempo_bpm,
            quarters_per_sample,
            is_start,
            is_exact: counted.is_some(),
        })
    }

    /// The host's position where it is one. Some hosts roll and say the same position for ever.
    fn host_position(&mut self, said: Option<f64>) -> f64 {
        let believed = said.filter(|quarters| quarters.abs() <= MOST_QUARTERS);
        let is_stuck = believed.is_some() && believed == self.host_quarters;
        self.host_quarters = believed;
        match believed {
            Some(quarters) if !is_stuck => quarters,
            _ => self.expected_quarters,
        }
    }
}

/// Whether a position in the music is that of so many samples, rounded to a tick. The tempo has then been the same since the song's beginning.
fn is_rounding_of(quarters: f64, counted_quarters: f64) -> bool {
    let ticks = quarters * TICKS;
    (ticks - ticks.round()).abs() < ON_TICK && (ticks - counted_quarters * TICKS).abs() <= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playback::bars::Bar;

    fn clip(tempo_bpm: f64) -> LoopClip {
        LoopClip {
            tempo_bpm,
            ..LoopClip::default()
        }
    }

    fn block(tempo_bpm: Option<f64>, position_quarters: Option<f64>) -> Block {
        Block {
            is_playing: true,
            tempo_bpm,
            position_quarters,
            position_samples: None,
            bar: None,
        }
    }

    #[test]
    fn nonsense_is_replaced() {
        for nonsense in [None, Some(f64::NAN), Some(0.0), Some(-3.0), Some(1e30)] {
            let mut transport = Transport::new(48_000.0);
            let moment = transport
                .follow(&block(nonsense, Some(2.0)), false, Some(&clip(90.0)), 64)
                .unwrap();
            assert_eq!((moment.tempo_bpm, moment.quarters), (90.0, 2.0));
        }
        for nonsense in [None, Some(f64::NAN), Some(f64::INFINITY), Some(7.0)] {
            let mut transport = Transport::new(48_000.0);
            transport.follow(&block(Some(60.0), Some(7.0)), false, None, 48_000);
            let moment = transport
                .follow(&block(Some(60.0), nonsense), false, None, 64)
                .unwrap();
            assert_eq!((moment.quarters, moment.is_start), (8.0, false));
        }
    }

    #[test]
    fn positions_on_ticks_are_counted_in_samples() {
        let mut transport = Transport::new(44_100.0);
        let mut at = |position_samples, quarters| {
            let block = Block {
                position_samples: Some(position_samples),
                ..block(Some(120.0), Some(quarters))
            };
            let moment = transport.follow(&block, false, None, 64).unwrap();
            (moment.quarters, moment.is_exact)
        };
        // 1000 samples are 87.07 ticks.
        assert_eq!(at(1000, 87.0 / 1920.0), (1000.0 / 22_050.0, true));
        assert_eq!(at(2000, 175.0 / 1920.0), (2000.0 / 22_050.0, true));
        // The tempo was another one before, or the host does not round.
        assert_eq!(at(3000, 300.0 / 1920.0), (300.0 / 1920.0, false));
        assert_eq!(at(4000, 4001.0 / 22_050.0), (4001.0 / 22_050.0, false));
    }

    #[test]
    fn the_next_bar_is_told_and_a_jump_is_as_good_as_one() {
        let mut transport = Transport::new(48_000.0);
        let mut to_bar = |position_quarters: Option<f64>, bar: Option<Bar>| {
            let block = Block {
                bar,
                ..block(Some(120.0), position_quarters)
            };
            let moment = transport.follow(&block, false, None, 2400).unwrap();
            moment.frames_to_bar()
        };
        let bar = Some(Bar {
            start_quarters: 3.0,
            quarters: 4.0,
        });
        assert_eq!(to_bar(Some(5.0), bar), Some(48_000));
        assert_eq!(to_bar(Some(5.1), bar), Some(45_600));
        // A host that always says the same goes on, and a block without a metre says nothing.
        assert_eq!(to_bar(Some(5.1), bar), None);
        assert_eq!(to_bar(Some(5.3), None), None);
        // Its own loop goes round without a bar in it.
        assert_eq!(to_bar(Some(4.0), bar), Some(0));
        let stopped = Block {
            is_playing: false,
            ..block(Some(120.0), Some(5.0))
        };
        let auditioned = transport.follow(&stopped, true, None, 64).unwrap();
        assert_eq!(auditioned.frames_to_bar(), None);
    }

    #[test]
    fn audition_has_its_own_clock() {
        let mut transport = Transport::new(48_000.0);
        let stopped = Block {
            is_playing: false,
            ..block(Some(120.0), Some(5.0))
        };
        assert_eq!(
            transport.follow(&stopped, false, Some(&clip(60.0)), 64),
            None
        );
        let mut quarters = || {
            let moment = transport.follow(&stopped, true, Some(&clip(60.0)), 24_000);
            moment.map(|moment| (moment.quarters, moment.tempo_bpm, moment.is_start))
        };
        assert_eq!(quarters(), Some((0.0, 60.0, true)));
        assert_eq!(quarters(), Some((0.5, 60.0, false)));
    }
}
