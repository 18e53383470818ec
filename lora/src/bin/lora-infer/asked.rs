//! What the flags ask for, in the terms of the base they are asked of.

use anyhow::{Result, bail};
use embed::EmbedError;
use lora::base::{BaseModel, Prompt, PulseGrid, Rhythm};
use lora::generate::bars::{self, Length};
use lora::generate::{Kept, RELEASED_CHUNKS, Request, SpanSecs};
use lora::models::{Hub, ModelFiles};
use lora::progress::Progress;
use lora::style::StyleEncoder;
use lora::sung::{self, Sung};
use lora::terminal::tell;
use lyrics::{Tokenizer, TokenizerSettings};

use super::Arguments;
use super::adapters::LoadedAdapter;
use super::given::{Given, Vector, refuse_song_flags};

/// Where --seconds and bars say nothing.
const DEFAULT_SECS: f64 = 8.0;
/// Longest clip of a base that is asked with tags.
pub(crate) const MOST_SECS: f64 = 95.0;
/// Shortest clip.
pub(crate) const LEAST_SECS: f64 = 0.1;
const DEFAULT_BEATS_PER_BAR: usize = 4;

/// A clip as it is asked for, but for its seed and the style that adapters have their say in.
pub(crate) struct Asked {
    pub(crate) prompt: Prompt,
    /// An encoder's style vector.
    pub(crate) vector: Option<Vec<f32>>,
    negative: Option<Vec<f32>>,
    /// For a loop.
    pub(crate) length: Option<Length>,
    seconds: f64,
    tokens: Vec<u32>,
    /// Where the prompt has tags and no tempo.
    rhythm: Option<Rhythm>,
    spans: Vec<SpanSecs>,
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
    let folder = arguments.style_encoder.as_deref();
    Ok(match (&arguments.style_audio, words) {
        (Some(path), _) => Some(StyleEncoder::open(folder, hub, progress)?.of_sound(path)?),
        (None, Some(words)) => {
            Some(StyleEncoder::open_for_words(folder, hub, progress)?.of_words(words)?)
        }
        (None, None) => None,
    })
}

impl Asked {
    pub(crate) fn of(
        arguments: &Arguments,
        given: Given,
        base: &BaseModel,
        vector: Option<Vec<f32>>,
        adapters: &[LoadedAdapter],
    ) -> Result<Self> {
        match base.songs() {
            Some(_) => Self::of_song(arguments, given, base, vector),
            None => Self::of_tags(arguments, given, base, adapters),
        }
    }

    fn of_tags(
        arguments: &Arguments,
        given: Given,
        base: &BaseModel,
        adapters: &[LoadedAdapter],
    ) -> Result<Self> {
        let triggers = adapters
            .iter()
            .flat_map(|(adapter, ..)| adapter.trigger_words());
        let words = base.tags().without_triggers(&arguments.prompt, triggers);
        let mut prompt = base.tags().parse(&words)?;
        let rhythm = base.rhythm(&prompt);
        // A waltz has three beats, whether its prompt says so or not.
        let beats_per_bar = (prompt.beats_per_bar)
            .or_else(|| rhythm.as_ref()?.beats_per_bar())
            .unwrap_or(DEFAULT_BEATS_PER_BAR);
        let length = loop_length(arguments.bars, &prompt, beats_per_bar)?;
        if let Some(length) = &length {
            prompt.tags = bars::tags(base, &words, length, None)?;
        }
        let pulse = prompt.tempo_bpm.map(|tempo_bpm| PulseGrid {
            tempo_bpm,
            beats_per_bar,
        });
        let seconds = length_secs(arguments.seconds, prompt.bars, pulse)?;
        let is_new = arguments.edit.is_none() && arguments.r#continue.is_none();
        if let (true, None, None, Some(bars)) =
            (is_new, arguments.bars, arguments.seconds, prompt.bars)
        {
            tell(format!(
                "bars:{bars} in the prompt sets the clip's length; for a loop that closes give --bars {bars}"
            ));
        }
        let frames = (seconds / base.frame_secs()).ceil() as usize + 1;
        let tokens = pulse.map(|pulse| base.pulse_tokens(&pulse, frames));
        // What is kept of a recording has a beat of its own.
        let rhythm = rhythm.filter(|_| is_new && pulse.is_none());
        if let Some(rhythm) = &rhythm {
            tell(rhythm_line(rhythm));
        }
        Ok(Self {
            rhythm,
            prompt,
            vector: None,
            negative: None,
            length,
            seconds,
            tokens: tokens.unwrap_or_default(),
            spans: given.spans,
            steps: arguments.steps.map_or(base.default_steps(), usize::from),
            guidance: arguments.cfg.unwrap_or(base.default_guidance()),
        })
    }

    fn of_song(
        arguments: &Arguments,
        given: Given,
        base: &BaseModel,
        vector: Option<Vec<f32>>,
    ) -> Result<Self> {
        if arguments.bars.is_some() {
            bail!(
                "--bars needs a tempo, which a song model's prompt does not give; --seconds sets its length"
            );
        }
        let width = base.transformer_config().cond_dim;
        let vector = match given.style {
            Some(style) => Some(of_width(style, width)?),
            None => vector,
        };
        if let Some(vector) = vector.as_ref().filter(|vector| vector.len() != width) {
            bail!(
                "the style encoder makes vectors of {} numbers and this model takes {width}; they do not belong together",
                vector.len()
            );
        }
        let guidance = arguments.cfg.unwrap_or(base.default_guidance());
        let negative = given.negative_style;
        let negative = negative.map(|style| of_width(style, width)).transpose()?;
        if negative.is_none() && guidance > 0.0 {
            tell(
                "negative style: zeros; --negative-style names a vector to go away from (the reference's own is its infer/example/vocal.npy)",
            );
        }
        let most = base.most_secs();
        let seconds = arguments.seconds.unwrap_or(base.default_secs());
        if !(LEAST_SECS..=most).contains(&seconds) {
            bail!("a song of {seconds:?} s cannot be made: ask for {LEAST_SECS} to {most:.1} s");
        }
        let tokens = match &given.lyrics {
            Some((path, lrc)) => {
                let mut tokenizer = Tokenizer::new(TokenizerSettings {
                    espeak: None,
                    chinese_folder: arguments.lyrics_data.clone(),
                });
                let sung = sung::of_lrc(lrc, path, base, seconds, &mut tokenizer)?;
                tell(lyrics_line(&sung, base));
                if sung.lines.0 == 0 {
                    bail!(
                        "{}: no line of it would be heard; ask for a longer clip with --seconds, mend its times, or leave --lyrics out for instrumental music",
                        path.display()
                    );
                }
                sung.tokens
            }
            None => Vec::new(),
        };
        Ok(Self {
            prompt: Prompt::default(),
            vector,
            negative: negative.as_deref().map(lora::style::rounded),
            length: None,
            seconds,
            tokens,
            rhythm: None,
            spans: given.spans,
            steps: arguments.steps.map_or(base.default_steps(), usize::from),
            guidance,
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
            rhythm: self.rhythm.clone(),
            kept: None,
            decoding: arguments.chunked.then_some(RELEASED_CHUNKS),
        };
        let (frames, seed) = (request.frames(base), arguments.seed);
        let frame_secs = base.frame_secs();
        let clip_secs = frames as f64 * frame_secs;
        request.kept = match (&arguments.edit, &arguments.r#continue) {
            (Some(path), _) => {
                let kept = Kept::edit(base, path, &self.spans, frames, seed)?;
                let known_secs = kept.latents.dim(2)? as f64 * frame_secs;
                for line in edit_lines(&self.spans, known_secs, clip_secs, frame_secs) {
                    tell(format_args!("{}: {line}", path.display()));
                }
                Some(kept)
            }
            (None, Some(path)) => Some(Kept::continuation(base, path, frames, seed)?),
            (None, None) => None,
        };
        Ok(request)
    }
}

/// What tempi clips may have whose prompt names none.
fn rhythm_line(rhythm: &Rhythm) -> String {
    let metre = rhythm.beats_per_bar().unwrap_or(DEFAULT_BEATS_PER_BAR);
    format!(
        "tempo: drawn by each clip's seed from {} to {} BPM, {metre} beats in a bar; tempo:N and metre:N in the prompt set them",
        rhythm.slowest_bpm, rhythm.fastest_bpm
    )
}

/// A vector of the base's width.
fn of_width(vector: Vector, width: usize) -> Result<Vec<f32>, EmbedError> {
    match vector.values.len() == width {
        true => Ok(vector.values),
        false => Err(EmbedError::Width {
            path: vector.path,
            expected: width,
            actual: vector.values.len(),
        }),
    }
}

/// What is worth saying about an edit whose clip is not as long as the recording.
fn edit_lines(spans: &[SpanSecs], known_secs: f64, clip_secs: f64, frame_secs: f64) -> Vec<String> {
    let mut lines = Vec::new();
    if known_secs > clip_secs + frame_secs {
        lines.push(format!(
            "of its {known_secs:.1} s the clip has the first {clip_secs:.1}; --seconds asks for more"
        ));
    }
    if known_secs + frame_secs < clip_secs {
        lines.push(format!(
            "it ends at {known_secs:.1} s, and the rest of the clip, to {clip_secs:.1} s, is made too; --seconds {known_secs:.1} makes no more than it has"
        ));
    }
    let ends = spans.iter().filter_map(|span| span.to);
    if let Some(end) = ends
        .reduce(f64::max)
        .filter(|end| *end > clip_secs + frame_secs)
    {
        lines.push(format!(
            "--spans end at {end} s, and the clip at {clip_secs:.1} s"
        ));
    }
    lines
}

/// How many lines are heard, and why others are not.
fn lyrics_line(sung: &Sung, base: &BaseModel) -> String {
    let (heard, all) = sung.lines;
    let mut line = format!("lyrics: {heard} of {all} lines are heard");
    if sung.behind_end > 0 {
        line += &format!(", {} begin behind the end", sung.behind_end);
    }
    if sung.without_letters > 0 {
        line += &format!(", {} have no letter to speak", sung.without_letters);
    }
    if sung.bad_lines > 0 {
        line += &format!("; {} lines of the file are no lyrics", sung.bad_lines);
    }
    if heard + sung.behind_end + sung.without_letters < all
        && !base.transformer_config().has_duration()
    {
        line += " (models of this length leave the last line of a song out; an empty time behind it keeps it)";
    }
    line
}

/// What --bars asks for.
fn loop_length(bars: Option<u16>, prompt: &Prompt, beats_per_bar: usize) -> Result<Option<Length>> {
    let Some(bars) = bars else {
        return Ok(None);
    };
    let Some(tempo_bpm) = prompt.tempo_bpm else {
        bail!("--bars needs a tempo: add tempo:N to the prompt");
    };
    let length = Length {
        bars: u32::from(bars),
        beats: beats_per_bar as u32,
        unit: 4,
        tempo_bpm,
    };
    if let Some(said) = prompt.bars.filter(|said| *said != usize::from(bars)) {
        bail!(
            "--bars {bars} and bars:{said} of the prompt contradict each other; leave one of them out"
        );
    }
    length.validate()?;
    Ok(Some(length))
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
    if !(LEAST_SECS..=MOST_SECS).contains(&secs) {
        bail!("a clip of {secs:?} s cannot be made: ask for {LEAST_SECS} to {MOST_SECS} s");
    }
    Ok(secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_says_what_its_clip_leaves_out_or_adds() {
        let span = SpanSecs {
            from: Some(1.0),
            to: Some(100.0),
        };
        let lines = |known, clip| edit_lines(&[span], known, clip, 0.05).join("\n");
        assert!(lines(16.0, 3.0).contains("of its 16.0 s the clip has the first 3.0"));
        assert!(lines(3.0, 8.9).contains("it ends at 3.0 s"));
        assert!(lines(3.0, 3.0).contains("--spans end at 100 s, and the clip at 3.0 s"));
        assert_eq!(lines(120.0, 120.02), "");
    }
}
