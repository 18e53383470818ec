//! Sampling: what is kept, and what is refused. Goldens of the reference are cases of `parity`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::Tensor;
use common::{golden, model, tokens};
use dit::diffrhythm::{Drops, Inputs};
use dit::flow::{
    Request, Sampling, Solver, half_precision_grid, half_precision_time, sample, time_grid,
};
use nn::{LoraWeights, Mode, TimeInterval, VisitLinears};
use std::ops::Range;
use testing::{assert_close, assert_equal, device, pseudo_random_on};

#[test]
fn known_frames_come_out_as_they_went_in() {
    let golden = golden("dr_cfm_sample");
    let model = model("dr_dit", false);
    let tensor = |part: &str| golden.tensor(&format!("v12_edit.{part}"));
    let (noise, condition) = (tensor("y0"), tensor("cond"));
    let spans: [Range<usize>; 2] = [4..12, 20..27];
    let request = Request {
        noise: &noise,
        audio_condition: &condition,
        spans: &spans,
        text: &tokens(&golden, "v12_edit.text"),
        style: &tensor("style"),
        later_styles: &[],
        negative_style: &tensor("neg_style"),
        start_time: &Tensor::new(&[0f32], noise.device()).unwrap(),
        duration: None,
    };
    let sampling = Sampling {
        points: 3,
        solver: Solver::Euler,
        sway: None,
        guidance: 4.0,
        half_precision_times: false,
    };
    let sampled = sample(&model, &request, &sampling, &mut |_, _, _| Ok(())).unwrap();
    for frame in 0..noise.dim(1).unwrap() {
        let one = |t: &Tensor| t.narrow(1, frame, 1).unwrap();
        let source = match spans.iter().any(|span| span.contains(&frame)) {
            true => &sampled.end,
            false => &condition,
        };
        assert_equal("a frame", &one(&sampled.latents), &one(source));
    }
}

#[test]
fn requests_that_do_not_fit_are_errors_and_progress_can_stop() {
    let golden = golden("dr_cfm_sample");
    let model = model("dr_dit", false);
    let tensor = |part: &str| golden.tensor(&format!("v12_cfg3.{part}"));
    let (noise, condition, style) = (tensor("y0"), tensor("cond"), tensor("style"));
    let start_time = Tensor::new(&[0f32], noise.device()).unwrap();
    let (all, outside) = (0..56, 50..57);
    let request = Request {
        noise: &noise,
        audio_condition: &condition,
        spans: std::slice::from_ref(&all),
        text: &tokens(&golden, "v12_cfg3.text"),
        style: &style,
        later_styles: &[],
        negative_style: &style,
        start_time: &start_time,
        duration: None,
    };
    let sampling = Sampling {
        points: 4,
        solver: Solver::Euler,
        sway: None,
        guidance: 2.0,
        half_precision_times: false,
    };
    let run = |request: &Request<'_>, points: usize| {
        sample(
            &model,
            request,
            &Sampling { points, ..sampling },
            &mut |_, _, _| Ok(()),
        )
    };
    assert!(run(&request, 4).is_ok());
    assert!(run(&request, 1).is_err());
    assert!(
        run(
            &Request {
                spans: std::slice::from_ref(&outside),
                ..request
            },
            4
        )
        .is_err()
    );
    let swayed = Sampling {
        sway: Some(-1.0),
        half_precision_times: true,
        ..sampling
    };
    assert!(sample(&model, &request, &swayed, &mut |_, _, _| Ok(())).is_err());
    let short = condition.narrow(1, 0, 55).unwrap();
    assert!(
        run(
            &Request {
                audio_condition: &short,
                ..request
            },
            4
        )
        .is_err()
    );
    let stopped = sample(&model, &request, &sampling, &mut |step, _, _| match step {
        2 => candle_core::bail!("stopped"),
        _ => Ok(()),
    });
    assert!(stopped.unwrap_err().to_string().contains("stopped"));
}

#[test]
fn times_in_half_precision_are_those_the_model_sees_and_steps_by() {
    let golden = golden("dr_cfm_sample");
    let model = model("dr_dit", false);
    let tensor = |part: &str| golden.tensor(&format!("v12_cfg3.{part}"));
    let (noise, condition, style) = (tensor("y0"), tensor("cond"), tensor("style"));
    let text = tokens(&golden, "v12_cfg3.text");
    let start_time = Tensor::new(&[0f32], noise.device()).unwrap();
    let all = 0..noise.dim(1).unwrap();
    let request = Request {
        noise: &noise,
        audio_condition: &condition,
        spans: std::slice::from_ref(&all),
        text: &text,
        style: &style,
        later_styles: &[],
        negative_style: &style,
        start_time: &start_time,
        duration: None,
    };
    const POINTS: usize = 8;
    let sampling = Sampling {
        points: POINTS,
        solver: Solver::Euler,
        sway: None,
        guidance: 0.0,
        half_precision_times: true,
    };
    let mut way = Vec::new();
    sample(&model, &request, &sampling, &mut |_, _, x| {
        way.push(x.clone());
        Ok(())
    })
    .unwrap();
    let grid = half_precision_grid(POINTS);
    assert_ne!(grid, time_grid(POINTS, None));
    let repeated = |tensor: &Tensor, batch: usize| match tensor.dim(0).unwrap() {
        1 => Tensor::cat(&vec![tensor; batch], 0).unwrap(),
        _ => tensor.clone(),
    };
    let batch = noise.dim(0).unwrap();
    let (text, style) = (repeated(&text, batch), repeated(&style, batch));
    let start_time = repeated(&start_time, batch);
    let silence = noise.zeros_like().unwrap();
    for (step, times) in grid.windows(2).enumerate() {
        let seen = half_precision_time(times[0]);
        let inputs = Inputs {
            x: &way[step],
            audio_condition: &silence,
            text: &text,
            style: &style,
            time: &Tensor::full(seen, batch, noise.device()).unwrap(),
            start_time: &start_time,
            duration: None,
            drops: Drops::default(),
        };
        let velocity = model.forward(&inputs, &Mode::Inference).unwrap();
        let moved = velocity
            .affine(f64::from(times[1] - times[0]), 0.0)
            .unwrap();
        let expected = (&way[step] + moved).unwrap();
        assert_close("a step", &way[step + 1], &expected, 1e-6);
    }
}

/// Every state on the way with adapters on layers whose name has a word in it, at these times.
fn way_with(adapters: &[(&str, f32, f32)], later_style: Option<f32>) -> Vec<Tensor> {
    let golden = golden("dr_cfm_sample");
    let mut model = model("dr_dit", false);
    for (word, from, to) in adapters {
        model.visit_linears(&mut |linear| {
            let (inputs, outputs) = (linear.in_features(), linear.out_features());
            let adapter = LoraWeights {
                a: pseudo_random_on((2, inputs), 1, &device()),
                b: pseudo_random_on((outputs, 2), 2, &device()),
                scale: 0.1,
                dropout: 0.0,
            };
            if linear.name().contains(word) {
                let times = TimeInterval::new(*from, *to).unwrap();
                linear.attach_during(adapter, times).unwrap();
            }
        });
    }
    let tensor = |part: &str| golden.tensor(&format!("v12_cfg3.{part}"));
    let (noise, style) = (tensor("y0"), tensor("style"));
    let other_style = (&style * -1.0).unwrap();
    let all = 0..noise.dim(1).unwrap();
    let later_styles: Vec<_> = later_style
        .map(|time| (time, &other_style))
        .into_iter()
        .collect();
    let request = Request {
        noise: &noise,
        audio_condition: &tensor("cond"),
        spans: std::slice::from_ref(&all),
        text: &tokens(&golden, "v12_cfg3.text"),
        style: &style,
        later_styles: &later_styles,
        negative_style: &tensor("neg_style"),
        start_time: &Tensor::new(&[0f32], noise.device()).unwrap(),
        duration: None,
    };
    let sampling = Sampling {
        points: 5,
        solver: Solver::Euler,
        sway: None,
        guidance: 4.0,
        half_precision_times: true,
    };
    let mut way = Vec::new();
    sample(&model, &request, &sampling, &mut |_, _, x| {
        way.push(x.clone());
        Ok(())
    })
    .unwrap();
    way
}

#[track_caller]
fn assert_same_up_to(found: &[Tensor], expected: &[Tensor], same: usize) {
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let is_same = values(found) == values(expected);
        assert_eq!(is_same, step <= same, "state {step}");
    }
}

#[test]
fn adapters_act_at_their_times_on_texts_too() {
    let base = way_with(&[], None);
    let last = base.len();
    for word in ["", "text_blocks", "text_fusion", "self_attn"] {
        let whole = way_with(&[(word, 0.0, 1.0)], None);
        assert_same_up_to(&whole, &base, 0);
        let nothing = way_with(&[(word, 0.3, 0.45), (word, 0.5, 0.5)], None);
        assert_same_up_to(&nothing, &base, last);
        let halves = way_with(&[(word, 0.0, 0.5), (word, 0.5, 1.0)], None);
        assert_same_up_to(&halves, &whole, last);
        // Steps begin at 0, 0.25, 0.5 and 0.75.
        let late = way_with(&[(word, 0.5, 1.0)], None);
        assert_same_up_to(&late, &base, 2);
        let early = way_with(&[(word, 0.0, 0.5)], None);
        assert_same_up_to(&early, &whole, 2);
    }
}

#[test]
fn a_later_style_takes_over_at_its_time() {
    let base = way_with(&[], None);
    assert_same_up_to(&way_with(&[], Some(0.6)), &base, 3);
    assert_same_up_to(&way_with(&[], Some(0.0)), &base, 0);
    assert_same_up_to(&way_with(&[], Some(0.9)), &base, base.len());
}
