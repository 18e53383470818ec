//! Tags in a file beside a sound: `song.txt` or `song.json` for `song.wav`.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Tags from comma- or line-separated text: trimmed, empty ones dropped, the first of doubles kept.
#[must_use]
pub fn parse_tags(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split([',', '\n', '\r']).map(str::trim) {
        if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// Tags from JSON: a list of them, or an object as other trainers write beside their pieces, of which `tags`, `caption`, `prompt` and
/// `genre` (texts or lists of texts), `bpm` (a number, as `tempo:N`) and `key` or `keyscale` (as `key:TEXT`) are read.
///
/// # Errors
/// In words, when it is no JSON or neither a list nor an object.
pub fn parse_json_tags(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut words = Vec::new();
    match &value {
        Value::Array(_) => words.extend(texts(&value)),
        Value::Object(fields) => {
            for name in ["tags", "caption", "prompt", "genre"] {
                words.extend(fields.get(name).into_iter().flat_map(texts));
            }
            let tempo = fields.get("bpm").and_then(Value::as_f64);
            words.extend(tempo.map(|tempo| format!("tempo:{tempo}")));
            let key = fields.get("key").or(fields.get("keyscale"));
            words.extend(key.and_then(Value::as_str).map(|key| format!("key:{key}")));
        }
        _ => return Err("expected a list of tags, or an object with \"tags\"".to_owned()),
    }
    Ok(parse_tags(&words.join("\n")))
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

/// A sidecar that cannot be read, which is to blame and not the sound that it is beside.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}; mend it or take it away", path.display())]
pub struct SidecarError {
    /// The sidecar.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// The tags of the sound at `path`, of its `.txt` and its `.json`; none when there is no sidecar.
///
/// # Errors
/// When one cannot be read, is no UTF-8 text, or no JSON that has tags.
pub fn read_tags(path: &Path) -> Result<Vec<String>, SidecarError> {
    let mut tags = read(path.with_extension("txt"), |text| Ok(parse_tags(text)))?;
    let more = read(path.with_extension("json"), parse_json_tags)?;
    if !more.is_empty() {
        tags.extend(more);
        tags = parse_tags(&tags.join("\n"));
    }
    Ok(tags)
}

fn read(
    path: PathBuf,
    parse: impl Fn(&str) -> Result<Vec<String>, String>,
) -> Result<Vec<String>, SidecarError> {
    let tags = match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err("tags are UTF-8 text, and this is not; save it as UTF-8".to_owned())
        }
        Err(error) => Err(format!("cannot be read ({error})")),
    };
    tags.map_err(|problem| SidecarError { path, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_lines_separate() {
        assert_eq!(
            parse_tags(" piano, slow ,,piano\n\nminor key\r\n"),
            ["piano", "slow", "minor key"]
        );
        assert!(parse_tags("\u{feff} , ").is_empty());
    }

    #[test]
    fn other_trainers_json_is_read() {
        assert_eq!(
            parse_json_tags(r#"["piano", "slow"]"#).unwrap(),
            ["piano", "slow"]
        );
        let object = r#"{"caption": "lofi, piano", "genre": ["jazz"], "bpm": 92, "keyscale": "A minor", "lyrics": "la"}"#;
        assert_eq!(
            parse_json_tags(object).unwrap(),
            ["lofi", "piano", "jazz", "tempo:92", "key:A minor"]
        );
        for bad in ["3", "{", "\"piano\""] {
            assert!(parse_json_tags(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn both_sidecars_count() {
        let folder = tempfile::tempdir().unwrap();
        let sound = folder.path().join("a.wav");
        std::fs::write(folder.path().join("a.txt"), "harp").unwrap();
        std::fs::write(
            folder.path().join("a.json"),
            r#"{"tags": ["harp", "slow"]}"#,
        )
        .unwrap();
        assert_eq!(read_tags(&sound).unwrap(), ["harp", "slow"]);
        std::fs::write(folder.path().join("a.json"), "{").unwrap();
        let error = read_tags(&sound).unwrap_err().to_string();
        assert!(
            error.contains("a.json") && !error.contains("a.wav"),
            "{error}"
        );
        std::fs::write(folder.path().join("a.txt"), [0xff, 0xfe, b'h', 0]).unwrap();
        let error = read_tags(&sound).unwrap_err().to_string();
        assert!(
            error.contains("a.txt") && error.contains("UTF-8"),
            "{error}"
        );
    }

    #[test]
    fn beside_the_sound_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let sound = folder.path().join("a.b.wav");
        assert!(read_tags(&sound).unwrap().is_empty());
        std::fs::write(folder.path().join("a.b.txt"), "harp").unwrap();
        assert_eq!(read_tags(&sound).unwrap(), ["harp"]);
    }
}
