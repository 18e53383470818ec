//! How an adapter is put on a model: how strongly, at which times of a flow's way, on which of its layers.
//!
//! In words it is `FILE[:STRENGTH][:time=FROM-TO][:include=LAYERS][:exclude=LAYERS]`, read from the end for as long as parts are
//! such: so colons in a path are the path's.

use std::path::{Path, PathBuf};

use nn::TimeInterval;

use super::Targets;

/// The largest strength, either way.
const MOST_STRENGTH: f64 = 10.0;

/// How an adapter is put on a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// 0: the base, 1: as trained.
    pub strength: f64,
    /// When it acts, its trigger vector too.
    pub times: TimeInterval,
    /// Which of its layers act, by the model's names.
    pub layers: Targets,
}

impl Default for Placement {
    /// As trained.
    fn default() -> Self {
        Self::at(1.0)
    }
}

impl Placement {
    /// At a strength, always and everywhere.
    pub fn at(strength: f64) -> Self {
        Self {
            strength,
            times: TimeInterval::ALL,
            layers: everywhere(),
        }
    }

    /// Whether it is more than a strength.
    pub fn is_limited(&self) -> bool {
        self.times != TimeInterval::ALL || self.layers != everywhere()
    }

    /// A file and how it is put on a model, as in `style.safetensors:0.8:time=0.2-0.7:exclude=proj_out`. A file that is there under
    /// all of these words is that file.
    ///
    /// # Errors
    /// In words, with what was meant to be possible.
    pub fn parse(text: &str) -> Result<(PathBuf, Self), String> {
        let mut placement = Self::default();
        let mut include = None;
        let (mut path, mut seen) = (text, Vec::new());
        while let Some((rest, part)) = path.rsplit_once(':') {
            let is_path = Path::new(path).exists() || rest.is_empty() || part.contains(['/', '\\']);
            let (key, value) = part.split_once('=').unwrap_or(("strength", part));
            if is_path {
                break;
            }
            if seen.contains(&key) {
                return Err(format!("says its {key} twice"));
            }
            match key {
                "strength" => placement.strength = strength(value)?,
                "time" => placement.times = times(value)?,
                "include" => include = Some(patterns(key, value)?),
                "exclude" => placement.layers.exclude = patterns(key, value)?,
                other => {
                    return Err(format!(
                        "{other:?} is not known; behind the file may be :STRENGTH, :time=FROM-TO, :include=LAYERS and :exclude=LAYERS"
                    ));
                }
            }
            seen.push(key);
            path = rest;
        }
        if let Some(include) = include {
            placement.layers.include = include;
        }
        Ok((PathBuf::from(path), placement))
    }
}

impl std::fmt::Display for Placement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "strength {}", self.strength)?;
        if self.times != TimeInterval::ALL {
            write!(formatter, ", times {}", self.times)?;
        }
        let Targets { include, exclude } = &self.layers;
        if *include != everywhere().include {
            write!(formatter, ", layers {}", include.join(", "))?;
        }
        if !exclude.is_empty() {
            write!(formatter, ", not {}", exclude.join(", "))?;
        }
        Ok(())
    }
}

fn everywhere() -> Targets {
    Targets {
        include: vec!["*".to_owned()],
        exclude: Vec::new(),
    }
}

fn strength(text: &str) -> Result<f64, String> {
    let strength: f64 = text
        .parse()
        .map_err(|_| format!("the strength {text:?} is not a number"))?;
    if !(-MOST_STRENGTH..=MOST_STRENGTH).contains(&strength) {
        return Err(format!(
            "the strength {strength}: a strength is from -{MOST_STRENGTH} to {MOST_STRENGTH}"
        ));
    }
    Ok(strength)
}

fn times(text: &str) -> Result<TimeInterval, String> {
    let expected = || {
        format!(
            "time={text}: write two numbers between 0 (noise) and 1 (data), the smaller one first, such as time=0.2-0.7"
        )
    };
    let (from, to) = text.split_once('-').ok_or_else(expected)?;
    let number = |text: &str| text.trim().parse::<f32>().map_err(|_| expected());
    let (from, to) = (number(from)?, number(to)?);
    match TimeInterval::new(from, to) {
        Ok(times) if from < to => Ok(times),
        _ => Err(expected()),
    }
}

fn patterns(key: &str, text: &str) -> Result<Vec<String>, String> {
    let patterns: Vec<String> = text.split(',').map(|one| one.trim().to_owned()).collect();
    match patterns.iter().any(String::is_empty) {
        true => Err(format!(
            "{key}={text}: names no layers; write such as {key}=self_attn.q_proj,proj_out"
        )),
        false => Ok(patterns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Placement) {
        let (path, placement) = Placement::parse(text).unwrap();
        (path.display().to_string(), placement)
    }

    #[test]
    fn all_that_can_be_said_is_read_in_any_order() {
        assert_eq!(
            parsed("a.safetensors"),
            ("a.safetensors".into(), Placement::default())
        );
        assert_eq!(parsed("a:-0.5"), ("a".into(), Placement::at(-0.5)));
        let expected = Placement {
            strength: 0.8,
            times: TimeInterval::new(0.2, 0.7).unwrap(),
            layers: Targets {
                include: vec!["self_attn.q_proj".into(), "*.3.*".into()],
                exclude: vec!["proj_out".into()],
            },
        };
        for text in [
            "dir/a.pt:0.8:time=0.2-0.7:include=self_attn.q_proj,*.3.*:exclude=proj_out",
            "dir/a.pt:exclude=proj_out:include=self_attn.q_proj, *.3.*:time=0.2-0.7:0.8",
        ] {
            assert_eq!(
                parsed(text),
                ("dir/a.pt".into(), expected.clone()),
                "{text}"
            );
        }
        let shown = "strength 0.8, times 0.2-0.7, layers self_attn.q_proj, *.3.*, not proj_out";
        assert_eq!(expected.to_string(), shown);
        assert!(expected.is_limited() && !Placement::at(3.0).is_limited());
    }

    #[test]
    fn colons_of_paths_are_the_paths() {
        assert_eq!(parsed(r"C:\a\b.pt").0, r"C:\a\b.pt");
        assert_eq!(
            parsed(r"C:\a\b.pt:0.5"),
            (r"C:\a\b.pt".into(), Placement::at(0.5))
        );
        assert_eq!(parsed("a:b/c.pt:time=0-0.5").0, "a:b/c.pt");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a:0.5").display().to_string();
        std::fs::write(&path, "").unwrap();
        assert_eq!(parsed(&path), (path.clone(), Placement::default()));
        assert_eq!(parsed(&format!("{path}:2")), (path, Placement::at(2.0)));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_right() {
        for (text, word) in [
            ("a:loud", "not a number"),
            ("a:11", "from -10 to 10"),
            ("a:nan", "from -10 to 10"),
            ("a:0.5:0.6", "strength twice"),
            ("a:time=0.5", "time=0.2-0.7"),
            ("a:time=0.7-0.2", "smaller one first"),
            ("a:time=0.5-0.5", "smaller one first"),
            ("a:time=0-2", "between 0"),
            ("a:include=", "names no layers"),
            ("a:exclude=x,,y", "names no layers"),
            ("a:layers=x", ":include=LAYERS"),
        ] {
            let error = Placement::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
