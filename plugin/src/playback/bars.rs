//! Where bars begin: before a change of metre at multiples of their length, after one elsewhere.

use super::player::Block;

/// A bar may begin so many quarters beside where the host says that the position is: it rounds, and speaks of a block's first sample.
const TOLERANCE_QUARTERS: f64 = 1.0 / 16.0;
/// Bars begin at multiples of this: the shortest unit of a metre is a thirty-second note.
const UNIT_QUARTERS: f64 = 1.0 / 8.0;
/// 32/1.
const LONGEST_QUARTERS: f64 = 128.0;
/// So near to a multiple is on it; hosts round to 480 ticks a quarter and finer.
const ON_UNIT_QUARTERS: f64 = 1.0 / 480.0;

/// The bar that a block begins in, as the host says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Where it begins, in quarter notes from the song's beginning.
    pub start_quarters: f64,
    /// Its length by the metre.
    pub quarters: f64,
}

impl Bar {
    fn is_sensible(self) -> bool {
        self.quarters > 0.0 && self.quarters <= LONGEST_QUARTERS
    }

    /// Whether a position lies in it, which of some hosts' bars it does not: they say zero always, or count four quarters a bar whatever the metre.
    fn holds(self, quarters: f64) -> bool {
        let over = quarters - self.start_quarters;
        (-TOLERANCE_QUARTERS..self.quarters + TOLERANCE_QUARTERS).contains(&over)
    }

    /// Quarters by which it begins after a multiple of its length.
    fn offset(self) -> Option<f64> {
        let offset = self.start_quarters.rem_euclid(self.quarters);
        let on_unit = (offset / UNIT_QUARTERS).round() * UNIT_QUARTERS;
        let is_on_unit = (offset - on_unit).abs() <= ON_UNIT_QUARTERS;
        is_on_unit.then(|| on_unit.rem_euclid(self.quarters))
    }
}

/// Frames from a block's first one to the next that begins a bar, 0 where that is the first; none where the transport stands or the host
/// does not say where it is.
pub fn frames_to_bar(block: &Block, sample_rate_hz: f64) -> Option<usize> {
    let position = block.position_quarters.filter(|_| block.is_playing)?;
    let bar = block.bar.filter(|bar| bar.is_sensible())?;
    let frames_per_quarter = 60.0 / block.tempo_bpm? * sample_rate_hz;
    let start = if bar.holds(position) {
        bar.start_quarters
    } else {
        0.0
    };
    let over = (position - start).rem_euclid(bar.quarters);
    // A rounded position may lie a little before or after the bar that it means.
    let is_on_bar = over.min(bar.quarters - over) <= ON_UNIT_QUARTERS;
    let left = if is_on_bar { 0.0 } else { bar.quarters - over };
    let frames = (left * frames_per_quarter).round();
    // Of nonsense nothing comes.
    (frames.is_finite() && frames >= 0.0).then_some(frames as usize)
}

/// Remembers what the host has said of its bars.
#[derive(Debug)]
pub(super) struct Bars {
    offset_quarters: f64,
    bar_quarters: f64,
    /// Until the host says what cannot be.
    is_believed: bool,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self {
            offset_quarters: 0.0,
            bar_quarters: 0.0,
            is_believed: true,
        }
    }

    /// Quarters by which bars begin after multiples of their length, from a block's first sample at this position on. `follows` says
    /// whether the block begins where the one before ended.
    pub(super) fn offset(&mut self, said: Option<Bar>, quarters: f64, follows: bool) -> f64 {
        let sensible = said.filter(|bar| bar.is_sensible());
        let offset = sensible.map(|bar| bar.offset().filter(|_| bar.holds(quarters)));
        self.is_believed &= offset != Some(None);
        let (true, Some(bar), Some(Some(offset))) = (self.is_believed, sensible, offset) else {
            self.offset_quarters = 0.0;
            return 0.0;
        };
        let is_same_metre = bar.quarters == self.bar_quarters;
        self.bar_quarters = bar.quarters;
        // Where a host's block is cut at a change of a parameter, the framework works the bar out anew from the position and the metre alone and
        // so says zero. Bars that went on do not move.
        if offset != 0.0 || !is_same_metre || !follows {
            self.offset_quarters = offset;
        }
        self.offset_quarters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(start_quarters: f64, quarters: f64) -> Option<Bar> {
        Some(Bar {
            start_quarters,
            quarters,
        })
    }

    #[test]
    fn bars_after_a_change_of_metre_begin_where_the_host_says() {
        let mut bars = Bars::new();
        assert_eq!(bars.offset(bar(0.0, 3.0), 0.5, false), 0.0);
        assert_eq!(bars.offset(bar(6.0, 3.0), 8.9, true), 0.0);
        assert_eq!(bars.offset(bar(9.0, 4.0), 9.1, true), 1.0);
        assert_eq!(bars.offset(bar(13.0, 4.0), 13.0, true), 1.0);
        // Ticks, and a bar of seven eighths before.
        assert_eq!(bars.offset(bar(16.501, 4.0), 16.5, true), 0.5);
        assert_eq!(bars.offset(bar(-3.0, 4.0), -2.0, false), 1.0);
    }

    #[test]
    fn a_block_that_the_framework_cuts_changes_nothing() {
        let mut bars = Bars::new();
        assert_eq!(bars.offset(bar(13.0, 4.0), 13.5, false), 1.0);
        // Of the position alone the bar would have begun at 12.
        assert_eq!(bars.offset(bar(12.0, 4.0), 13.6, true), 1.0);
        assert_eq!(bars.offset(bar(16.0, 4.0), 17.01, true), 1.0);
        assert_eq!(bars.offset(bar(17.0, 4.0), 17.02, true), 1.0);
        // A jump to where the metre was never another.
        assert_eq!(bars.offset(bar(0.0, 4.0), 0.0, false), 0.0);
        // A bar of two quarters, and four again.
        assert_eq!(bars.offset(bar(16.0, 2.0), 16.0, true), 0.0);
        assert_eq!(bars.offset(bar(18.0, 4.0), 18.0, true), 2.0);
    }

    #[test]
    fn hosts_that_say_what_cannot_be_are_not_believed() {
        // Four quarters a bar whatever the metre, counted from one: bar 2 of 12/8 begins at 6.
        let mut bars = Bars::new();
        assert_eq!(bars.offset(bar(4.0, 6.0), 0.0, false), 0.0);
        assert_eq!(bars.offset(bar(4.0, 6.0), 5.0, true), 0.0);
        // Zero always.
        let mut bars = Bars::new();
        assert_eq!(bars.offset(bar(0.0, 4.0), 9.0, false), 0.0);
        for nonsense in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e300] {
            assert_eq!(Bars::new().offset(bar(nonsense, 4.0), 1.0, true), 0.0);
            assert_eq!(Bars::new().offset(bar(1.0, nonsense), 1.0, true), 0.0);
        }
        for quarters in [0.0, -4.0] {
            assert_eq!(Bars::new().offset(bar(1.0, quarters), 1.0, true), 0.0);
        }
        assert_eq!(Bars::new().offset(None, 1.0, true), 0.0);
        // Where no metre lets a bar begin.
        assert_eq!(Bars::new().offset(bar(0.3, 4.0), 1.0, true), 0.0);
    }
    #[test]
    fn a_bar_begins_so_many_frames_after_a_block() {
        let block = Block {
            is_playing: true,
            tempo_bpm: Some(120.0),
            position_quarters: Some(9.5),
            position_samples: None,
            bar: bar(9.0, 4.0),
        };
        let frames = |block: Block| frames_to_bar(&block, 48_000.0);
        let at = |quarters| Block {
            position_quarters: Some(quarters),
            ..block
        };
        assert_eq!(frames(block), Some(84_000));
        assert_eq!((frames(at(9.0)), frames(at(9.002))), (Some(0), Some(0)));
        assert_eq!((frames(at(8.999)), frames(at(12.999))), (Some(0), Some(0)));
        // The host's bar cannot be, or it says none.
        let lied = Block {
            bar: bar(4.0, 3.0),
            ..block
        };
        assert_eq!(frames(lied), Some(60_000));
        assert_eq!(frames(Block { bar: None, ..block }), None);
        let is_playing = false;
        assert_eq!(
            frames(Block {
                is_playing,
                ..block
            }),
            None
        );
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let tempo_bpm = Some(nonsense);
            assert!(frames(Block { tempo_bpm, ..block }).is_none_or(|frames| frames == 0));
            assert!(frames(at(nonsense)).is_none_or(|frames| frames < 96_000));
        }
    }
}
