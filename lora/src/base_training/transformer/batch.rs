//! Crops with their conditions, some of which are left out so that the model can be asked with less.

use std::ops::Range;

use candle_core::{Device, Tensor};
use nn::Stream;
use vae::Autoencoder;

use super::{TransformerRun, tag_rows};
use crate::base::pulse_token;
use crate::base_training::corpus::CorpusPiece;
use crate::error::LoraError;
use crate::train::FlowTimes;

/// Lengths of crops in seconds, and how often each is drawn.
const LENGTHS: [(f64, f64); 3] = [(6.0, 0.65), (8.4, 0.20), (12.0, 0.15)];
/// How often conditions are left out: all of them, all tags, each tag, the beat grid.
const DROP_EVERYTHING: f64 = 0.10;
const DROP_TAGS: f64 = 0.05;
const DROP_TAG: f64 = 0.25;
const DROP_GRID: f64 = 0.40;
/// How often one to this many tags are all that is kept, as in prompts that people type, and how often a piece's first tag, its style where it
/// has one, is kept for certain.
const FEW_TAGS: f64 = 0.45;
const MOST_OF_FEW: usize = 3;
const FEW_WITH_FIRST: f64 = 0.60;
/// How often all but one span is given, as in editing and continuing, and the span's share of the crop.
const KEEP_REST: f64 = 0.25;
const SPAN_SHARE: (f64, f64) = (0.3, 0.9);

/// The lengths of crops in latent frames.
#[derive(Debug, Clone)]
pub(super) struct Lengths([(usize, f64); LENGTHS.len()]);

impl Lengths {
    pub(super) fn of(sample_rate_hz: u32, hop: usize) -> Self {
        let frames = |secs: f64| (secs * f64::from(sample_rate_hz) / hop as f64).ceil() as usize;
        Self(LENGTHS.map(|(secs, share)| (frames(secs), share)))
    }

    pub(super) fn shortest(&self) -> usize {
        self.0[0].0
    }

    pub(super) fn draw(&self, random: &Stream) -> usize {
        let mut at = f64::from(random.uniform_vec(1)[0]);
        for (frames, share) in self.0 {
            if at < share {
                return frames;
            }
            at -= share;
        }
        self.shortest()
    }

    /// Items of that length that hold about as many frames as `batch_size` of the shortest.
    pub(super) fn items(&self, batch_size: usize, frames: usize) -> usize {
        (batch_size * self.shortest() / frames).max(1)
    }
}

/// A piece as the transformer learns it.
struct Piece {
    /// `[frames, channels]`
    latents: Vec<f32>,
    frames: usize,
    tags: Vec<usize>,
    tempo_bpm: Option<f64>,
    beats_per_bar: usize,
    first_beat_secs: f64,
}

/// Pieces that are long enough, and what batches of them need to know.
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    channels: usize,
    tag_count: usize,
    frame_secs: f64,
    pulses_per_beat: usize,
}

/// What is drawn of the pieces of a batch.
pub(super) struct Selection {
    pub(super) frames: usize,
    pub(super) with_drops: bool,
    pub(super) random: Stream,
}

/// Tensors of a batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// `[batch, frames, channels]`
    pub(super) data: Tensor,
    /// `[batch, frames, channels]`
    pub(super) noise: Tensor,
    /// `[batch, frames]`
    pub(super) text: Tensor,
    /// Share of each tag in an item's style, `[batch, tags]`.
    pub(super) mix: Tensor,
    /// `[batch]`
    pub(super) time: Tensor,
    /// `[batch]`
    pub(super) start_time: Tensor,
    /// One where a frame is given and not made, `[batch, frames, 1]`.
    pub(super) kept: Tensor,
}

impl Batch {
    /// Some of the items.
    pub(super) fn items(&self, items: Range<usize>) -> candle_core::Result<Self> {
        let of = |tensor: &Tensor| tensor.narrow(0, items.start, items.len())?.contiguous();
        Ok(Self {
            data: of(&self.data)?,
            noise: of(&self.noise)?,
            text: of(&self.text)?,
            mix: of(&self.mix)?,
            time: of(&self.time)?,
            start_time: of(&self.start_time)?,
            kept: of(&self.kept)?,
        })
    }

    /// Frames that are to be made, in all items together.
    pub(super) fn made_frames(&self) -> candle_core::Result<f64> {
        let kept = f64::from(self.kept.sum_all()?.to_scalar::<f32>()?);
        Ok(self.kept.elem_count() as f64 - kept)
    }
}

impl Pieces {
    /// Takes the pieces that are as long as the shortest crop.
    pub(super) fn new(
        latents: Vec<(CorpusPiece, Vec<f32>)>,
        run: &TransformerRun<'_>,
        lengths: &Lengths,
    ) -> Result<Self, LoraError> {
        let channels = run.autoencoder.latent_channels();
        let mut pieces = Vec::with_capacity(latents.len());
        for (piece, latents) in latents {
            let frames = latents.len() / channels;
            if frames < lengths.shortest() {
                continue;
            }
            pieces.push(Piece {
                tags: tag_rows(run, &piece)?,
                tempo_bpm: piece.tempo_bpm,
                beats_per_bar: piece.beats_per_bar,
                first_beat_secs: piece.first_beat_secs,
                latents,
                frames,
            });
        }
        if pieces.is_empty() {
            return Err(LoraError::Data {
                path: run.corpus.path(&run.corpus.training[0]),
                problem: format!(
                    "no piece is as long as {} latent frames ({} s)",
                    lengths.shortest(),
                    LENGTHS[0].0
                ),
            });
        }
        let rate = f64::from(run.autoencoder.sample_rate_hz());
        Ok(Self {
            pieces,
            channels,
            tag_count: run.tags.len(),
            frame_secs: run.autoencoder.hop() as f64 / rate,
            pulses_per_beat: run.sizes.pulses_per_beat,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Crops of the chosen pieces. A piece that is shorter than a crop holds its last frame.
    pub(super) fn batch(
        &self,
        chosen: &[usize],
        selection: &Selection,
        device: &Device,
    ) -> Result<Batch, LoraError> {
        let (items, frames) = (chosen.len(), selection.frames);
        let mut all = Parts::default();
        for (number, &index) in chosen.iter().enumerate() {
            let random = selection.random.named("item").at(number as u64);
            self.add(&mut all, &self.pieces[index], selection, &random);
        }
        let shape = (items, frames, self.channels);
        let random = &selection.random;
        let times = FlowTimes::STANDARD.draw(&random.named("times"), items);
        Ok(Batch {
            data: Tensor::from_vec(all.data, shape, device)?,
            noise: random.named("noise").normal(shape, device)?,
            text: Tensor::from_vec(all.text, (items, frames), device)?,
            mix: Tensor::from_vec(all.mix, (items, self.tag_count), device)?,
            time: Tensor::from_vec(times, items, device)?,
            start_time: Tensor::from_vec(all.start_time, items, device)?,
            kept: Tensor::from_vec(all.kept, (items, frames, 1), device)?,
        })
    }

    fn add(&self, all: &mut Parts, piece: &Piece, selection: &Selection, random: &Stream) {
        let (frames, drops) = (selection.frames, selection.with_drops);
        let usable = frames.min(piece.frames);
        let start = random.named("start").below(piece.frames - usable + 1);
        let channels = self.channels;
        all.data
            .extend(&piece.latents[start * channels..(start + usable) * channels]);
        for _ in usable..frames {
            all.data.extend(
                &piece.latents[(start + usable - 1) * channels..(start + usable) * channels],
            );
        }
        all.start_time.push(start as f32 / piece.frames as f32);
        let choice = match drops {
            true => f64::from(random.named("choice").uniform_vec(1)[0]),
            false => 1.0,
        };
        let tags = match drops {
            true => asked_tags(&piece.tags, random),
            false => piece.tags.clone(),
        };
        let mut mix = vec![0.0; self.tag_count];
        if choice >= DROP_EVERYTHING + DROP_TAGS {
            tags.iter()
                .for_each(|tag| mix[*tag] = 1.0 / tags.len() as f32);
        }
        all.mix.extend(mix);
        let without_grid =
            choice < DROP_EVERYTHING || (drops && random.named("grid").chance(DROP_GRID));
        all.text.extend((start..start + frames).map(|frame| {
            match (without_grid, piece.tempo_bpm) {
                (false, Some(tempo_bpm)) => {
                    let seconds = frame as f64 * self.frame_secs - piece.first_beat_secs;
                    pulse_token(
                        seconds,
                        tempo_bpm,
                        piece.beats_per_bar,
                        self.pulses_per_beat,
                    )
                }
                _ => 0,
            }
        }));
        let keeps = drops && choice >= DROP_EVERYTHING && random.named("keeps").chance(KEEP_REST);
        let made = match keeps {
            true => span(frames, &random.named("span")),
            false => 0..frames,
        };
        all.kept
            .extend((0..frames).map(|frame| f32::from(u8::from(!made.contains(&frame)))));
    }
}

/// The tags that a crop is asked with. The mean of one or two vectors lies where the mean of many never does, so both kinds of prompt have to be shown.
fn asked_tags(tags: &[usize], random: &Stream) -> Vec<usize> {
    let few = random.named("few");
    if tags.is_empty() || !few.chance(FEW_TAGS) {
        let is_kept = |number: usize| !random.named("tag").at(number as u64).chance(DROP_TAG);
        let kept = tags.iter().enumerate();
        return kept
            .filter(|(number, _)| is_kept(*number))
            .map(|(_, tag)| *tag)
            .collect();
    }
    let count = 1 + few.named("count").below(MOST_OF_FEW);
    let mut others: Vec<usize> = tags.to_vec();
    let mut kept = Vec::with_capacity(count);
    if few.named("first").chance(FEW_WITH_FIRST) {
        kept.push(others.remove(0));
    }
    while kept.len() < count && !others.is_empty() {
        let drawn = few.named("other").at(kept.len() as u64);
        kept.push(others.swap_remove(drawn.below(others.len())));
    }
    kept
}

/// The frames that are to be made where the rest is given.
fn span(frames: usize, random: &Stream) -> Range<usize> {
    let drawn = random.uniform_vec(2);
    let (least, most) = SPAN_SHARE;
    let share = least + (most - least) * f64::from(drawn[0]);
    let made = ((share * frames as f64) as usize).clamp(1, frames);
    let begin = (f64::from(drawn[1]) * (frames - made + 1) as f64) as usize;
    begin..begin + made
}

/// The values of a batch under construction.
#[derive(Default)]
struct Parts {
    data: Vec<f32>,
    text: Vec<u32>,
    mix: Vec<f32>,
    start_time: Vec<f32>,
    kept: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Pieces {
        let piece = |offset: usize| Piece {
            latents: (0..300).map(|value| (offset + value) as f32).collect(),
            frames: 150,
            tags: vec![0, 2],
            tempo_bpm: Some(120.0),
            beats_per_bar: 4,
            first_beat_secs: 0.1,
        };
        Pieces {
            pieces: vec![piece(0), piece(1000)],
            channels: 2,
            tag_count: 4,
            frame_secs: 0.05,
            pulses_per_beat: 10,
        }
    }

    fn batch(frames: usize, with_drops: bool, seed: u64) -> Batch {
        let selection = Selection {
            frames,
            with_drops,
            random: Stream::new(seed),
        };
        pieces().batch(&[0, 1], &selection, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_crop_is_a_stretch_with_its_tokens_and_tags() {
        let batch = batch(130, false, 1);
        for item in 0..2 {
            let data = batch.data.get(item).unwrap().to_vec2::<f32>().unwrap();
            let start = (data[0][0] as usize % 1000) / 2;
            assert_eq!(data[129][1] as usize % 1000, 2 * (start + 129) + 1);
            // A frame is one pulse here, and the first beat is two frames in.
            let text = batch.text.get(item).unwrap().to_vec1::<u32>().unwrap();
            assert_eq!(text[0], 1 + (start as i64 - 2).rem_euclid(40) as u32);
            assert_eq!(text[129], 1 + (start as i64 + 127).rem_euclid(40) as u32);
            let mix = batch.mix.get(item).unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(mix, [0.5, 0.0, 0.5, 0.0]);
        }
        assert_eq!(batch.made_frames().unwrap(), 260.0);
    }

    #[test]
    fn a_short_piece_holds_its_last_frame() {
        let batch = batch(160, false, 1);
        let data = batch.data.get(0).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(data[149], [298.0, 299.0]);
        assert_eq!(data[159], data[149]);
    }

    #[test]
    fn conditions_are_left_out_about_as_often_as_said() {
        let (mut untagged, mut gridless, mut spans) = (0, 0, 0);
        for seed in 0..500 {
            let batch = batch(130, true, seed);
            for item in 0..2 {
                let sum = |tensor: &Tensor| {
                    let tensor = tensor.get(item).unwrap().to_dtype(candle_core::DType::F32);
                    tensor
                        .unwrap()
                        .sum_all()
                        .unwrap()
                        .to_scalar::<f32>()
                        .unwrap()
                };
                untagged += usize::from(sum(&batch.mix) == 0.0);
                gridless += usize::from(sum(&batch.text) == 0.0);
                spans += usize::from(sum(&batch.kept) > 0.0);
            }
        }
        // .15 and, where not few are asked for, both tags dropped; .10 + .90 * .40; .90 * .25.
        assert!((145..=225).contains(&untagged), "{untagged}");
        assert!((400..=520).contains(&gridless), "{gridless}");
        assert!((170..=280).contains(&spans), "{spans}");
    }

    #[test]
    fn some_prompts_are_as_short_as_people_type_them() {
        let tags: Vec<usize> = (10..18).collect();
        let mut by_count = [0; 9];
        let (mut few, mut with_first) = (0u32, 0u32);
        for seed in 0..2000 {
            let mut asked = asked_tags(&tags, &Stream::new(seed));
            let count = asked.len();
            by_count[count] += 1;
            if (1..=MOST_OF_FEW).contains(&count) {
                few += 1;
                with_first += u32::from(asked.contains(&10));
            }
            assert!(asked.iter().all(|tag| tags.contains(tag)));
            asked.sort_unstable();
            asked.dedup();
            assert_eq!(asked.len(), count, "a tag twice");
        }
        assert!((860..=1_040).contains(&few), "{few} of 2000 {by_count:?}");
        // .60 and what chance adds among the others.
        assert!((0.60..0.75).contains(&(f64::from(with_first) / f64::from(few))));
        assert!(by_count[1] > 180 && by_count[2] > 180 && by_count[3] > 180);
        assert!(asked_tags(&[], &Stream::new(1)).is_empty());
        let alone = (0..100).map(|seed| asked_tags(&[7], &Stream::new(seed)));
        assert!(alone.clone().all(|asked| asked.len() <= 1));
        assert!(alone.filter(|asked| *asked == [7]).count() > 60);
    }

    #[test]
    fn lengths_keep_the_work_of_a_step() {
        let lengths = Lengths::of(44_100, 2048);
        assert_eq!(lengths.shortest(), 130);
        assert_eq!((lengths.items(12, 130), lengths.items(12, 259)), (12, 6));
        let mut seen: Vec<usize> = (0..60).map(|n| lengths.draw(&Stream::new(n))).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [130, 181, 259]);
    }
}
