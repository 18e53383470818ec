//! What the flags ask for, in the terms of the base they are asked of.

use std::path::Path;

use anyhow::{Result, bail};
use lora::base::{BaseModel, Prompt, PulseGrid};
use lora::generate::{Kept, RELEASED_CHUNKS, Request, SpanSecs};
use lora::models::{Hub, ModelFiles};
use lora::progress::Progress;
use lora::style::StyleEncoder;
use lora::sung;
use lora::terminal::tell;
use lyrics::{Tokenizer, TokenizerSettings};

use super::Arguments;

/// Where --seconds and bars say nothing.
const DEFAULT_SECS: f64 = 8.0;
/// Longest clip of a base that is asked with tags.
const MOST_SECS: f64 = 95.0;
const DEFAULT_BEATS_PER_BAR: usize = 4;
const DEFAULT_STEPS: usize = 24;
const DEFAULT_GUIDANCE: f64 = 2.0;
/// A clip as it is asked for, but for its seed and the style that adapters have their say in.
pub(crate) struct Asked {
    pub(crate) prompt: Prompt,
    /// An encoder's style vector.
    pub(crate) vector: Option<Vec<f32>>,
    negative: Option<Vec<f32>>,
    seconds: f64,
    tokens: Vec<u32>,
    steps: usize,
    guidance: f64,
}

/// The style vector that --style-audio, --style or --prompt ask for; none for a base that is asked with tags.
pub(crate) fn style_of_encoder(
    arguments: &Arguments,
    files: &ModelFiles,
    hub: &Hub,
    progress: &mut dyn Progress,
) -> Result<Option<Vec<f32>>> {
    if !matches!(files, ModelFiles::DiffRhythm(_)) {
        refuse_song_flags(arguments)?;
        return Ok(None);
    }
    let words = Some(arguments.prompt.trim()).filter(|words| !words.is_empty());
    if arguments.style_audio.is_none() && words.is_none() {
        return Ok(None);
    }
    let encoder = StyleEncoder::open(arguments.style_encoder.as_deref(), hub, progress)?;
    Ok(match (&arguments.style_audio, words) {
        (Some(path), _) => Some(encoder.of_sound(path)?),
        (None, Some(words)) => Some(encoder.of_words(words)?),
        (None, None) => None,
    })
}

fn refuse_song_flags(arguments: &Arguments) -> Result<()> {
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

impl Asked {
    pub(crate) fn of(
        arguments: &Arguments,
        base: &BaseModel,
        vector: Option<Vec<f32>>,
    ) -> Result<Self> {
        let guidance = arguments.cfg;
        if guidance.is_some_and(|guidance| !(0.0..=100.0).contains(&guidance)) {
            bail!(
                "--cfg {}: must be from 0 to 100",
                guidance.unwrap_or_default()
            );
        }
        match base.songs() {
            Some(_) => Self::of_song(arguments, base, vector),
            None => Self::of_tags(arguments, base),
        }
    }

    fn of_tags(arguments: &Arguments, base: &BaseModel) -> Result<Self> {
        let prompt = base.tags().parse(&arguments.prompt)?;
        let pulse = prompt.tempo_bpm.map(|tempo_bpm| PulseGrid {
            tempo_bpm,
            beats_per_bar: prompt.beats_per_bar.unwrap_or(DEFAULT_BEATS_PER_BAR),
        });
        let seconds = length_secs(arguments.seconds, prompt.bars, pulse)?;
        let frames = (seconds / base.frame_secs()).ceil() as usize + 1;
        let tokens = pulse.map(|pulse| pulse.tokens(frames, base.frame_secs()));
        Ok(Self {
            prompt,
            vector: None,
            negative: None,
            seconds,
            tokens: tokens.unwrap_or_default(),
            steps: arguments.steps.map_or(DEFAULT_STEPS, usize::from),
            guidance: arguments.cfg.unwrap_or(DEFAULT_GUIDANCE),
        })
    }

    fn of_song(arguments: &Arguments, base: &BaseModel, vector: Option<Vec<f32>>) -> Result<Self> {
        let width = base.transformer_config().cond_dim;
        let read = |path: &Path| embed::vector::read(path, width);
        let vector = match &arguments.style {
            Some(path) => Some(read(path)?),
            None => vector,
        };
        if let Some(vector) = vector.as_ref().filter(|vector| vector.len() != width) {
            bail!(
                "the style encoder makes vectors of {} numbers and this model takes {width}; they do not belong together",
                vector.len()
            );
        }
        let negative = arguments.negative_style.as_deref().map(read).transpose()?;
        if negative.is_none() {
            tell(
                "negative style: zeros; --negative-style names a vector to go away from (the reference's own is its infer/example/vocal.npy)",
            );
        }
        let most = base.most_secs();
        let seconds = arguments.seconds.unwrap_or(base.default_secs());
        if !(0.1..=most).contains(&seconds) {
            bail!("a song of {seconds} s cannot be made: ask for 0.1 to {most:.1} s");
        }
        let (points, guidance) = base.songs().map_or((0, 0.0), |songs| songs.sampling);
        Ok(Self {
            prompt: Prompt::default(),
            vector,
            negative: negative.as_deref().map(lora::style::rounded),
            seconds,
            tokens: tokens(arguments, base, seconds)?,
            steps: arguments
                .steps
                .map_or(points.saturating_sub(1), usize::from),
            guidance: arguments.cfg.unwrap_or(guidance),
        })
    }

    /// The request with an empty style.
    pub(crate) fn request(&self, arguments: &Arguments, base: &BaseModel) -> Result<Request> {
        let mut request = Request {
            seconds: self.seconds,
            steps: self.steps,
            guidance: self.guidance,
            style: Vec::new(),
            negative_style: self.negative.clone(),
            tokens: self.tokens.clone(),
            kept: None,
            decoding: arguments.chunked.then_some(RELEASED_CHUNKS),
        };
        let (frames, seed) = (request.frames(base), arguments.seed);
        request.kept = match (&arguments.edit, &arguments.r#continue) {
            (Some(path), _) => {
                let spans = spans(arguments.spans.as_deref().unwrap_or_default())?;
                Some(Kept::edit(base, path, &spans, frames, seed)?)
            }
            (None, Some(path)) => Some(Kept::continuation(base, path, frames, seed)?),
            (None, None) => None,
        };
        Ok(request)
    }
}

fn tokens(arguments: &Arguments, base: &BaseModel, seconds: f64) -> Result<Vec<u32>> {
    let Some(path) = &arguments.lyrics else {
        return Ok(Vec::new());
    };
    let mut tokenizer = Tokenizer::new(TokenizerSettings {
        espeak: None,
        chinese_folder: arguments.lyrics_data.clone(),
    });
    let sung = sung::of_file(path, base, seconds, &mut tokenizer)?;
    let (placed, all) = sung.lines;
    tell(format_args!(
        "lyrics: {placed} of {all} lines placed{}{}",
        match sung.bad_lines {
            0 => String::new(),
            count => format!(", {count} lines could not be used"),
        },
        match (placed < all, base.transformer_config().has_duration()) {
            (false, _) => "",
            (true, true) => " (the others are not sung or behind the end)",
            (true, false) =>
                " (the others are not sung, behind the end, or the last, which these models leave out)",
        }
    ));
    Ok(sung.tokens)
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

fn length_secs(seconds: Option<f64>, bars: Option<usize>, pulse: Option<PulseGrid>) -> Result<f64> {
    let secs = match (seconds, bars, pulse) {
        (Some(seconds), ..) => seconds,
        (None, Some(bars), Some(pulse)) => pulse.bars_secs(bars),
        (None, Some(_), None) => {
            bail!("bars need a tempo: add tempo:N to the prompt, or give --seconds")
        }
        (None, None, _) => DEFAULT_SECS,
    };
    if !(0.1..=MOST_SECS).contains(&secs) {
        bail!("a clip of {secs} s cannot be made: ask for 0.1 to {MOST_SECS} s");
    }
    Ok(secs)
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
