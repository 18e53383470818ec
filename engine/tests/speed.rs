//! How long a musician waits for the first clip; figures for docs/benchmarks.md.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::time::Instant;

use common::{Home, recipe};
use protocol::Recipe;

/// Four bars at 120 beats a minute with the base's own steps: from no engine to a clip, and from one that has made a clip.
#[test]
#[ignore = "figures for docs/benchmarks.md; run it alone"]
fn first_and_next_clip() {
    for steps in [None, Some(12)] {
        let home = Home::new("--idle-secs 2");
        let asked = |seed| Recipe {
            bars: 4,
            steps,
            ..recipe(seed)
        };
        let started = Instant::now();
        let plugin = home.connect();
        let connected = started.elapsed().as_secs_f64();
        plugin.made(1, &asked(1));
        let cold = started.elapsed().as_secs_f64();
        let started = Instant::now();
        plugin.made(2, &asked(2));
        let warm = started.elapsed().as_secs_f64();
        let started = Instant::now();
        plugin.made(3, &asked(2));
        let cached = started.elapsed().as_secs_f64();
        eprintln!(
            "steps {steps:?}: connected after {connected:.2} s, first clip after {cold:.2} s; warm {warm:.2} s; from the cache {cached:.3} s"
        );
        assert!(cold < 60.0, "{cold}");
    }
}
