//! Where bars begin: before a change of metre at multiples of their length, after one elsewhere.

/// A bar may begin so many quarters beside where the host says that the position is: it rounds, and speaks of a block's first sample.
const TOLERANCE_QUARTERS: f64 = 1.0 / 16.0;
/// Bars begin at multiples of this: the shortest unit of a metre is a thirty-second note.
const UNIT_QUARTERS: f64 = 1.0 / 8.0;
/// 32/1.
const LONGEST_QUARTERS: f64 = 128.0;
/// So near to a multiple is on it; hosts round to 480 ticks a quarter and finer.
const ON_UNIT_QUARTERS: f64 = 1.0 / 480.0;
/// A bar whose length is not the one before's length later has begun this recently, or the host does not tell the truth; longer than a block.
const RECENT_QUARTERS: f64 = 0.5;
/// For so long a host may be misunderstood; longer than a block.
const DOUBT_QUARTERS: f64 = 1.0;

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

    /// Whether it begins later, which no bar under way does; before the song's beginning some hosts say its first bar.
    fn is_to_come(self, quarters: f64) -> bool {
        quarters >= 0.0 && self.start_quarters > quarters + TOLERANCE_QUARTERS
    }

    /// Where no tick is rounded; none for a bar that begins where no metre lets one begin.
    fn on_unit(self) -> Option<Self> {
        let start_quarters = (self.start_quarters / UNIT_QUARTERS).round() * UNIT_QUARTERS;
        let is_on_unit = (self.start_quarters - start_quarters).abs() <= ON_UNIT_QUARTERS;
        is_on_unit.then_some(Self {
            start_quarters,
            ..self
        })
    }

    /// Quarters from a multiple of its length to its beginning.
    fn offset(self) -> f64 {
        self.start_quarters.rem_euclid(self.quarters)
    }
}

/// Remembers what the host has said of its bars, and how a loop is to be moved so that its bars are the host's.
#[derive(Debug, Default)]
pub(super) struct Bars {
    /// The last one that was believed.
    bar: Option<Bar>,
    /// Of what the host says as its metre, believed or not.
    bar_quarters: Option<f64>,
    /// Since when the host says that bars begin at multiples of their length, though they did not before.
    doubtful_since: Option<f64>,
    /// Since when the bar that it says is not the one that a block begins in.
    stale_since: Option<f64>,
    /// Found out, and not asked any more.
    is_liar: bool,
    /// Another bar than the one before lets expect, until the next one.
    candidate: Option<Bar>,
    shift_quarters: f64,
    /// Length of the bars that the shift is for.
    shifted_quarters: f64,
}

impl Bars {
    /// What the host says of a block that begins at this position, and whether that is where the one before ended.
    pub(super) fn hear(&mut self, said: Option<Bar>, quarters: f64, follows: bool) {
        if !follows {
            *self = Self {
                is_liar: self.is_liar,
                ..Self::default()
            };
        }
        let said = said.filter(|bar| bar.is_sensible());
        self.bar_quarters = said.map(|bar| bar.quarters);
        if said.is_some_and(|bar| bar.is_to_come(quarters)) {
            self.find_out();
        }
        if said.is_none_or(|bar| bar.holds(quarters)) {
            self.stale_since = None;
        } else if quarters - *self.stale_since.get_or_insert(quarters) >= DOUBT_QUARTERS {
            // One that is over for so long was never under way.
            self.find_out();
        }
        let held = said.filter(|bar| bar.holds(quarters) && !self.is_liar);
        let Some(bar) = held.and_then(Bar::on_unit) else {
            return;
        };
        let before = self.bar.filter(|before| before.quarters == bar.quarters);
        let moved = before.filter(|before| before.offset() != bar.offset());
        if moved.is_some() && bar.offset() == 0.0 {
            // Where a host's block is cut at a change of a parameter, the framework works the bar out anew from the position and the metre alone.
            // Bars that went on do not move for that.
            let since = *self.doubtful_since.get_or_insert(quarters);
            if quarters - since < DOUBT_QUARTERS {
                return;
            }
        } else if moved.is_some() && quarters - bar.start_quarters > RECENT_QUARTERS {
            return self.wait_for_next(bar);
        }
        self.bar = Some(bar);
        (self.candidate, self.doubtful_since) = (None, None);
    }

    /// Bars may have been put into the song, or taken out of it, before the one that plays: the next one shows whether that is so.
    fn wait_for_next(&mut self, bar: Bar) {
        match self.candidate {
            Some(candidate) if candidate == bar => {}
            Some(candidate) if candidate.offset() == bar.offset() => {
                self.bar = Some(bar);
                (self.candidate, self.doubtful_since) = (None, None);
            }
            Some(_) => self.find_out(),
            None => self.candidate = Some(bar),
        }
    }

    fn find_out(&mut self) {
        self.is_liar = true;
        (self.bar, self.candidate, self.shift_quarters) = (None, None, 0.0);
    }

    /// By how many quarters a loop whose own bars have this length is to be ahead of the host's position: to the next beginning of a bar. In bars
    /// of another length it goes on as it was.
    pub(super) fn shift(&mut self, loop_bar_quarters: f64) -> f64 {
        if self.shifted_quarters != loop_bar_quarters {
            (self.shift_quarters, self.shifted_quarters) = (0.0, loop_bar_quarters);
        }
        if let Some(bar) = self.bar
            && (bar.quarters - loop_bar_quarters).abs() < ON_UNIT_QUARTERS
        {
            self.shift_quarters = (bar.quarters - bar.offset()).rem_euclid(bar.quarters);
        }
        self.shift_quarters
    }

    /// Quarters from a position to the next one that begins a bar, if the host says a metre.
    pub(super) fn until_bar(&self, quarters: f64) -> Option<f64> {
        let length = self.bar_quarters?;
        let start = self.bar.filter(|bar| bar.quarters == length);
        let start = start.map_or(0.0, |bar| bar.start_quarters);
        let over = (quarters - start).rem_euclid(length);
        // A rounded position may lie a little behind the bar that it means.
        let is_on_bar = over <= ON_UNIT_QUARTERS;
        Some(if is_on_bar { 0.0 } else { length - over })
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

    /// What comes of a block for a loop in 4/4.
    fn shift(bars: &mut Bars, said: Option<Bar>, quarters: f64, follows: bool) -> f64 {
        bars.hear(said, quarters, follows);
        bars.shift(4.0)
    }

    #[test]
    fn a_loop_is_moved_to_the_bars_of_its_own_metre() {
        let mut bars = Bars::default();
        assert_eq!(shift(&mut bars, bar(0.0, 4.0), 0.0, false), 0.0);
        // A bar of 3/4 and back: its three beats are played, then the next bar begins.
        assert_eq!(shift(&mut bars, bar(4.0, 3.0), 4.0, true), 0.0);
        assert_eq!(shift(&mut bars, bar(4.0, 3.0), 6.9, true), 0.0);
        assert_eq!(shift(&mut bars, bar(7.0, 4.0), 7.1, true), 1.0);
        assert_eq!(shift(&mut bars, bar(11.0, 4.0), 11.0, true), 1.0);
        // Another one: until its end all goes on.
        assert_eq!(shift(&mut bars, bar(15.0, 3.0), 15.0, true), 1.0);
        assert_eq!(shift(&mut bars, bar(18.0, 4.0), 18.0, true), 2.0);
        // A start elsewhere is no different; ticks, a bar of seven eighths before, and before the song's beginning.
        assert_eq!(shift(&mut bars, bar(11.0, 4.0), 12.5, false), 1.0);
        assert_eq!(shift(&mut bars, bar(16.501, 4.0), 16.5, false), 3.5);
        assert_eq!(shift(&mut bars, bar(-3.0, 4.0), -2.0, false), 3.0);
        // In another metre than its own a loop begins with the song.
        assert_eq!(shift(&mut bars, bar(7.0, 3.0), 7.5, false), 0.0);
    }

    #[test]
    fn a_block_that_the_framework_cuts_changes_nothing() {
        let mut bars = Bars::default();
        assert_eq!(shift(&mut bars, bar(13.0, 4.0), 13.5, false), 3.0);
        // Of the position alone the bar would have begun at 12.
        assert_eq!(shift(&mut bars, bar(12.0, 4.0), 13.6, true), 3.0);
        assert_eq!(shift(&mut bars, bar(13.0, 4.0), 16.9, true), 3.0);
        assert_eq!(shift(&mut bars, bar(16.0, 4.0), 17.01, true), 3.0);
        assert_eq!(shift(&mut bars, bar(17.0, 4.0), 17.02, true), 3.0);
        // The odd bar is taken out of the song while it plays: after a while that is believed.
        assert_eq!(shift(&mut bars, bar(16.0, 4.0), 17.1, true), 3.0);
        assert_eq!(shift(&mut bars, bar(16.0, 4.0), 18.2, true), 0.0);
        assert_eq!(shift(&mut bars, bar(20.0, 4.0), 20.0, true), 0.0);
        assert_eq!(shift(&mut bars, bar(21.0, 4.0), 21.2, true), 3.0);
        // One is put in before the bar that plays: the next bar shows it.
        assert_eq!(shift(&mut bars, bar(22.0, 4.0), 24.0, true), 3.0);
        assert_eq!(shift(&mut bars, bar(22.0, 4.0), 25.9, true), 3.0);
        assert_eq!(shift(&mut bars, bar(26.0, 4.0), 26.1, true), 2.0);
    }

    #[test]
    fn a_host_that_says_nothing_for_a_while_is_understood_as_before() {
        let mut bars = Bars::default();
        assert_eq!(shift(&mut bars, bar(13.0, 4.0), 13.5, false), 3.0);
        // No bar, one that is a block old, one that begins where none can.
        assert_eq!(shift(&mut bars, None, 14.0, true), 3.0);
        assert_eq!(shift(&mut bars, bar(13.0, 4.0), 17.1, true), 3.0);
        assert_eq!(shift(&mut bars, bar(17.3, 4.0), 17.4, true), 3.0);
        assert_eq!(shift(&mut bars, bar(17.0, 4.0), 17.5, true), 3.0);
        assert_eq!(shift(&mut bars, None, 0.0, false), 0.0);
        // Before the song's beginning some say its first bar.
        assert_eq!(shift(&mut bars, bar(0.0, 4.0), -2.0, false), 0.0);
    }

    #[test]
    fn hosts_that_say_what_cannot_be_are_not_believed() {
        // Four quarters a bar whatever the metre, counted from one: 12/8, then 5/4.
        for (length, from, believed) in [(6.0, 0.0, 0.0), (5.0, 0.0, 0.0), (6.0, 18.0, 2.0)] {
            let mut bars = Bars::default();
            let mut heard = Vec::new();
            for block in 0..2000 {
                let quarters = from + f64::from(block) * 0.05;
                let number = (quarters / length).floor() + 1.0;
                bars.hear(bar(4.0 * number, length), quarters, block > 0);
                heard.push(bars.shift(length));
            }
            let wrong = heard.iter().filter(|shift| **shift != 0.0);
            assert!(wrong.clone().all(|shift| *shift == believed), "{length}");
            assert!(wrong.count() <= 300, "for more than three bars, {length}");
            assert_eq!(heard[1999], 0.0);
        }
        // Zero always.
        let mut bars = Bars::default();
        assert_eq!(shift(&mut bars, bar(0.0, 4.0), 9.0, false), 0.0);
        for nonsense in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e300] {
            for said in [bar(nonsense, 4.0), bar(1.0, nonsense)] {
                let mut bars = Bars::default();
                assert_eq!(shift(&mut bars, said, 1.0, false), 0.0);
                assert!(bars.until_bar(1.0).is_none_or(|until| until == 3.0));
            }
        }
        for quarters in [0.0, -4.0] {
            let mut bars = Bars::default();
            assert_eq!(shift(&mut bars, bar(1.0, quarters), 1.0, true), 0.0);
            assert_eq!(bars.until_bar(1.0), None);
        }
    }

    #[test]
    fn the_next_bar_is_found() {
        let mut bars = Bars::default();
        assert_eq!(bars.until_bar(9.5), None);
        bars.hear(bar(9.0, 4.0), 9.5, false);
        assert_eq!(bars.until_bar(9.5), Some(3.5));
        assert_eq!(
            (bars.until_bar(13.0), bars.until_bar(13.002)),
            (Some(0.0), Some(0.0))
        );
        assert_eq!(bars.until_bar(12.999), Some(13.0 - 12.999));
        // The host's bar cannot be: its metre is all that is known.
        bars.hear(bar(12.0, 3.0), 9.5, false);
        assert_eq!(bars.until_bar(9.5), Some(2.5));
    }
}
