//! A prompt made of tags: text that chips edit, and text that stays a musician's own.

use protocol::recipe::MOST_PROMPT_BYTES;

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
    fn a_prompt_of_a_megabyte_is_cut_between_letters() {
        let mut prompt = "ä".repeat(500_000);
        assert!(cut(&mut prompt));
        assert_eq!(prompt.len(), MOST_PROMPT_BYTES);
        let mut odd = format!("x{}", "ä".repeat(2_000));
        assert!(cut(&mut odd) && odd.len() == MOST_PROMPT_BYTES - 1);
        assert!(!cut(&mut "lofi".to_owned()));
    }
}
