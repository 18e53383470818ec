//! What a sound file says of its music itself: Vorbis comments and MP4 atoms. (The decoder passes over lists in WAV, and what stands before
//! the sound of an MP3 is cut off before it.)

use symphonia::core::formats::FormatReader;
use symphonia::core::meta::StandardTag;

/// Genre, mood, tempo and key, as words: genres are parted at commas, semicolons and slashes, a tempo is `tempo:N`. Titles and names say
/// nothing about how music sounds and are left out.
pub(crate) fn of(reader: &mut dyn FormatReader) -> Vec<String> {
    let mut metadata = reader.metadata();
    let Some(revision) = metadata.skip_to_latest() else {
        return Vec::new();
    };
    let mut words: Vec<String> = Vec::new();
    for tag in revision
        .media
        .tags
        .iter()
        .filter_map(|tag| tag.std.as_ref())
    {
        match tag {
            StandardTag::Genre(text) | StandardTag::Mood(text) => {
                words.extend(text.split([',', ';', '/', '\0']).map(str::to_owned));
            }
            StandardTag::Bpm(tempo) if *tempo > 0 => words.push(format!("tempo:{tempo}")),
            StandardTag::InitialKey(key) => words.push(format!("key:{key}")),
            _ => {}
        }
    }
    let mut tags: Vec<String> = Vec::new();
    for word in words.iter().map(|word| word.trim()) {
        if !word.is_empty() && !tags.iter().any(|known| known == word) {
            tags.push(word.to_owned());
        }
    }
    tags
}
