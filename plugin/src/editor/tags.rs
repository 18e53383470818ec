//! A prompt made of tags: text that chips edit, and text that stays a musician's own.

use protocol::recipe::MOST_PROMPT_BYTES;

/// What a tag says something of, for the palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TagGroup {
    /// What kind of music.
    Style,
    /// Who plays.
    Instrument,
    /// How it feels.
    Mood,
}

impl TagGroup {
    /// In the palette's order.
    pub(crate) const ALL: [Self; 3] = [Self::Style, Self::Instrument, Self::Mood];

    /// Above its chips.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Style => "Styles",
            Self::Instrument => "Instruments",
            Self::Mood => "Moods",
        }
    }
}

// Bases give their tags as one list; what is in neither of these is a style.
const INSTRUMENTS: &[&str] = &[
    "piano",
    "electric-piano",
    "guitar",
    "acoustic-guitar",
    "electric-guitar",
    "bass",
    "drums",
    "hand-drum",
    "percussion",
    "strings",
    "fiddle",
    "violin",
    "cello",
    "organ",
    "accordion",
    "flute",
    "reed",
    "saxophone",
    "choir",
    "voice",
    "vocals",
    "brass",
    "trumpet",
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
const MOODS: &[&str] = &[
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
    "happy",
    "sad",
    "slow",
    "fast",
    "soft",
    "loud",
];

/// The tags of this group. Tempo, key, bars and metre have controls of their own and no chips.
pub(crate) fn of_group(tags: &[String], group: TagGroup) -> impl Iterator<Item = &str> {
    let tags = tags.iter().map(String::as_str);
    tags.filter(move |tag| !tag.contains(':') && group_of(tag) == group)
}

fn group_of(tag: &str) -> TagGroup {
    if INSTRUMENTS.contains(&tag) {
        TagGroup::Instrument
    } else if MOODS.contains(&tag) {
        TagGroup::Mood
    } else {
        TagGroup::Style
    }
}

/// Whether the prompt names this tag.
pub(crate) fn has(prompt: &str, tag: &str) -> bool {
    prompt.split(',').any(|word| is_tag(word, tag))
}

/// The prompt with the tag, or without it where it was there. All else stays as it was written.
pub(crate) fn toggle(prompt: &str, tag: &str) -> String {
    if has(prompt, tag) {
        let kept = prompt.split(',').filter(|word| !is_tag(word, tag));
        let kept: Vec<&str> = kept
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        return kept.join(", ");
    }
    let written = prompt.trim_end().trim_end_matches(',').trim_end();
    match written.is_empty() {
        true => tag.to_owned(),
        false => format!("{written}, {tag}"),
    }
}

fn is_tag(word: &str, tag: &str) -> bool {
    // As the engine reads words: spaces within a tag are hyphens, capitals are small.
    let word = word.split_whitespace().collect::<Vec<_>>().join("-");
    word.eq_ignore_ascii_case(tag)
}

/// Cuts a prompt that is longer than an engine takes; true if it was.
pub(crate) fn cut(prompt: &mut String) -> bool {
    let is_long = prompt.len() > MOST_PROMPT_BYTES;
    if is_long {
        prompt.truncate(prompt.floor_char_boundary(MOST_PROMPT_BYTES));
    }
    is_long
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_puts_its_tag_in_and_takes_it_out() {
        assert_eq!(toggle("", "lofi"), "lofi");
        assert_eq!(toggle("lofi", "piano"), "lofi, piano");
        assert_eq!(toggle("lofi,  ", "piano"), "lofi, piano");
        assert_eq!(toggle("lofi, piano, calm", "piano"), "lofi, calm");
        assert_eq!(toggle("piano", "piano"), "");
        assert_eq!(toggle("two old friends, Lofi", "lofi"), "two old friends");
    }

    #[test]
    fn a_tag_is_a_whole_word_however_it_is_written() {
        assert!(has("Electric Piano, calm", "electric-piano"));
        assert!(!has("electric-piano", "piano"));
        assert!(!has("", "piano"));
    }

    #[test]
    fn tags_with_controls_of_their_own_have_no_chips() {
        let tags = ["lofi", "piano", "calm", "key:a-minor", "tempo:90", "ska"].map(str::to_owned);
        let group = |group| of_group(&tags, group).collect::<Vec<_>>();
        assert_eq!(group(TagGroup::Style), ["lofi", "ska"]);
        assert_eq!(group(TagGroup::Instrument), ["piano"]);
        assert_eq!(group(TagGroup::Mood), ["calm"]);
    }

    #[test]
    fn a_prompt_of_a_megabyte_is_cut_between_letters() {
        let mut prompt = "ä".repeat(500_000);
        assert!(cut(&mut prompt));
        assert_eq!(prompt.len(), MOST_PROMPT_BYTES);
        let mut odd = format!("x{}", "ä".repeat(2_000));
        assert!(cut(&mut odd) && odd.len() == MOST_PROMPT_BYTES - 1);
        assert!(!cut(&mut "lofi".to_owned()));
    }
}
