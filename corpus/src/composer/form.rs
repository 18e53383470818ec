//! Sections of a piece and how full each is.

use super::harmony::{Chord, Palette, progression};
use super::key::Key;
use crate::dice::Dice;

#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// `I`ntro, `A`, `B`, `O`utro or `E`nding.
    pub(crate) label: char,
    pub(crate) start_bar: usize,
    pub(crate) bars: usize,
    /// `0..=1`: layers enter as it rises.
    pub(crate) energy: f64,
    /// One chord for each `chord_beats` of the form, from the section's start.
    pub(crate) chords: Vec<Chord>,
}

#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) sections: Vec<Section>,
    pub(crate) phrase_bars: usize,
    pub(crate) beats_per_bar: usize,
    pub(crate) chord_beats: usize,
}

/// Labels for a piece of so many phrases.
fn plan(dice: &mut Dice, phrases: usize) -> Vec<char> {
    let text = match phrases {
        0 | 1 => "A",
        2 => dice.pick(&["AA", "AB"]),
        3 => dice.pick(&["ABA", "AAB", "IAB"]),
        4 => dice.pick(&["IABA", "AABA", "ABAO", "IAAB"]),
        5 => dice.pick(&["IABAO", "AABBA", "IAABA", "ABABA"]),
        6 => dice.pick(&["IAABAO", "AABBAA", "IABABA"]),
        _ => "IAABBA",
    };
    let mut labels: Vec<char> = text.chars().collect();
    while labels.len() < phrases {
        let more: Vec<char> = dice.pick(&["BA", "AB", "AA"]).chars().collect();
        labels.extend(more);
    }
    labels.truncate(phrases);
    labels
}

impl Form {
    /// A form of about `bars` bars in whole phrases, and one bar to end on.
    pub(crate) fn new(
        dice: &mut Dice,
        key: Key,
        palette: &Palette,
        bars: usize,
        phrase_bars: usize,
        beats_per_bar: usize,
        chord_beats: usize,
    ) -> Self {
        let phrases =
            ((bars.saturating_sub(1) as f64 / phrase_bars as f64).round() as usize).max(1);
        let slots = phrase_bars * beats_per_bar / chord_beats;
        let first = progression(dice, key, palette, slots);
        let second = progression(dice, key, palette, slots);
        let labels = plan(dice, phrases);
        let mut sections: Vec<Section> = Vec::new();
        for (index, &label) in labels.iter().enumerate() {
            let repeated = index > 0 && labels[index - 1] == label;
            let energy = match label {
                'I' => dice.range(0.2, 0.45),
                'O' => dice.range(0.3, 0.5),
                'B' => dice.range(0.7, 1.0),
                _ if repeated => dice.range(0.7, 0.95),
                _ => dice.range(0.5, 0.8),
            };
            let chords = if label == 'B' {
                second.clone()
            } else {
                first.clone()
            };
            sections.push(Section {
                label,
                start_bar: index * phrase_bars,
                bars: phrase_bars,
                energy,
                chords,
            });
        }
        sections.push(Section {
            label: 'E',
            start_bar: phrases * phrase_bars,
            bars: 1,
            energy: 0.6,
            chords: vec![Chord {
                root: 0,
                intervals: first[0].intervals.clone(),
            }],
        });
        let mut form = Self {
            sections,
            phrase_bars,
            beats_per_bar,
            chord_beats,
        };
        form.close(key);
        form
    }

    /// The ending rests on the tonic's own triad, whatever chord the loop began with.
    fn close(&mut self, key: Key) {
        if let Some(ending) = self.sections.last_mut() {
            ending.chords = vec![Chord::on_degree(key, 1, 3)];
        }
    }

    pub(crate) fn bars(&self) -> usize {
        self.sections.iter().map(|section| section.bars).sum()
    }

    pub(crate) fn labels(&self) -> String {
        self.sections.iter().map(|section| section.label).collect()
    }

    /// First beat of a section.
    pub(crate) fn start_beat(&self, section: &Section) -> f64 {
        (section.start_bar * self.beats_per_bar) as f64
    }

    /// The section that sounds at a beat.
    pub(crate) fn section_at(&self, beat: f64) -> &Section {
        let bar = (beat.max(0.0) + 1e-9) as usize / self.beats_per_bar;
        let index = self
            .sections
            .iter()
            .rposition(|section| section.start_bar <= bar)
            .unwrap_or(0);
        &self.sections[index]
    }

    /// The chord that sounds at a beat.
    pub(crate) fn chord_at(&self, beat: f64) -> &Chord {
        let section = self.section_at(beat);
        let slot = ((beat - self.start_beat(section)).max(0.0) + 1e-9) as usize / self.chord_beats;
        &section.chords[slot.min(section.chords.len() - 1)]
    }

    /// Start, length and chord of every harmonic slot of the sections that `wanted` admits.
    pub(crate) fn slots(&self, wanted: impl Fn(&Section) -> bool) -> Vec<Slot<'_>> {
        let mut slots = Vec::new();
        for section in self.sections.iter().filter(|section| wanted(section)) {
            let start = self.start_beat(section);
            if section.label == 'E' {
                slots.push(Slot {
                    start,
                    beats: self.beats_per_bar as f64,
                    chord: &section.chords[0],
                    section,
                });
                continue;
            }
            for (index, chord) in section.chords.iter().enumerate() {
                let start = start + (index * self.chord_beats) as f64;
                slots.push(Slot {
                    start,
                    beats: self.chord_beats as f64,
                    chord,
                    section,
                });
            }
        }
        slots
    }
}

/// One chord's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) start: f64,
    pub(crate) beats: f64,
    pub(crate) chord: &'a Chord,
    pub(crate) section: &'a Section,
}
