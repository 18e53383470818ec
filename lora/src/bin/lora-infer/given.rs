//! What the flags say that can be read and checked before any model is opened or fetched.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lora::base::Outline;
use lora::generate::SpanSecs;
use lora::models::{EMBEDDED_NAME, KnownModel};
use lyrics::Lrc;

use super::Arguments;
use super::asked::{LEAST_SECS, MOST_SECS};

/// A vector of a file, whatever its width.
pub(crate) struct Vector {
    pub(crate) path: PathBuf,
    pub(crate) values: Vec<f32>,
}

/// What the flags name, read.
pub(crate) struct Given {
    pub(crate) spans: Vec<SpanSecs>,
    pub(crate) lyrics: Option<(PathBuf, Lrc)>,
    pub(crate) style: Option<Vector>,
    pub(crate) negative_style: Option<Vector>,
}

impl Given {
    /// Reads and checks; what depends on the model is checked where that is known.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self> {
        if arguments.model == EMBEDDED_NAME {
            refuse_song_flags(arguments)?;
        }
        check_guidance(arguments)?;
        check_seconds(arguments)?;
        for path in [
            &arguments.style_audio,
            &arguments.edit,
            &arguments.r#continue,
        ]
        .into_iter()
        .flatten()
        {
            File::open(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        }
        if let Some(folder) = arguments.lyrics_data.as_ref().filter(|path| !path.is_dir()) {
            bail!(
                "--lyrics-data {}: there is no such folder; it is DiffRhythm's g2p/sources",
                folder.display()
            );
        }
        let lyrics = |path: &PathBuf| anyhow::Ok((path.clone(), lyrics::read_lrc(path)?));
        Ok(Self {
            spans: arguments.spans.as_deref().map_or(Ok(Vec::new()), spans)?,
            lyrics: arguments.lyrics.as_ref().map(lyrics).transpose()?,
            style: arguments.style.as_deref().map(vector).transpose()?,
            negative_style: arguments
                .negative_style
                .as_deref()
                .map(vector)
                .transpose()?,
        })
    }
}

fn check_guidance(arguments: &Arguments) -> Result<()> {
    let Some(guidance) = arguments.cfg else {
        return Ok(());
    };
    if !(0.0..=100.0).contains(&guidance) {
        bail!("--cfg {guidance:?}: must be from 0 to 100");
    }
    if guidance == 0.0 && arguments.negative_style.is_some() {
        bail!(
            "--cfg 0 turns guidance off, and --negative-style changes nothing then; leave one of them out"
        );
    }
    Ok(())
}

/// Of models with a name it is known how long their songs are.
fn check_seconds(arguments: &Arguments) -> Result<()> {
    let Some(seconds) = arguments.seconds else {
        return Ok(());
    };
    let most = match KnownModel::named(&arguments.model) {
        Some(known) => Outline::of_known(known, None, None)?.most_secs(),
        None if arguments.model == EMBEDDED_NAME => MOST_SECS,
        None => f64::MAX,
    };
    match (LEAST_SECS..=most).contains(&seconds) {
        true => Ok(()),
        false if most == f64::MAX => {
            bail!("--seconds {seconds:?}: a clip has at least {LEAST_SECS} s")
        }
        false => {
            bail!("a clip of {seconds:?} s cannot be made: ask for {LEAST_SECS} to {most:.1} s")
        }
    }
}

fn vector(path: &Path) -> Result<Vector> {
    Ok(Vector {
        path: path.to_owned(),
        values: embed::vector::read_any(path)?,
    })
}

/// Flags that mean nothing to a base that is asked with tags.
pub(crate) fn refuse_song_flags(arguments: &Arguments) -> Result<()> {
    let given = [
        ("--style-audio", arguments.style_audio.is_some()),
        ("--style", arguments.style.is_some()),
        ("--negative-style", arguments.negative_style.is_some()),
        ("--lyrics", arguments.lyrics.is_some()),
        ("--vae", arguments.vae.is_some()),
        ("--causal", arguments.causal.is_some()),
        ("--chunked", arguments.chunked),
        ("--style-encoder", arguments.style_encoder.is_some()),
        ("--lyrics-data", arguments.lyrics_data.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => bail!(
            "{flag} is for released song models, and --model {} is none; --list-models shows them",
            arguments.model
        ),
        None => Ok(()),
    }
}

/// `-12.5,30-45,80-` as stretches.
fn spans(text: &str) -> Result<Vec<SpanSecs>> {
    let end = |number: &str| match number.trim() {
        "" => Ok(None),
        number => match number.parse::<f64>() {
            Ok(secs) if secs.is_finite() && secs >= 0.0 => Ok(Some(secs)),
            _ => Err(anyhow::anyhow!(
                "--spans {text}: {number:?} is no time in seconds; write such as \"-12.5,30-45,80-\""
            )),
        },
    };
    let span = |span: &str| match span.split_once('-') {
        Some((from, to)) => Ok(SpanSecs {
            from: end(from)?,
            to: end(to)?,
        }),
        None => bail!("--spans {text}: {span:?} is no stretch; write such as \"-12.5,30-45,80-\""),
    };
    text.split(',').map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_with_open_ends() {
        let span = |from, to| SpanSecs { from, to };
        assert_eq!(
            spans("-12.5, 30-45,80-").unwrap(),
            [
                span(None, Some(12.5)),
                span(Some(30.0), Some(45.0)),
                span(Some(80.0), None)
            ]
        );
        for wrong in ["", "12", "a-b", "1-inf", "1-2-3"] {
            let error = spans(wrong).unwrap_err().to_string();
            assert!(
                error.contains("--spans") && error.contains("30-45"),
                "{error}"
            );
        }
    }
}
