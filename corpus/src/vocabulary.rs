//! The one list of tags that a base model is trained with.

/// Changes whenever tags are appended.
pub const VERSION: u32 = 1;

/// Tags of the twelve major keys from C upwards.
pub const MAJOR_KEYS: [&str; 12] = [
    "key:c-major",
    "key:d-flat-major",
    "key:d-major",
    "key:e-flat-major",
    "key:e-major",
    "key:f-major",
    "key:f-sharp-major",
    "key:g-major",
    "key:a-flat-major",
    "key:a-major",
    "key:b-flat-major",
    "key:b-major",
];

/// Tags of the twelve minor keys from C upwards.
pub const MINOR_KEYS: [&str; 12] = [
    "key:c-minor",
    "key:c-sharp-minor",
    "key:d-minor",
    "key:e-flat-minor",
    "key:e-minor",
    "key:f-minor",
    "key:f-sharp-minor",
    "key:g-minor",
    "key:g-sharp-minor",
    "key:a-minor",
    "key:b-flat-minor",
    "key:b-minor",
];

/// The families that a base hears.
pub const STYLES: &[&str] = &[
    "house",
    "ambient",
    "chiptune",
    "lofi",
    "waltz",
    "folkdance",
    "rock",
    "minimalism",
    "chorale",
    "solo-piano",
    "solo-guitar",
    "string-ensemble",
    "synthwave",
    "blues",
];

/// What plays.
pub const INSTRUMENTS: &[&str] = &[
    "piano",
    "electric-piano",
    "guitar",
    "electric-guitar",
    "bass",
    "drums",
    "hand-drum",
    "strings",
    "fiddle",
    "cello",
    "organ",
    "accordion",
    "flute",
    "reed",
    "choir",
    "brass",
    "bells",
    "marimba",
    "vibraphone",
    "harp",
    "lute",
    "banjo",
    "synth",
    "pad",
    "arpeggio",
    "lead",
];

/// Moods and textures.
pub const MOODS: &[&str] = &[
    "calm",
    "bright",
    "dark",
    "energetic",
    "warm",
    "sparse",
    "dense",
    "solo",
    "distorted",
    "swung",
    "reverberant",
    "dry",
];

/// Tempo to the nearest ten.
pub const TEMPI: &[&str] = &[
    "tempo:60",
    "tempo:70",
    "tempo:80",
    "tempo:90",
    "tempo:100",
    "tempo:110",
    "tempo:120",
    "tempo:130",
    "tempo:140",
    "tempo:150",
    "tempo:160",
    "tempo:170",
    "tempo:180",
];

/// Bars in a phrase.
pub const PHRASES: &[&str] = &["bars:1", "bars:2", "bars:4", "bars:8", "bars:16"];

/// Beats in a bar.
pub const METRES: &[&str] = &["metre:2", "metre:3", "metre:4", "metre:5", "metre:6"];

/// All tags. A base holds its own list, in the order of its vectors, so that this one may grow anywhere; styles come first, because training asks for the
/// first tag of a piece most often.
const LISTS: [&[&str]; 8] = [
    STYLES,
    INSTRUMENTS,
    MOODS,
    TEMPI,
    &MAJOR_KEYS,
    &MINOR_KEYS,
    PHRASES,
    METRES,
];

/// The lists that people choose from, with what they call them. The others are values, such as `tempo:90`.
pub const GROUPS: [(&str, &[&str]); 3] = [
    ("Styles", STYLES),
    ("Instruments", INSTRUMENTS),
    ("Moods", MOODS),
];

/// All tags; those of a piece are in this order.
pub fn tags() -> impl Iterator<Item = &'static str> {
    LISTS.into_iter().flatten().copied()
}

/// A tag's row.
pub fn index(tag: &str) -> Option<usize> {
    tags().position(|known| known == tag)
}

/// The tag of the nearest tempo of ten, within 60 to 180.
pub fn tempo_tag(tempo_bpm: f64) -> Option<&'static str> {
    let rounded = (tempo_bpm / 10.0).round().clamp(6.0, 18.0) as usize * 10;
    find(&format!("tempo:{rounded}"))
}

/// The tag of a phrase's length; none for lengths without a tag.
pub fn bars_tag(bars: usize) -> Option<&'static str> {
    find(&format!("bars:{bars}"))
}

/// The tag of a metre; none for metres without a tag.
pub fn metre_tag(beats_per_bar: usize) -> Option<&'static str> {
    find(&format!("metre:{beats_per_bar}"))
}

fn find(tag: &str) -> Option<&'static str> {
    tags().find(|known| *known == tag)
}

/// The known ones of `tags`, once each, in the vocabulary's order.
pub(crate) fn ordered(tags: &[&str]) -> Vec<&'static str> {
    self::tags().filter(|known| tags.contains(known)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_unique_and_tempo_rounds() {
        let unique: std::collections::BTreeSet<_> = tags().collect();
        assert_eq!(unique.len(), tags().count());
        assert!(tags().take(STYLES.len()).eq(STYLES.iter().copied()));
        assert_eq!(tempo_tag(124.9), Some("tempo:120"));
        assert_eq!(tempo_tag(300.0), Some("tempo:180"));
        assert_eq!(bars_tag(4), Some("bars:4"));
        assert_eq!(bars_tag(3), None);
        for key in MAJOR_KEYS.iter().chain(&MINOR_KEYS) {
            assert!(index(key).is_some());
        }
    }
}
