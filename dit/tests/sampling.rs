//! Sampling against the reference: guidance, sway, editing, continuation, batches.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::Tensor;
use common::{TOLERANCE, golden, model, tokens};
use dit::flow::{Request, Sampling, sample, time_grid};
use std::ops::Range;
use testing::{assert_close, assert_equal};

#[test]
fn sampled_latents_match() {
    let golden = golden("dr_cfm_sample");
    let runs = golden.notes()["runs"].as_object().unwrap();
    assert_eq!(runs.len(), 8);
    for (name, run) in runs {
        let case = run["weights"].as_str().unwrap().trim_start_matches("../");
        let model = model(case, name.starts_with("v10"));
        let tensor = |part: &str| golden.tensor(&format!("{name}.{part}"));
        let noise = tensor("y0");
        let spans: Vec<Range<usize>> =
            serde_json::from_value::<Vec<[usize; 2]>>(run["segments"].clone())
                .unwrap()
                .into_iter()
                .map(|[start, end]| start..end)
                .collect();
        let single = |value: f64| Tensor::new(&[value as f32], noise.device()).unwrap();
        let duration = run["song_duration"].as_f64().map(single);
        let request = Request {
            noise: &noise,
            audio_condition: &tensor("cond"),
            spans: &spans,
            text: &tokens(&golden, &format!("{name}.text")),
            style: &tensor("style"),
            negative_style: &tensor("neg_style"),
            start_time: &single(run["start_time"].as_f64().unwrap()),
            duration: duration.as_ref(),
        };
        let sampling = Sampling {
            points: run["steps"].as_u64().unwrap() as usize,
            sway: run["sway"].as_f64(),
            guidance: run["cfg"].as_f64().unwrap(),
        };
        let mut way = Vec::new();
        let sampled = sample(&model, &request, &sampling, &mut |_, _, x| {
            way.push(x.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(way.len(), sampling.points);
        assert_close(
            &format!("{name} end"),
            &sampled.end,
            &tensor("last"),
            TOLERANCE,
        );
        assert_close(
            &format!("{name} latents"),
            &sampled.latents,
            &tensor("out"),
            TOLERANCE,
        );
        if golden.contains(&format!("{name}.traj")) {
            let way = Tensor::stack(&way, 0).unwrap();
            assert_close(&format!("{name} way"), &way, &tensor("traj"), TOLERANCE);
        }
        for frame in (0..noise.dim(1).unwrap())
            .filter(|frame| !spans.iter().any(|span| span.contains(frame)))
        {
            let one = |t: &Tensor| t.narrow(1, frame, 1).unwrap();
            assert_equal(
                "a known frame",
                &one(&sampled.latents),
                &one(&tensor("cond")),
            );
        }
    }
}

#[test]
fn the_swayed_grid_matches() {
    let expected = golden("dr_cfm_sample").tensor("time_grid.v12_sway");
    let grid = time_grid(6, Some(-1.0));
    let found = Tensor::from_vec(grid, 6, expected.device()).unwrap();
    assert_close("grid", &found, &expected, 1e-6);
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
