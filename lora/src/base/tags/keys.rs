//! Keys as people write them: `key:Am`, `key:F# minor`, `key:b-flat`.

const PITCH_CLASSES: usize = 12;

/// A key's pitch class, counted from C, and whether it is minor; `None` for what is no key.
pub(super) fn read(key: &str) -> Option<(usize, bool)> {
    let mut letters = key.chars();
    let tonic = match letters.next()? {
        'c' => 0,
        'd' => 2,
        'e' => 4,
        'f' => 5,
        'g' => 7,
        'a' => 9,
        'b' => 11,
        _ => return None,
    };
    let rest = letters.as_str();
    let after = |signs: &[&str]| signs.iter().find_map(|sign| rest.strip_prefix(sign));
    let (shift, mode) = match (after(&["#", "♯", "-sharp"]), after(&["b", "♭", "-flat"])) {
        (Some(mode), _) => (1, mode),
        (None, Some(mode)) => (PITCH_CLASSES - 1, mode),
        (None, None) => (0, rest),
    };
    let is_minor = match mode.trim_start_matches('-') {
        "" | "maj" | "major" => false,
        "m" | "min" | "minor" => true,
        _ => return None,
    };
    Some(((tonic + shift) % PITCH_CLASSES, is_minor))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn one_key_has_many_names() {
        for (names, key) in [
            (&["a-minor", "am", "a-min", "a-m"][..], (9, true)),
            (
                &["b-flat-major", "bb", "b♭", "a#", "a-sharp", "bb-maj"],
                (10, false),
            ),
            (
                &["f-sharp-minor", "f#m", "f♯-minor", "gbm", "g-flat-min"],
                (6, true),
            ),
            (&["c-flat", "b", "b-major"], (11, false)),
        ] {
            for name in names {
                assert_eq!(read(name), Some(key), "{name}");
            }
        }
        for wrong in ["", "h", "am7", "a-dorian", "minor", "#"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
