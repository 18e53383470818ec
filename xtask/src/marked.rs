//! Places in documents that commands write: between `<!-- name -->` and `<!-- /name -->`.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};

/// What stands in a place.
pub(crate) fn read(path: &Path, name: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text[place(&text, path, name)?].to_owned())
}

/// Puts a text into a place; the rest of the file stays.
pub(crate) fn replace(path: &Path, name: &str, content: &str) -> Result<()> {
    let mut text =
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let place = place(&text, path, name)?;
    text.replace_range(place, &format!("\n{}\n", content.trim()));
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn place(text: &str, path: &Path, name: &str) -> Result<Range<usize>> {
    let marks = [format!("<!-- {name} -->"), format!("<!-- /{name} -->")];
    let found = marks.each_ref().map(|mark| text.find(mark.as_str()));
    match found {
        [Some(first), Some(last)] if first < last => Ok(first + marks[0].len()..last),
        _ => anyhow::bail!("{}: expected {} and {}", path.display(), marks[0], marks[1]),
    }
}
