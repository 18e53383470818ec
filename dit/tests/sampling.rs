//! Sampling: what is kept, and what is refused. Goldens of the reference are cases of `parity`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::Tensor;
use common::{golden, model, tokens};
use dit::flow::{Request, Sampling, sample};
use std::ops::Range;
use testing::assert_equal;

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
        negative_style: &tensor("neg_style"),
        start_time: &Tensor::new(&[0f32], noise.device()).unwrap(),
        duration: None,
    };
    let sampling = Sampling {
        points: 3,
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
        negative_style: &style,
        start_time: &start_time,
        duration: None,
    };
    let sampling = Sampling {
        points: 4,
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
