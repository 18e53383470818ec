//! The network against the reference's outputs and intermediates.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod common;

use candle_core::Tensor;
use common::{Arguments, TOLERANCE, golden, model, tokens};
use dit::diffrhythm::{Drops, Presence};
use nn::Mode;
use serde_json::Value;
use testing::{Golden, assert_close};

fn arguments(golden: &Golden, call: &Value) -> Arguments {
    let x = golden.tensor("in.x");
    let (batch, device) = (x.dim(0).unwrap(), x.device().clone());
    let numbers = |value: &Value| match value {
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_f64().unwrap() as f32)
            .collect(),
        value => vec![value.as_f64().unwrap() as f32; batch],
    };
    let given = |key: &str, default: Tensor| match call.get(key) {
        Some(value) => Tensor::from_vec(numbers(value), batch, &device).unwrap(),
        None => default,
    };
    let dropped = |key: &str| match call.get(key).and_then(Value::as_bool) {
        Some(true) => Presence::Dropped,
        _ => Presence::Kept,
    };
    Arguments {
        audio_condition: golden.tensor("in.cond"),
        text: tokens(golden, "in.text"),
        style: golden.tensor("in.style"),
        time: given("time", x.clone()),
        start_time: given("start_time", golden.tensor("in.start_time")),
        duration: Some(given("duration", golden.tensor("in.duration"))),
        drops: Drops {
            audio: dropped("drop_audio_cond"),
            text: dropped("drop_text"),
            style: dropped("drop_prompt"),
        },
        x,
    }
}

/// Compares every call of a case, and the intermediates of its main calls.
fn check_case(case: &str) {
    let golden = golden(case);
    let (mut calls, mut intermediates) = (0, 0);
    for (name, call) in golden.notes()["calls"].as_object().unwrap() {
        let (kind, short) = name.split_once('.').unwrap();
        let model = model(case, kind == "causal");
        let mut seen = |middle: &str, found: &Tensor| {
            let stored = format!("{kind}.mid.{middle}");
            if short == "main" && golden.contains(&stored) {
                let expected = golden.tensor(&stored);
                // The reference keeps the first item only of three-dimensional intermediates.
                let found = found.narrow(0, 0, expected.dim(0).unwrap()).unwrap();
                assert_close(&format!("{case} {stored}"), &found, &expected, TOLERANCE);
                intermediates += 1;
            }
        };
        let found = model
            .forward_traced(
                &arguments(&golden, call).inputs(),
                &Mode::Inference,
                &mut seen,
            )
            .unwrap();
        let expected = golden.tensor(&format!("{kind}.out.{short}"));
        assert_close(&format!("{case} {name}"), &found, &expected, TOLERANCE);
        calls += 1;
    }
    let stored = |part: &str| {
        golden
            .names("")
            .into_iter()
            .filter(|name| name.contains(part))
            .count()
    };
    let f16 = golden.names("fp16.out").len();
    assert_eq!(calls, stored(".out.") - f16, "{case}: outputs compared");
    assert_eq!(
        intermediates,
        stored(".mid."),
        "{case}: intermediates compared"
    );
}

#[test]
fn outputs_and_intermediates_match() {
    check_case("dr_dit");
}

#[test]
fn outputs_and_intermediates_match_with_durations() {
    check_case("dr_dit_full");
}
