//! The flow: rectified flow matching (Liu et al. 2022; Lipman et al. 2022). This file alone says what time means.
//!
//! Time runs from 0, noise, to 1, data. A point on the way is `x_t = (1 - t) noise + t data`, the model predicts the
//! constant velocity `data - noise`, and sampling integrates it from 0 to 1 by a [`Solver`].

use crate::diffrhythm::{DiffusionTransformer, Drops, EncodedText, Inputs, Presence, TIME_SCALE};
use candle_core::{Result, Tensor, bail};
use nn::{Mode, Stream};
use std::ops::Range;

/// Guidance strengths below this skip the null branch, as in the reference.
const GUIDANCE_MIN: f64 = 1e-5;

/// `(1 - t) noise + t data`.
///
/// # Shapes
/// `noise`, `data`: `[batch, frames, channels]`; `time`: `[batch]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn interpolate(noise: &Tensor, data: &Tensor, time: &Tensor) -> Result<Tensor> {
    let time = time.reshape((time.dims1()?, 1, 1))?;
    let noise_part = noise.broadcast_mul(&time.affine(-1.0, 1.0)?)?;
    noise_part + data.broadcast_mul(&time)?
}

/// What the model learns to predict: `data - noise`, at any time.
///
/// # Errors
/// When the shapes differ.
pub fn velocity(noise: &Tensor, data: &Tensor) -> Result<Tensor> {
    data - noise
}

/// Training times, `[batch]`: the logistic function of standard normal numbers, which favours the middle of the way
/// (Esser et al. 2024, "Scaling Rectified Flow Transformers").
///
/// # Errors
/// When candle cannot place them on the device.
pub fn logit_normal_times(
    stream: &Stream,
    batch: usize,
    device: &candle_core::Device,
) -> Result<Tensor> {
    let times: Vec<f32> = stream
        .normal_vec(batch)
        .into_iter()
        .map(|value| 1.0 / (1.0 + (-value).exp()))
        .collect();
    Tensor::from_vec(times, batch, device)
}

/// Mean squared error over valid frames: item `i` counts with its first `valid_frames[i]` frames, all items with all
/// of theirs when there is no list. Frames weigh the same whichever item they are in.
///
/// # Shapes
/// `prediction`, `target`: `[batch, frames, channels]`; result: a scalar.
///
/// # Errors
/// When shapes or the list do not fit, or no frame is valid.
pub fn masked_loss(
    prediction: &Tensor,
    target: &Tensor,
    valid_frames: Option<&[usize]>,
) -> Result<Tensor> {
    let (batch, frames, channels) = prediction.dims3()?;
    let squares = (prediction - target)?.sqr()?;
    let Some(valid) = valid_frames else {
        return squares.mean_all();
    };
    let count: usize = valid.iter().map(|&valid| valid.min(frames)).sum();
    if valid.len() != batch || count == 0 {
        bail!("loss: valid frames {valid:?} for a batch of {batch} with {frames} frames");
    }
    let mask: Vec<f32> = valid
        .iter()
        .flat_map(|&valid| (0..frames).map(move |frame| f32::from(u8::from(frame < valid))))
        .collect();
    let mask = Tensor::from_vec(mask, (batch, frames, 1), prediction.device())?;
    squares.broadcast_mul(&mask)?.sum_all()? / (count * channels) as f64
}

/// Points in time from 0 to 1. With sway `s`, `t + s (cos(pi t / 2) - 1 + t)` (Chen et al. 2024, "F5-TTS"): negative
/// values spend more steps near noise.
pub fn time_grid(points: usize, sway: Option<f64>) -> Vec<f32> {
    let last = points.saturating_sub(1).max(1) as f64;
    let even = (0..points).map(|point| point as f64 / last);
    let swayed = even.map(|time| match sway {
        None => time,
        Some(sway) => time + sway * ((std::f64::consts::FRAC_PI_2 * time).cos() - 1.0 + time),
    });
    swayed.map(|time| time as f32).collect()
}

/// [`time_grid`] as the reference's pipeline has it, which runs in half precision, the grid too.
pub fn half_precision_grid(points: usize) -> Vec<f32> {
    time_grid(points, None).into_iter().map(rounded).collect()
}

/// The time that a model in f32 must be given to see what the reference's sees in half precision, where a time is rounded
/// once and its thousandfold, which the sinusoids are taken of, again.
pub fn half_precision_time(time: f32) -> f32 {
    rounded(TIME_SCALE * rounded(time)) / TIME_SCALE
}

/// To the nearest number of 11 bits.
fn rounded(value: f32) -> f32 {
    half::f16::from_f32(value).to_f32()
}

/// How to sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Points of the time grid; there is one step less. The reference calls this number "steps".
    pub points: usize,
    /// How it goes from one point to the next.
    pub solver: Solver,
    /// See [`time_grid`].
    pub sway: Option<f64>,
    /// Classifier-free guidance (Ho and Salimans 2022): `v + (v - null) * guidance`. Zero skips the null branch.
    pub guidance: f64,
    /// Whether the model is to see times as in the reference's pipeline, which rounds them to half precision; without sway.
    pub half_precision_times: bool,
}

/// How velocities are integrated; each step asks the model once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Solver {
    /// Along the velocity of the point where the step begins, as the reference does.
    #[default]
    Euler,
    /// Two-step Adams-Bashforth (Bashforth and Adams 1883; Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", III.1):
    /// along the line through this velocity and the last, so that the error falls with the square of the number of steps. The first step
    /// is Euler's.
    AdamsBashforth,
}

impl Solver {
    /// What is integrated over a step of length `step`: `velocity`, and how it changed since the one before, if there was one, a step of
    /// length `last_step` ago.
    fn direction(
        self,
        velocity: &Tensor,
        before: Option<(&Tensor, f64)>,
        step: f64,
    ) -> Result<Tensor> {
        match (self, before) {
            (Self::AdamsBashforth, Some((last, last_step))) => {
                let change = (velocity - last)?;
                velocity + (change * (step / (2.0 * last_step)))?
            }
            _ => Ok(velocity.clone()),
        }
    }
}

impl Sampling {
    fn grid(&self, from: f32) -> Vec<Point> {
        let point = |exact| match self.half_precision_times {
            true => Point {
                exact,
                time: rounded(exact),
                seen: half_precision_time(rounded(exact)),
            },
            false => Point {
                exact,
                time: exact,
                seen: exact,
            },
        };
        let times = time_grid(self.points, self.sway).into_iter();
        // From 0 on, each time stays what it is to the last bit.
        times
            .map(|time| point(from + (1.0 - from) * time))
            .collect()
    }
}

/// A point in time.
#[derive(Clone, Copy)]
struct Point {
    /// What limits of adapters are compared with.
    exact: f32,
    /// What is integrated over.
    time: f32,
    /// As the model sees it.
    seen: f32,
}

/// What to sample.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where the way starts, `[batch, frames, mel_dim]`; its batch is the result's.
    pub noise: &'a Tensor,
    /// Known latents, `[1 or batch, at least frames, mel_dim]`; cropped when longer.
    pub audio_condition: &'a Tensor,
    /// Frames to make; everything outside is taken from the audio condition. All frames make a new piece, the later
    /// ones a continuation, some in the middle an edit.
    pub spans: &'a [Range<usize>],
    /// Tokens, `[1 or batch, frames]`.
    pub text: &'a Tensor,
    /// `[1 or batch, cond_dim]`
    pub style: &'a Tensor,
    /// Styles that take the place of that one from a time on, in the order of their times.
    pub later_styles: &'a [(f32, &'a Tensor)],
    /// Style of the null branch, `[1 or batch, cond_dim]`.
    pub negative_style: &'a Tensor,
    /// `[1 or batch]`
    pub start_time: &'a Tensor,
    /// `[1 or batch]`, see [`Inputs::duration`].
    pub duration: Option<&'a Tensor>,
}

/// What was sampled.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The end of the way, known frames included as the model would have them, `[batch, frames, mel_dim]`.
    pub end: Tensor,
    /// The same with known frames put back.
    pub latents: Tensor,
}

/// Integrates the model's velocity from noise to data. `progress` is called with the number of steps done, their total
/// and the state, before the first step and after each; an error of its ends the sampling.
///
/// # Errors
/// When shapes do not fit, the grid has fewer than two points or both sway and half precision, or `progress` asks to stop.
pub fn sample(
    model: &DiffusionTransformer,
    request: &Request<'_>,
    sampling: &Sampling,
    progress: &mut dyn FnMut(usize, usize, &Tensor) -> Result<()>,
) -> Result<Sampled> {
    sample_on(model, request, sampling, Course::default(), progress)
}

/// A course that the reference does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Course {
    /// The time at which the way begins: [`Request::noise`] is then a point of it at that time (see [`interpolate`]), and the grid is spread
    /// over the rest (SDEdit, Meng et al. 2021, arXiv:2108.01073).
    pub from: f32,
    /// Whether the null branch sees the known frames too. Guidance then goes away from other styles alone; otherwise it also exaggerates
    /// whatever follows from the known frames.
    pub null_knows: bool,
    /// Whether known frames are brought to their own straight way at each step, as a model saw them in training, instead of going where
    /// its velocity leads them, which no loss has trained there (Lugmayr et al. 2022, RePaint, arXiv:2201.09865).
    pub holds_known: bool,
}

/// The same on another course.
///
/// # Errors
/// As [`sample`].
pub fn sample_on(
    model: &DiffusionTransformer,
    request: &Request<'_>,
    sampling: &Sampling,
    course: Course,
    progress: &mut dyn FnMut(usize, usize, &Tensor) -> Result<()>,
) -> Result<Sampled> {
    if sampling.points < 2 {
        bail!("sampling: {} points make no step", sampling.points);
    }
    if let (Some(sway), true) = (sampling.sway, sampling.half_precision_times) {
        bail!("sampling: sway {sway} has no grid in half precision");
    }
    let mut prepared = Prepared::new(model, request, sampling.guidance, course.null_knows)?;
    let grid = sampling.grid(course.from);
    let mut x = request.noise.detach();
    let mut before: Option<(Tensor, f64)> = None;
    progress(0, grid.len() - 1, &x)?;
    for (step, times) in grid.windows(2).enumerate() {
        let (from, to) = (times[0], times[1]);
        if course.holds_known {
            let done = (from.time - course.from) / (1.0 - course.from);
            x = prepared.held(&x, request.noise, done)?;
        }
        if prepared.go_to(model, request, from.exact)? {
            // The last velocity was another model's or for another style: there is no line through both.
            before = None;
        }
        let velocity = prepared.guided(model, &x, from.seen)?;
        let length = f64::from(to.time - from.time);
        let last = before.as_ref().map(|(last, length)| (last, *length));
        let direction = sampling.solver.direction(&velocity, last, length)?;
        x = (x + direction.affine(length, 0.0)?)?;
        before = Some((velocity, length));
        progress(step + 1, grid.len() - 1, &x)?;
    }
    let latents = prepared
        .made
        .broadcast_as(x.shape())?
        .where_cond(&x, &prepared.known)?;
    Ok(Sampled { end: x, latents })
}

/// A request with every tensor at the result's batch size.
struct Prepared {
    /// Known latents, cropped, `[batch, frames, mel_dim]`.
    known: Tensor,
    /// 1 for frames to make, `[1, frames, 1]`.
    made: Tensor,
    text: Tensor,
    start_time: Tensor,
    duration: Option<Tensor>,
    with: Branch,
    /// The null branch, if there is guidance.
    without: Option<Branch>,
    guidance: f64,
    /// The time that texts and styles are for.
    time: f32,
}

/// One branch of guidance: its conditions, which mostly stay the same in all steps.
struct Branch {
    /// Known latents with zeros for frames to make; all zeros in the null branch, unless it knows them too.
    condition: Tensor,
    style: Tensor,
    presence: Presence,
    text: EncodedText,
}

impl Prepared {
    fn new(
        model: &DiffusionTransformer,
        request: &Request<'_>,
        guidance: f64,
        null_knows: bool,
    ) -> Result<Self> {
        let (batch, frames, _) = request.noise.dims3()?;
        let known = request.audio_condition.detach();
        if known.dim(1)? < frames {
            bail!(
                "sampling: an audio condition of {} frames for {frames}",
                known.dim(1)?
            );
        }
        let known = to_batch(&known.narrow(1, 0, frames)?, batch)?;
        if let Some(span) = request
            .spans
            .iter()
            .find(|span| span.start > span.end || span.end > frames)
        {
            bail!("sampling: frames {span:?} of {frames}");
        }
        let make = |frame: usize| request.spans.iter().any(|span| span.contains(&frame));
        let made: Vec<u8> = (0..frames).map(|frame| u8::from(make(frame))).collect();
        let made = Tensor::from_vec(made, (1, frames, 1), known.device())?;
        let silence = known.zeros_like()?;
        let condition = made
            .broadcast_as(known.shape())?
            .where_cond(&silence, &known)?;
        let text = to_batch(request.text, batch)?;
        let time = 0.0;
        let encode =
            |presence: &Presence| model.encode_text(&text, presence, &Mode::Sampling { time });
        let without = match guidance < GUIDANCE_MIN {
            true => None,
            false => Some(Branch {
                condition: match null_knows {
                    true => condition.clone(),
                    false => silence,
                },
                style: to_batch(request.negative_style, batch)?,
                presence: Presence::Dropped,
                text: encode(&Presence::Dropped)?,
            }),
        };
        Ok(Self {
            with: Branch {
                condition,
                style: to_batch(style_at(request, time), batch)?,
                presence: Presence::Kept,
                text: encode(&Presence::Kept)?,
            },
            without,
            start_time: to_batch(request.start_time, batch)?,
            duration: request
                .duration
                .map(|duration| to_batch(duration, batch))
                .transpose()?,
            text,
            known,
            made,
            guidance,
            time,
        })
    }

    /// The state with known frames where their own straight way is: from where they began to what they are.
    fn held(&self, x: &Tensor, began: &Tensor, done: f32) -> Result<Tensor> {
        let time = Tensor::full(done, x.dim(0)?, x.device())?;
        let way = interpolate(began, &self.known, &time)?;
        self.made.broadcast_as(x.shape())?.where_cond(x, &way)
    }

    /// Brings to a time what depends on it: texts, if adapters begin or end to act on their layers, and the style. Tells whether the
    /// velocity jumps there.
    fn go_to(
        &mut self,
        model: &DiffusionTransformer,
        request: &Request<'_>,
        time: f32,
    ) -> Result<bool> {
        let mut jumps = model.differs_between(self.time, time);
        if model.text_differs_between(self.time, time) {
            let mode = Mode::Sampling { time };
            for branch in [Some(&mut self.with), self.without.as_mut()]
                .into_iter()
                .flatten()
            {
                branch.text = model.encode_text(&self.text, &branch.presence, &mode)?;
            }
        }
        if !request.later_styles.is_empty() {
            let (last, style) = (style_at(request, self.time), style_at(request, time));
            let values = |style: &Tensor| style.flatten_all()?.to_vec1::<f32>();
            // One that came and went between two steps is none.
            jumps |= values(last)? != values(style)?;
            self.with.style = to_batch(style, self.text.dim(0)?)?;
        }
        self.time = time;
        Ok(jumps)
    }

    /// The velocity, guided away from the null branch. On the CPU both branches run side by side, which on few
    /// cores is faster than as one batch.
    fn guided(&self, model: &DiffusionTransformer, x: &Tensor, time: f32) -> Result<Tensor> {
        let Some(without) = &self.without else {
            return self.velocity(model, &self.with, x, time);
        };
        let velocity = |branch| self.velocity(model, branch, x, time);
        let (with, without) = match x.device().is_cpu() {
            true => rayon::join(|| velocity(&self.with), || velocity(without)),
            false => (velocity(&self.with), velocity(without)),
        };
        let (with, without) = (with?, without?);
        &with + ((&with - without)? * self.guidance)?
    }

    fn velocity(
        &self,
        model: &DiffusionTransformer,
        branch: &Branch,
        x: &Tensor,
        time: f32,
    ) -> Result<Tensor> {
        let inputs = Inputs {
            x,
            audio_condition: &branch.condition,
            text: &self.text,
            style: &branch.style,
            time: &Tensor::full(time, x.dim(0)?, x.device())?,
            start_time: &self.start_time,
            duration: self.duration.as_ref(),
            drops: Drops::default(),
        };
        let mode = Mode::Sampling { time: self.time };
        let velocity = model.forward_encoded(&inputs, &branch.text, &mode, &mut |_, _| {})?;
        Ok(velocity.detach())
    }
}

/// The style that is asked for at a time.
fn style_at<'a>(request: &Request<'a>, time: f32) -> &'a Tensor {
    let later = request.later_styles.iter().rev();
    let mut begun = later.filter(|(from, _)| *from <= time);
    begun.next().map_or(request.style, |(_, style)| style)
}

/// Repeats a single item to the batch's size.
fn to_batch(tensor: &Tensor, batch: usize) -> Result<Tensor> {
    let mut shape = tensor.dims().to_vec();
    match shape.first() {
        Some(&size) if size == batch => tensor.contiguous(),
        Some(1) => {
            shape[0] = batch;
            tensor.broadcast_as(shape)?.contiguous()
        }
        _ => bail!("sampling: {:?} for a batch of {batch}", tensor.shape()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use testing::{assert_close, assert_equal, pseudo_random};

    #[test]
    fn the_way_leads_from_noise_to_data() {
        let (noise, data) = (pseudo_random((3, 4, 2), 1), pseudo_random((3, 4, 2), 2));
        let at = |time: [f32; 3]| {
            interpolate(&noise, &data, &Tensor::new(&time, &Device::Cpu).unwrap()).unwrap()
        };
        assert_equal("start", &at([0.0; 3]), &noise);
        assert_equal("end", &at([1.0; 3]), &data);
        let step = (at([0.25, 0.5, 0.75]) - at([0.0, 0.25, 0.5])).unwrap();
        let expected = (velocity(&noise, &data).unwrap() * 0.25).unwrap();
        assert_close("step", &step, &expected, 1e-6);
    }

    /// On a curved way, twice the steps leave half of Euler's error and a quarter of the other's; on a parabola the other is exact but for
    /// its first step.
    #[test]
    fn solvers_err_by_their_order() {
        let tensor = |value: f64| Tensor::new(&[value as f32], &Device::Cpu).unwrap();
        let end = |solver: Solver, steps: usize, velocity: &dyn Fn(f64) -> f64| -> f64 {
            let length = 1.0 / steps as f64;
            let (mut x, mut before): (f64, Option<Tensor>) = (0.0, None);
            for step in 0..steps {
                let now = tensor(velocity(step as f64 * length));
                let last = before.as_ref().map(|last| (last, length));
                let direction = solver.direction(&now, last, length).unwrap();
                x += length * f64::from(direction.to_vec1::<f32>().unwrap()[0]);
                before = Some(now);
            }
            x
        };
        let error =
            |solver, steps| (end(solver, steps, &|time| (2.0 * time).exp()) - 3.194_528).abs();
        let ratio = |solver| error(solver, 10) / error(solver, 20);
        assert!((1.8..2.2).contains(&ratio(Solver::Euler)));
        assert!((3.2..4.8).contains(&ratio(Solver::AdamsBashforth)));
        let first_step = 0.1 * 0.1 / 2.0;
        let parabola = end(Solver::AdamsBashforth, 10, &|time| time);
        assert!((parabola - (0.5 - first_step)).abs() < 1e-6, "{parabola}");
    }

    #[test]
    fn the_grid_runs_from_zero_to_one() {
        assert_eq!(time_grid(5, None), [0.0, 0.25, 0.5, 0.75, 1.0]);
        let swayed = time_grid(6, Some(-1.0));
        assert_eq!((swayed[0], swayed[5]), (0.0, 1.0));
        assert!(swayed.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(swayed[1] < 0.1);
    }

    #[test]
    fn the_loss_ignores_frames_that_are_not_valid() {
        let (prediction, target) = (pseudo_random((2, 5, 3), 1), pseudo_random((2, 5, 3), 2));
        let scalar = |t: Tensor| t.to_scalar::<f32>().unwrap();
        let masked = scalar(masked_loss(&prediction, &target, Some(&[2, 5])).unwrap());
        let part = |item: usize, frames: usize| {
            let cut = |t: &Tensor| t.narrow(0, item, 1).unwrap().narrow(1, 0, frames).unwrap();
            scalar(masked_loss(&cut(&prediction), &cut(&target), None).unwrap())
        };
        assert!((masked - (part(0, 2) * 2.0 + part(1, 5) * 5.0) / 7.0).abs() < 1e-6);
        let whole = scalar(masked_loss(&prediction, &target, Some(&[9, 5])).unwrap());
        assert!((whole - scalar(masked_loss(&prediction, &target, None).unwrap())).abs() < 1e-6);
        assert!(masked_loss(&prediction, &target, Some(&[0, 0])).is_err());
        assert!(masked_loss(&prediction, &target, Some(&[5])).is_err());
    }

    #[test]
    fn training_times_favour_the_middle() {
        let times = logit_normal_times(&Stream::new(1), 10_000, &Device::Cpu).unwrap();
        let times: Vec<f32> = times.to_vec1().unwrap();
        assert!(times.iter().all(|time| (0.0..=1.0).contains(time)));
        let middle = times
            .iter()
            .filter(|&&time| (0.25..0.75).contains(&time))
            .count();
        assert!((0.70..0.75).contains(&(middle as f64 / 1e4)), "{middle}");
    }
}
