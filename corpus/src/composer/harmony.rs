//! Chords and where they go.

use super::key::{Key, Mode};
use crate::dice::Dice;

/// A chord as semitones above the key's tonic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chord {
    /// Root, `0..12` semitones above the tonic.
    pub(crate) root: i32,
    /// Semitones of the chord's notes above its root, the root first.
    pub(crate) intervals: Vec<i32>,
}

/// How a style colours its chords and where it takes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    /// Loops of scale degrees (1 is the tonic) for keys with a major third.
    pub(crate) major: &'static [&'static [i32]],
    pub(crate) minor: &'static [&'static [i32]],
    /// Chance of four- and five-note chords.
    pub(crate) sevenths: f64,
    pub(crate) ninths: f64,
    /// Chance of a chord with a fourth or second for its third.
    pub(crate) suspended: f64,
    /// Chance that a progression is walked by function instead of taken from the loops.
    pub(crate) functional: f64,
}

impl Palette {
    /// For styles whose scales have no chords to change between.
    pub(crate) const WITHOUT_CHORDS: Self = Self {
        major: &[&[1]],
        minor: &[&[1]],
        sevenths: 0.0,
        ninths: 0.0,
        suspended: 0.0,
        functional: 0.0,
    };
}

impl Chord {
    /// The triad, or more, on a scale degree counted from one.
    pub(crate) fn on_degree(key: Key, degree: i32, notes: usize) -> Self {
        let pitch = |d: i32| (key.degree(d - 1) - key.degree(0)).round() as i32;
        let root = pitch(degree);
        let mut intervals: Vec<i32> = (0..notes as i32)
            .map(|i| pitch(degree + 2 * i) - root)
            .collect();
        // In minor keys the dominant takes the leading note.
        if degree == 5 && key.mode == Mode::Minor && intervals.len() > 1 {
            intervals[1] = 4;
        }
        Self {
            root: root.rem_euclid(12),
            intervals,
        }
    }

    /// The chord's pitches in closed position within an octave around `centre`.
    pub(crate) fn voicing(&self, key: Key, centre: f32, most: usize) -> Vec<f32> {
        let floor = centre - 6.0;
        // Without room for all, the fifth goes first: it says least.
        let mut intervals = self.intervals.clone();
        if intervals.len() > most && intervals.len() > 3 {
            intervals.remove(2);
        }
        intervals.truncate(most);
        let mut pitches: Vec<f32> = intervals
            .iter()
            .map(|interval| {
                let class = 60.0 + f32::from(key.tonic) + (self.root + interval) as f32;
                floor + (class - floor).rem_euclid(12.0)
            })
            .collect();
        pitches.sort_by(f32::total_cmp);
        pitches
    }

    /// The root's pitch in the octave from `floor` upwards.
    pub(crate) fn root_from(&self, key: Key, floor: f32) -> f32 {
        self.interval_from(key, 0, floor)
    }

    /// The pitch `interval` semitones above the root, in the octave from `floor` upwards.
    pub(crate) fn interval_from(&self, key: Key, interval: i32, floor: f32) -> f32 {
        let class = 60.0 + f32::from(key.tonic) + (self.root + interval) as f32;
        floor + (class - floor).rem_euclid(12.0)
    }

    /// The chord's fifth, or what stands for it.
    pub(crate) fn fifth(&self) -> i32 {
        self.intervals.get(2).copied().unwrap_or(7)
    }

    /// Whether a MIDI pitch belongs to the chord, in any octave.
    pub(crate) fn contains(&self, key: Key, midi: f32) -> bool {
        let class = (midi - 60.0 - f32::from(key.tonic)).round() as i32 - self.root;
        self.intervals
            .iter()
            .any(|interval| (interval - class).rem_euclid(12) == 0)
    }
}

/// `slots` chords, the last of which leads back to the first.
pub(crate) fn progression(
    dice: &mut Dice,
    key: Key,
    palette: &Palette,
    slots: usize,
) -> Vec<Chord> {
    let degrees = if dice.chance(palette.functional) {
        functional(dice, key, slots)
    } else {
        let loops = if key.mode.is_major() {
            palette.major
        } else {
            palette.minor
        };
        let chosen = dice.pick(loops);
        (0..slots).map(|slot| chosen[slot % chosen.len()]).collect()
    };
    let sevenths = dice.chance(palette.sevenths);
    let ninths = dice.chance(palette.ninths);
    let mut chords: Vec<Chord> = degrees
        .iter()
        .map(|&degree| {
            let mut chord = Chord::on_degree(
                key,
                degree,
                if ninths {
                    5
                } else if sevenths {
                    4
                } else {
                    3
                },
            );
            if ninths {
                // The diatonic ninth of some degrees is a flat one: leave it out there.
                chord.intervals.retain(|interval| *interval != 13);
            }
            if dice.chance(palette.suspended) {
                chord.intervals[1] = if dice.chance(0.5) { 5 } else { 2 };
            }
            chord
        })
        .collect();
    // Every fourth pass through a loop may end on the dominant instead.
    if slots >= 4 && dice.chance(0.25) {
        let last = chords.len() - 1;
        chords[last] = Chord::on_degree(key, 5, if sevenths { 4 } else { 3 });
    }
    chords
}

/// A walk tonic, predominant, dominant.
fn functional(dice: &mut Dice, key: Key, slots: usize) -> Vec<i32> {
    let mut degrees = vec![1];
    while degrees.len() < slots {
        let left = slots - degrees.len();
        let last = degrees[degrees.len() - 1];
        let next = if left == 1 {
            if last == 5 { dice.pick(&[5, 1]) } else { 5 }
        } else {
            match last {
                1 => dice.weighted(&[(4, 3.0), (5, 2.5), (6, 2.5), (2, 1.0), (3, 0.8)]),
                2 => dice.weighted(&[(5, 5.0), (4, 0.5)]),
                3 => dice.weighted(&[(6, 3.0), (4, 2.0)]),
                4 => dice.weighted(&[(5, 3.0), (1, 2.0), (2, 1.0)]),
                5 => dice.weighted(&[(1, 4.0), (6, 1.5)]),
                _ => dice.weighted(&[(4, 3.0), (2, 2.0), (5, 1.0)]),
            }
        };
        // The second degree's diminished triad in minor stands badly by itself.
        degrees.push(if next == 2 && !key.mode.is_major() {
            4
        } else {
            next
        });
    }
    degrees
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voicings_stay_in_their_octave_and_hold_the_chord() {
        let key = Key {
            tonic: 2,
            mode: Mode::Minor,
        };
        let chord = Chord::on_degree(key, 5, 3);
        assert_eq!(
            chord,
            Chord {
                root: 7,
                intervals: vec![0, 4, 7]
            }
        );
        let pitches = chord.voicing(key, 60.0, 4);
        assert_eq!(pitches.len(), 3);
        assert!(
            pitches
                .iter()
                .all(|p| (54.0..66.0).contains(p) && chord.contains(key, *p))
        );
        assert_eq!(chord.root_from(key, 36.0), 45.0);
    }
}
