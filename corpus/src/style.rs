//! The styles: what a base model learns from, and what it never hears.

mod ambient;
mod blues;
mod chiptune;
mod chorale;
mod folkdance;
mod gamelan;
mod house;
mod lofi;
mod minimalism;
mod modular;
mod rock;
mod solo_guitar;
mod solo_piano;
mod street_band;
mod string_ensemble;
mod synthwave;
mod village;
mod waltz;
mod zoo;

use std::fmt;
use std::str::FromStr;

use crate::composer::sketch::Sketch;
use crate::score::{Options, Score};

/// A way of composing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Style {
    /// Four on the floor, synthetic bass, stabs.
    House,
    /// Slow pads and sparse bells.
    Ambient,
    /// Pulse waves, quick arpeggios, noise drums.
    Chiptune,
    /// Electric piano, swung soft drums, tape.
    Lofi,
    /// Three beats: accordion, bass, piano.
    Waltz,
    /// Fiddle, plucked strings, hand drum; modal.
    FolkDance,
    /// Distorted chords, bass, kit.
    Rock,
    /// Interlocking mallets.
    Minimalism,
    /// Four voices on an organ in a large room.
    Chorale,
    /// Piano alone.
    SoloPiano,
    /// Plucked guitar alone.
    SoloGuitar,
    /// Slow bowed ensemble.
    StringEnsemble,
    /// Sequenced bass, gated drums, leads.
    Synthwave,
    /// Shuffled twelve-bar band.
    Blues,
    /// Instruments, rhythms and scales at random, to cover what lies between the styles.
    Zoo,
    /// Held out: drone, long-necked lute, frame drum and double reed.
    Village,
    /// Held out: bronze bars in a tuning of their own, gongs.
    Gamelan,
    /// Held out: drifting loops on a scale without octaves, struck low-pass gates, echoes.
    Modular,
    /// Held out: trumpets, trombones, sousaphone and carried drums.
    StreetBand,
}

/// A style's name that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown style {name:?}: expected one of {expected}")]
pub struct UnknownStyle {
    /// What was asked for.
    pub name: String,
    /// Every known name.
    pub expected: String,
}

const BASE: [Style; 15] = [
    Style::House,
    Style::Ambient,
    Style::Chiptune,
    Style::Lofi,
    Style::Waltz,
    Style::FolkDance,
    Style::Rock,
    Style::Minimalism,
    Style::Chorale,
    Style::SoloPiano,
    Style::SoloGuitar,
    Style::StringEnsemble,
    Style::Synthwave,
    Style::Blues,
    Style::Zoo,
];

const HELD_OUT: [Style; 4] = [
    Style::Village,
    Style::Gamelan,
    Style::Modular,
    Style::StreetBand,
];

impl Style {
    /// Styles a base model may learn from, [`Style::Zoo`] last.
    pub fn base() -> &'static [Self] {
        &BASE
    }

    /// Styles that never enter a base corpus: they show what an adapter learns.
    pub fn held_out() -> &'static [Self] {
        &HELD_OUT
    }

    /// The style's name in files, and its tag where the vocabulary has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::House => "house",
            Self::Ambient => "ambient",
            Self::Chiptune => "chiptune",
            Self::Lofi => "lofi",
            Self::Waltz => "waltz",
            Self::FolkDance => "folkdance",
            Self::Rock => "rock",
            Self::Minimalism => "minimalism",
            Self::Chorale => "chorale",
            Self::SoloPiano => "solo-piano",
            Self::SoloGuitar => "solo-guitar",
            Self::StringEnsemble => "string-ensemble",
            Self::Synthwave => "synthwave",
            Self::Blues => "blues",
            Self::Zoo => "zoo",
            Self::Village => "village",
            Self::Gamelan => "gamelan",
            Self::Modular => "modular",
            Self::StreetBand => "street-band",
        }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Style {
    type Err = UnknownStyle;

    fn from_str(name: &str) -> Result<Self, UnknownStyle> {
        let known = || BASE.iter().chain(&HELD_OUT);
        known()
            .copied()
            .find(|style| style.name() == name)
            .ok_or_else(|| UnknownStyle {
                name: name.to_owned(),
                expected: known()
                    .map(|style| style.name())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

/// Composes a piece; the same arguments give the same score.
pub fn compose(style: Style, seed: u64, options: &Options) -> Score {
    let (frame, write): (_, fn(&mut Sketch)) = match style {
        Style::House => (&house::FRAME, house::write),
        Style::Ambient => (&ambient::FRAME, ambient::write),
        Style::Chiptune => (&chiptune::FRAME, chiptune::write),
        Style::Lofi => (&lofi::FRAME, lofi::write),
        Style::Waltz => (&waltz::FRAME, waltz::write),
        Style::FolkDance => (&folkdance::FRAME, folkdance::write),
        Style::Rock => (&rock::FRAME, rock::write),
        Style::Minimalism => (&minimalism::FRAME, minimalism::write),
        Style::Chorale => (&chorale::FRAME, chorale::write),
        Style::SoloPiano => (&solo_piano::FRAME, solo_piano::write),
        Style::SoloGuitar => (&solo_guitar::FRAME, solo_guitar::write),
        Style::StringEnsemble => (&string_ensemble::FRAME, string_ensemble::write),
        Style::Synthwave => (&synthwave::FRAME, synthwave::write),
        Style::Blues => (&blues::FRAME, blues::write),
        Style::Zoo => (&zoo::FRAME, zoo::write),
        Style::Village => (&village::FRAME, village::write),
        Style::Gamelan => (&gamelan::FRAME, gamelan::write),
        Style::Modular => (&modular::FRAME, modular::write),
        Style::StreetBand => (&street_band::FRAME, street_band::write),
    };
    let mut sketch = Sketch::new(style, seed, options, frame);
    write(&mut sketch);
    sketch.finish(style, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_held_out_styles_stay_out() {
        for style in BASE.iter().chain(&HELD_OUT) {
            assert_eq!(style.name().parse(), Ok(*style));
        }
        assert!(HELD_OUT.iter().all(|style| !Style::base().contains(style)));
        assert!("polka".parse::<Style>().is_err());
    }
}
