//! What one training step sees: crops of latents, noise, times and styles, each drawn from counter-based streams so that step N is
//! the same whether or not the run was interrupted before it.

use candle_core::{Device, Tensor};
use lyrics::{FRAMES_PER_SEC, TimedTokens, TrainingWindow};
use nn::Stream;

use super::data::{LatentPiece, PieceForm};
use super::objective::FlowTimes;
use crate::error::LoraError;

/// Crops stacked for one forward pass.
#[derive(Debug)]
pub struct Batch {
    /// Clean latents `[batch, frames, channels]`.
    pub data: Tensor,
    /// How many frames of each item are of its piece; the rest fills up.
    pub valid_frames: Vec<usize>,
    /// Noise of the same shape as the data.
    pub noise: Tensor,
    /// Flow time `[batch]`: 0 is noise, 1 is data.
    pub time: Tensor,
    /// Tag rows of each item, and whether its style is given at all.
    pub styles: Vec<ItemStyle>,
    /// One token a frame, `[batch, frames]`, u32; 0 where there is none.
    pub text: Tensor,
    /// The piece of each item, by its number in the training set.
    pub pieces: Vec<usize>,
    /// Where each crop begins in its song, 0 to 1, `[batch]`.
    pub start_time: Tensor,
    /// Each song's length over the model's longest, at most 1, `[batch]`.
    pub duration: Tensor,
}

impl BatchShape {
    fn least_frames(&self) -> usize {
        match self.pads_to_model {
            true => self.max_frames,
            false => 0,
        }
    }
}

impl Batch {
    /// Some of the items.
    pub(super) fn items(&self, items: std::ops::Range<usize>) -> Result<Self, LoraError> {
        let narrow = |tensor: &Tensor| tensor.narrow(0, items.start, items.len());
        Ok(Self {
            data: narrow(&self.data)?,
            noise: narrow(&self.noise)?,
            time: narrow(&self.time)?,
            text: narrow(&self.text)?,
            start_time: narrow(&self.start_time)?,
            duration: narrow(&self.duration)?,
            valid_frames: self.valid_frames[items.clone()].to_vec(),
            pieces: self.pieces[items.clone()].to_vec(),
            styles: self.styles[items].to_vec(),
        })
    }
}

/// How one item is conditioned.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemStyle {
    /// Rows of the tag table.
    pub tags: Vec<usize>,
    /// An encoder's vector, for a song model.
    pub vector: Option<Vec<f32>>,
    /// Trained with what is learned for the style; the base's own pieces are not.
    pub has_trigger: bool,
    /// Trained without style, so that guidance has something to push away from.
    pub dropped: bool,
}

/// Shape of a batch and the shares of what is dropped.
#[derive(Debug, Clone, Copy)]
pub struct BatchShape {
    /// Items.
    pub batch_size: usize,
    /// Latent frames of a crop.
    pub frames: usize,
    /// Share of items without style.
    pub style_drop: f64,
    /// Share of items without lyrics.
    pub text_drop: f64,
    /// Share of items without tags, the trigger alone being their style.
    pub tag_drop: f64,
    /// How flow times are drawn.
    pub times: FlowTimes,
    /// Whether all items of a batch are dropped together, as the reference does it.
    pub drops_together: bool,
    /// Where in a song every crop is said to begin; by its place in the recording if there is none.
    pub position: Option<f64>,
    /// Latent frames of the longest song the model knows.
    pub max_frames: usize,
    /// Whether crops are filled up to that length, not only to that of the longest in a batch.
    pub pads_to_model: bool,
}

/// A piece's stretch, before it is stacked with others.
struct Crop {
    values: Vec<f32>,
    frames: usize,
    tokens: Vec<u32>,
    start_time: f32,
    duration: f32,
}

impl Crop {
    fn of(piece: PieceForm<'_>, start: usize, shape: &BatchShape) -> Self {
        let (values, frames) = piece.crop(start, shape.frames);
        let (piece_start, song_frames) = piece.place;
        let begins = (piece_start + start) as f64 / song_frames.max(1) as f64;
        let (tokens, frames) = sung(piece, start, frames, shape);
        let duration = song_frames as f64 / shape.max_frames.max(1) as f64;
        Self {
            values: values[..frames * piece.channels()].to_vec(),
            frames,
            tokens,
            start_time: shape.position.unwrap_or(begins.min(1.0)) as f32,
            duration: duration.min(1.0) as f32,
        }
    }
}

/// The tokens of a stretch, and how many of its `frames` count. Lines are heard whole: those that begin in the stretch, and up to where
/// the last of them begins if the stretch ends before the piece does, as the reference has it (`get_triple` in its `dataset/dataset.py`).
fn sung(
    piece: PieceForm<'_>,
    start: usize,
    frames: usize,
    shape: &BatchShape,
) -> (Vec<u32>, usize) {
    let lines = piece.lines;
    if lines.is_empty() {
        return (Vec::new(), frames);
    }
    let end = piece.frames();
    let reaches_end = start + shape.frames >= end;
    let placed = |lines: &[TimedTokens], max_frames: usize| {
        let window = TrainingWindow {
            max_frames,
            song_frames: end,
            start_frame: start,
        };
        lyrics::place_for_training(lines, &window)
    };
    let cut = (!reaches_end)
        .then(|| placed(lines, shape.frames))
        .flatten()
        .filter(|placed| placed.valid_frames > 0);
    let (placed, valid) = match cut {
        Some(placed) => {
            let valid = placed.valid_frames;
            (Some(placed), valid)
        }
        None => {
            // To the end of the piece, or of a single line that is longer than the stretch: a mark behind it closes the last line.
            let mut closed = lines.to_vec();
            closed.push(TimedTokens {
                time_secs: end.max(start + frames) as f64 / FRAMES_PER_SEC,
                tokens: None,
            });
            (placed(&closed, end.max(frames) + 1), frames)
        }
    };
    let valid = valid.min(frames);
    let tokens = placed.map(|placed| placed.tokens).unwrap_or_default();
    let token = |&token: &i64| u32::try_from(token).unwrap_or(0);
    (tokens.iter().take(valid).map(token).collect(), valid)
}

/// Steps in one pass of `visits` visits.
pub fn steps_per_epoch(visits: usize, batch_size: usize) -> usize {
    visits.div_ceil(batch_size).max(1)
}

/// Draws training step `step` (counted from 0). An epoch makes all `visits`, which are numbers of pieces, in an order of its own.
pub fn training_batch(
    pieces: &[LatentPiece],
    visits: &[usize],
    shape: BatchShape,
    step: usize,
    random: &Stream,
    device: &Device,
) -> Result<Batch, LoraError> {
    let per_epoch = steps_per_epoch(visits.len(), shape.batch_size);
    let (epoch, step_in_epoch) = (step / per_epoch, step % per_epoch);
    let mut order = visits.to_vec();
    random.named("order").at(epoch as u64).shuffle(&mut order);
    let mut crops = Vec::with_capacity(shape.batch_size);
    let mut styles = Vec::with_capacity(shape.batch_size);
    for item in 0..shape.batch_size {
        let number = order[(step_in_epoch * shape.batch_size + item) % order.len()];
        let piece = &pieces[number];
        let draw = random
            .named("item")
            .at((step * shape.batch_size + item) as u64);
        let form = piece.form(draw.named("form").below(piece.forms()));
        let freedom = form.frames().saturating_sub(shape.frames);
        let start = draw.named("crop").below(freedom + 1);
        let mut crop = Crop::of(form, start, &shape);
        let chance = match shape.drops_together {
            true => random.named("item").at((step * shape.batch_size) as u64),
            false => draw,
        };
        let falls = |name: &str, share| f64::from(chance.named(name).uniform_vec(1)[0]) < share;
        if falls("text", shape.text_drop) {
            crop.tokens.clear();
        }
        crops.push((number, crop));
        let tags = match falls("tags", shape.tag_drop) {
            true => Vec::new(),
            false => form.tags.to_vec(),
        };
        styles.push(ItemStyle {
            tags,
            vector: piece.conditions.style.clone(),
            has_trigger: true,
            dropped: falls("style", shape.style_drop),
        });
    }
    let time = shape
        .times
        .draw(&random.named("time").at(step as u64), shape.batch_size);
    stack(
        &crops,
        shape.least_frames(),
        styles,
        time,
        &random.named("noise").at(step as u64),
        device,
    )
}

/// The batches that measure the held-out songs: the same pieces, crops, times and noise at every call. At most `most_pieces` pieces,
/// spread over the songs, each at several times.
pub fn validation_batches(
    pieces: &[LatentPiece],
    shape: BatchShape,
    most_pieces: usize,
    random: &Stream,
    device: &Device,
) -> Result<Vec<Batch>, LoraError> {
    // Quantiles of the training distribution sigmoid(N(0, 1)) at 1/8, 3/8, 5/8 and 7/8.
    const TIMES: [f32; 4] = [0.240, 0.421, 0.579, 0.760];
    let chosen = spread(pieces.len(), most_pieces);
    let items: Vec<(usize, f32)> = chosen
        .iter()
        .flat_map(|piece| TIMES.map(|time| (*piece, time)))
        .collect();
    let mut batches = Vec::new();
    for (index, group) in items.chunks(shape.batch_size).enumerate() {
        let crops: Vec<_> = group
            .iter()
            .map(|(piece, _)| (*piece, middle_crop(&pieces[*piece], &shape)))
            .collect();
        let styles = group
            .iter()
            .map(|(piece, _)| ItemStyle {
                tags: pieces[*piece].tags.clone(),
                vector: pieces[*piece].conditions.style.clone(),
                has_trigger: true,
                dropped: false,
            })
            .collect();
        let times = group.iter().map(|(_, time)| *time).collect();
        batches.push(stack(
            &crops,
            shape.least_frames(),
            styles,
            times,
            &random.named("validation").at(index as u64),
            device,
        )?);
    }
    Ok(batches)
}

/// At most `most` indices below `count`, evenly spread.
fn spread(count: usize, most: usize) -> Vec<usize> {
    let taken = count.min(most);
    (0..taken).map(|index| index * count / taken).collect()
}

fn middle_crop(piece: &LatentPiece, shape: &BatchShape) -> Crop {
    let start = piece.frames().saturating_sub(shape.frames) / 2;
    Crop::of(piece.form(0), start, shape)
}

/// Crops of numbered pieces, one above the other, filled up to the longest and to `least_frames`.
fn stack(
    numbered: &[(usize, Crop)],
    least_frames: usize,
    styles: Vec<ItemStyle>,
    time: Vec<f32>,
    noise: &Stream,
    device: &Device,
) -> Result<Batch, LoraError> {
    let crops: Vec<&Crop> = numbered.iter().map(|(_, crop)| crop).collect();
    let batch = crops.len();
    let longest = crops.iter().map(|crop| crop.frames).max().unwrap_or(0);
    let frames = longest.max(least_frames);
    let channels = crops
        .first()
        .map_or(0, |crop| crop.values.len() / crop.frames.max(1));
    let mut data = Vec::with_capacity(batch * frames * channels);
    let mut text = Vec::with_capacity(batch * frames);
    for (number, crop) in crops.iter().enumerate() {
        data.extend_from_slice(&crop.values);
        data.resize((number + 1) * frames * channels, 0.0);
        text.extend_from_slice(&crop.tokens);
        text.resize((number + 1) * frames, 0);
    }
    let numbers = |number: fn(&Crop) -> f32| {
        let numbers: Vec<f32> = crops.iter().map(|crop| number(crop)).collect();
        Tensor::from_vec(numbers, batch, device)
    };
    Ok(Batch {
        data: Tensor::from_vec(data, (batch, frames, channels), device)?,
        valid_frames: crops.iter().map(|crop| crop.frames).collect(),
        text: Tensor::from_vec(text, (batch, frames), device)?,
        start_time: numbers(|crop| crop.start_time)?,
        duration: numbers(|crop| crop.duration)?,
        noise: noise.normal((batch, frames, channels), device)?,
        time: Tensor::from_vec(time, batch, device)?,
        pieces: numbered.iter().map(|(piece, _)| *piece).collect(),
        styles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(lengths: &[usize]) -> Vec<LatentPiece> {
        let piece = |(index, frames): (usize, &usize)| {
            let values = (0..frames * 2)
                .map(|value| (index * 1000 + value) as f32)
                .collect();
            LatentPiece::new(values, 2, vec![index], format!("song-{index}"))
        };
        lengths.iter().enumerate().map(piece).collect()
    }

    const SHAPE: BatchShape = BatchShape {
        batch_size: 3,
        frames: 4,
        style_drop: 0.5,
        text_drop: 0.5,
        tag_drop: 0.0,
        times: FlowTimes::STANDARD,
        drops_together: false,
        position: None,
        max_frames: 40,
        pads_to_model: false,
    };

    #[test]
    fn a_step_is_the_same_whenever_it_is_drawn() {
        let (pieces, random) = (pieces(&[10, 4, 7, 20]), Stream::new(3));
        let visits = [0, 1, 2, 3];
        let draw =
            |step| training_batch(&pieces, &visits, SHAPE, step, &random, &Device::Cpu).unwrap();
        let first = draw(5);
        draw(2);
        let again = draw(5);
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&first.data), flat(&again.data));
        assert_eq!(flat(&first.noise), flat(&again.noise));
        assert_eq!(first.styles, again.styles);
        assert_ne!(flat(&first.noise), flat(&draw(6).noise));
    }

    #[test]
    fn an_epoch_makes_every_visit() {
        let (pieces, random) = (pieces(&[10, 4, 7, 20, 5, 6]), Stream::new(1));
        let mut seen: Vec<usize> = (0..steps_per_epoch(6, 3))
            .flat_map(|step| {
                let visits = [0, 1, 2, 2, 3, 4];
                training_batch(&pieces, &visits, SHAPE, step, &random, &Device::Cpu)
                    .unwrap()
                    .pieces
            })
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, vec![0, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn without_tags_the_trigger_is_alone() {
        let pieces = pieces(&[9, 9]);
        let tags = |tag_drop| {
            let shape = BatchShape {
                tag_drop,
                batch_size: 40,
                ..SHAPE
            };
            let random = Stream::new(1);
            let batch = training_batch(&pieces, &[0, 1], shape, 0, &random, &Device::Cpu).unwrap();
            let without = batch.styles.iter().filter(|style| style.tags.is_empty());
            without.count()
        };
        assert_eq!((tags(0.0), tags(1.0)), (0, 40));
        assert!((10..30).contains(&tags(0.5)));
    }

    #[test]
    fn short_pieces_are_padded_and_masked() {
        let pieces = pieces(&[2, 9, 9]);
        let random = Stream::new(1);
        let batch = training_batch(&pieces, &[0, 1, 2], SHAPE, 0, &random, &Device::Cpu).unwrap();
        let short = batch
            .styles
            .iter()
            .position(|style| style.tags == [0])
            .unwrap();
        assert_eq!(batch.data.dims(), [3, 4, 2]);
        assert_eq!(batch.valid_frames[short], 2);
        assert_eq!(batch.data.to_vec3::<f32>().unwrap()[short][2], [0.0, 0.0]);
        let whole = BatchShape {
            pads_to_model: true,
            ..SHAPE
        };
        let filled = training_batch(&pieces, &[0, 1, 2], whole, 0, &random, &Device::Cpu).unwrap();
        assert_eq!(filled.data.dims(), [3, 40, 2]);
        assert_eq!(filled.valid_frames, batch.valid_frames);
    }

    #[test]
    fn validation_is_spread_over_the_pieces_and_fixed() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(2, 4), [0, 1]);
        let pieces = pieces(&[10, 4, 7]);
        let batches = validation_batches(&pieces, SHAPE, 2, &Stream::new(1), &Device::Cpu).unwrap();
        assert_eq!(
            batches
                .iter()
                .map(|batch| batch.styles.len())
                .sum::<usize>(),
            8
        );
        assert!(
            batches
                .iter()
                .all(|batch| batch.styles.iter().all(|style| !style.dropped))
        );
    }

    /// A piece of 40 frames with two lines of two tokens, at frames 4 and 20.
    fn sung_piece() -> LatentPiece {
        let line = |frame: usize, token| TimedTokens {
            time_secs: (frame as f64 + 0.5) / FRAMES_PER_SEC,
            tokens: Some(vec![token, token]),
        };
        let mut piece = pieces(&[40]).remove(0);
        piece.conditions.lines = vec![line(4, 7), line(20, 9)];
        piece
    }

    #[test]
    fn stretches_hear_whole_lines() {
        let piece = sung_piece();
        let crop = |start, frames| {
            let shape = BatchShape { frames, ..SHAPE };
            Crop::of(piece.form(0), start, &shape)
        };
        let places = |crop: &Crop, token| crop.tokens.iter().position(|&found| found == token);
        // The whole piece: both lines, to the end.
        let whole = crop(0, 40);
        assert_eq!(whole.frames, 40);
        assert_eq!((places(&whole, 7), places(&whole, 9)), (Some(4), Some(20)));
        // Ends within the second line: heard up to it.
        let first = crop(0, 30);
        assert_eq!(
            (first.frames, places(&first, 7), places(&first, 9)),
            (20, Some(4), None)
        );
        // Begins within the first line, reaches the end.
        let second = crop(6, 34);
        assert_eq!(
            (second.frames, places(&second, 7), places(&second, 9)),
            (34, None, Some(14))
        );
        // One line alone that is longer than the stretch.
        let alone = crop(20, 10);
        assert_eq!((alone.frames, places(&alone, 9)), (10, Some(0)));
        assert!(whole.values.len() == 80 && first.values.len() == 40);
    }
}
