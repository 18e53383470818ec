//! The tags of the embedded base in groups, for the palette of an editor.

use protocol::TagGroup;

const STYLES: &str = "Styles";
const INSTRUMENTS: &[&str] = &[
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
];

/// The tags of a vocabulary in groups, in the vocabulary's order. What is neither an instrument nor a mood is a style; tags with a value, such as
/// `tempo:90`, are in no group.
pub(crate) fn of(tags: &[String]) -> Vec<TagGroup> {
    let group = |title: &str, is_meant: &dyn Fn(&str) -> bool| TagGroup {
        title: title.to_owned(),
        tags: tags
            .iter()
            .filter(|tag| !tag.contains(':') && is_meant(tag))
            .cloned()
            .collect(),
    };
    let is_style = |tag: &str| !INSTRUMENTS.contains(&tag) && !MOODS.contains(&tag);
    vec![
        group(STYLES, &is_style),
        group("Instruments", &|tag| INSTRUMENTS.contains(&tag)),
        group("Moods", &|tag| MOODS.contains(&tag)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_bases_tags_are_each_in_one_group() {
        let tags = lora::base::embedded_facts().unwrap().tags;
        let groups = of(&tags);
        let titles: Vec<&str> = groups.iter().map(|group| group.title.as_str()).collect();
        assert_eq!(titles, [STYLES, "Instruments", "Moods"]);
        let grouped: usize = groups.iter().map(|group| group.tags.len()).sum();
        let plain = tags.iter().filter(|tag| !tag.contains(':')).count();
        assert_eq!(grouped, plain);
        assert_eq!(groups[1].tags.len(), INSTRUMENTS.len());
        assert_eq!(groups[2].tags.len(), MOODS.len());
        assert!(groups[0].tags.iter().any(|tag| tag == "lofi"));
    }
}
