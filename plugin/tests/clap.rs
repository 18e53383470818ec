//! The plugin's library in a host, with an engine that makes tones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use common::clap_host::{EFFECT, INSTRUMENT, Rack, Transport, load};
use common::fake_engine::{FakeEngine, samples_of};
use common::{home, library};

/// All tests have one home, and so one socket.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    home();
    turn
}

/// An instance that has made one clip offline.
fn with_clip(id: &str, rate_hz: f64) -> Rack {
    let entry = load(&library());
    let mut rack = Rack::new(&entry, id);
    rack.set_offline();
    rack.activate(rate_hz, 8192);
    rack.set("Generate", 0, 1.0);
    rack.process(64, Some(standing(120.0)));
    rack
}

fn standing(tempo_bpm: f64) -> Transport {
    Transport {
        is_playing: false,
        tempo_bpm,
        position_quarters: 0.0,
    }
}

/// The clip of the last recipe that was asked for, as samples.
fn clip_of(engine: &FakeEngine) -> [Vec<f32>; 2] {
    let asked = engine.manner.asked.lock().unwrap();
    let recipe = asked.last().unwrap();
    samples_of(recipe).map(|samples| {
        let float = |sample: &i32| *sample as f32 / (1 << 23) as f32;
        samples.iter().map(float).collect()
    })
}

fn assert_sane(output: &[Vec<f32>; 2]) {
    for sample in output.iter().flatten() {
        assert!(sample.is_finite() && sample.abs() < 1.0, "{sample}");
    }
}

#[test]
fn both_plugins_are_found() {
    let _turn = turn();
    let start = Instant::now();
    let entry = load(&library());
    let factory = entry.get_plugin_factory().unwrap();
    let ids: Vec<String> = factory
        .plugin_descriptors()
        .map(|descriptor| descriptor.id().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(ids, [INSTRUMENT, EFFECT]);
    eprintln!("scanned in {:?}", start.elapsed());
}

#[test]
fn the_clip_plays_sample_exact_on_the_bar_grid_whatever_the_blocks() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    let clip = clip_of(&engine);
    let frames = clip[0].len();
    assert_eq!(frames, 4 * 88_200, "four bars at 120");
    // From the second bar on, over the loop's end.
    for blocks in [&[512][..], &[1], &[64, 8192, 3, 441]] {
        let played = rack.play(44_000 + frames, &[64], 120.0, 0.0);
        assert_sane(&played);
        // A jump to where no beat is: two beats at once would be turned down for a moment.
        let played = rack.play(200_000, blocks, 120.0, 4.3);
        for (played, clip) in played.iter().zip(&clip) {
            // The fades of a start and of a jump are over by then.
            for n in 1000..played.len() {
                assert_eq!(
                    played[n],
                    clip[(94_815 + n) % frames],
                    "sample {n}, {blocks:?}"
                );
            }
        }
    }
}

#[test]
fn the_root_key_plays_the_clip_from_the_notes_sample_on() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    let clip = clip_of(&engine);
    rack.set("Mode", 0, 1.0);
    let standing = || Some(standing(120.0));
    // What of the loop still sounds is faded out.
    rack.process(8192, standing());
    let silence = rack.process(512, standing());
    assert!(silence.iter().flatten().all(|sample| *sample == 0.0));
    rack.note(100, 60, true);
    let played = rack.process(4096, standing());
    for (played, clip) in played.iter().zip(&clip) {
        assert!(played[..100].iter().all(|sample| *sample == 0.0));
        // The attack of 5 ms is over by then.
        for n in 500..played.len() {
            assert_eq!(played[n], clip[n - 100], "sample {n}");
        }
    }
    rack.note(50, 60, false);
    let let_go = rack.process(8192, standing());
    assert_eq!(let_go[0][40], clip[0][4096 + 40 - 100]);
    assert!(let_go[0][4000..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn a_project_sounds_the_same_when_it_is_opened_again() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 48_000.0);
    rack.set("Gain", 0, 0.4);
    rack.set("Bars", 0, 1.0);
    // The gain has gone where it is to be.
    rack.process(8192, Some(standing(120.0)));
    let first = rack.play(100_000, &[512], 120.0, 0.0);
    let saved = rack.save();
    let values = ["Gain", "Bars", "Variation"].map(|name| rack.value(name));
    drop(rack);
    for _ in 0..2 {
        // As some hosts do: active before the state comes.
        let entry = load(&library());
        let mut rack = Rack::new(&entry, INSTRUMENT);
        rack.set_offline();
        rack.activate(48_000.0, 1024);
        rack.restore(&saved);
        assert_eq!(
            ["Gain", "Bars", "Variation"].map(|name| rack.value(name)),
            values
        );
        for _ in 0..16 {
            rack.process(1024, Some(standing(120.0)));
        }
        let again = rack.play(100_000, &[512], 120.0, 0.0);
        assert!(first == again, "another sound");
    }
    assert_eq!(engine.asked(), 1, "opening made a clip");
}

#[test]
fn another_tempo_is_followed_offline_and_each_render_is_the_same() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    let saved = rack.save();
    drop(rack);
    let render = || {
        let entry = load(&library());
        let mut rack = Rack::new(&entry, INSTRUMENT);
        rack.restore(&saved);
        rack.set_offline();
        rack.activate(44_100.0, 1024);
        let mut all = [Vec::new(), Vec::new()];
        let mut quarters = 0.0;
        for tempo_bpm in [90.0, 137.0] {
            let frames = 100_000;
            let played = rack.play(frames, &[512, 100], tempo_bpm, quarters);
            quarters += frames as f64 / 44_100.0 * tempo_bpm / 60.0;
            for (all, played) in all.iter_mut().zip(played) {
                all.extend(played);
            }
        }
        all
    };
    let (first, second) = (render(), render());
    assert_sane(&first);
    assert!(first[0].iter().any(|sample| sample.abs() > 0.1));
    assert!(first == second);
}

#[test]
fn the_effect_lets_its_input_through() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let mut rack = with_clip(EFFECT, 48_000.0);
    let ramp: Vec<f32> = (0..1000).map(|n| n as f32 / 2000.0).collect();
    let input = [ramp.clone(), ramp.iter().map(|sample| -sample).collect()];
    let output = rack.process_with(&input, Some(standing(120.0)));
    assert_eq!(output, input);
    rack.set("Hear input", 0, 0.0);
    let output = rack.process_with(&input, Some(standing(120.0)));
    assert_eq!(output, [vec![0.0; 1000], vec![0.0; 1000]]);
}

#[test]
fn a_mono_track_hears_both_sides() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let saved = with_clip(INSTRUMENT, 44_100.0).save();
    let entry = load(&library());
    let mut rack = Rack::new(&entry, INSTRUMENT);
    assert_eq!(rack.choose_layout(2), 3);
    rack.restore(&saved);
    rack.set_offline();
    rack.activate(44_100.0, 4096);
    rack.set("Audition", 0, 1.0);
    let mut played = [vec![0.0; 4096]];
    rack.process_channels(&mut [], &mut played, Some(standing(120.0)));
    let [left, right] = clip_of(&engine);
    for n in 1000..4096 {
        let both = (left[n] + right[n]) / 2.0;
        assert!((played[0][n] - both).abs() < 1e-6, "sample {n}");
    }

    let mut effect = Rack::new(&entry, EFFECT);
    assert_eq!(effect.choose_layout(1), 2);
    effect.activate(44_100.0, 512);
    let mut input = [vec![0.25; 512]];
    let mut output = [vec![0.0; 512]];
    effect.process_channels(&mut input, &mut output, Some(standing(120.0)));
    assert_eq!(output, input);
}

#[test]
fn the_pads_keys_hold_pads_in_loop_mode_and_are_notes_in_the_other() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    let clip = clip_of(&engine);
    rack.set("Audition", 0, 1.0);
    let is_heard =
        |played: &[Vec<f32>; 2]| played[0][1000..].iter().any(|sample| sample.abs() > 0.01);
    let mut blocks = |key: u16, is_on: bool| {
        rack.note(0, key, is_on);
        rack.process(2048, Some(standing(120.0)));
        rack.process(2048, Some(standing(120.0)))
    };
    assert!(is_heard(&blocks(60, true)), "another key holds nothing");
    for pad in [36, 37] {
        // These pads have no clip.
        assert!(!is_heard(&blocks(pad, true)), "{pad}");
        assert!(is_heard(&blocks(pad, false)), "{pad}");
    }
    rack.set("Audition", 0, 0.0);
    rack.set("Mode", 0, 1.0);
    rack.process(8192, Some(standing(120.0)));
    rack.note(0, 36, true);
    let played = rack.process(8192, Some(standing(120.0)));
    assert!(is_heard(&played), "a note two octaves below the clip's");
    assert!(played[0] != clip[0][..8192]);
}

#[test]
fn hosts_that_talk_nonsense_hear_sane_sound() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 48_000.0);
    rack.set("Audition", 0, 1.0);
    assert_sane(&rack.process(512, None));
    let nonsense = [
        f64::NAN,
        f64::INFINITY,
        0.0,
        -120.0,
        1e300,
        1e-300,
        5.0,
        1000.0,
    ];
    for tempo_bpm in nonsense {
        for position_quarters in [0.0, -17.3, 1e9, f64::NAN] {
            for is_playing in [true, false] {
                let transport = Transport {
                    is_playing,
                    tempo_bpm,
                    position_quarters,
                };
                // Not offline: nothing waits for an engine to stretch to these.
                assert_sane(&rack.process(256, Some(transport)));
            }
        }
    }
    for name in ["Gain", "Attack", "Variation", "Key", "Seed"] {
        for value in [f64::NAN, f64::INFINITY, -5.0, 1e9] {
            rack.set(name, 0, value);
            assert_sane(&rack.process(64, Some(standing(120.0))));
        }
    }
}

#[test]
fn bars_that_a_change_of_metre_has_moved_are_followed_also_where_a_block_is_cut() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    let clip = clip_of(&engine);
    // After a bar of 3/4 the bars of 4/4 begin at 3, 7, 11: what is heard at 3 is the beginning of the loop's second bar.
    rack.bar = (3.0, 4);
    let beat = 22_050;
    let mut played = [Vec::new(), Vec::new()];
    for block in 0..2 * beat / 450 {
        // The framework cuts a block where a parameter changes, and works out its bar anew.
        rack.set("Root note", 200, 60.0 + (block % 2) as f64);
        let from_quarters = 3.0 + (block * 450) as f64 / beat as f64;
        for (all, block) in played
            .iter_mut()
            .zip(rack.play(450, &[450], 120.0, from_quarters))
        {
            all.extend(block);
        }
    }
    for (played, clip) in played.iter().zip(&clip) {
        assert!(played[1000..] == clip[4 * beat + 1000..4 * beat + played.len()]);
    }
}

#[test]
fn a_parameter_changes_at_its_sample() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    let clip = clip_of(&engine);
    rack.play(4096, &[512], 120.0, 0.0);
    // Audition goes on with the loop where it begins; the gain falls from a sample within the block on.
    rack.set("Gain", 300, 0.0);
    let played = rack.play(512, &[512], 120.0, 4096.0 / 22_050.0);
    for (played, clip) in played.iter().zip(&clip) {
        assert!(played[..300] == clip[4096..4396]);
        assert!((301..512).all(|n| played[n].abs() <= clip[4096 + n].abs()));
        assert!(played[511].abs() < clip[4096 + 511].abs());
    }
}

#[test]
fn after_a_change_of_rate_the_clip_has_its_pitch_and_its_beats() {
    let _turn = turn();
    let engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    let clip = clip_of(&engine);
    rack.play(4096, &[512], 120.0, 0.0);
    rack.deactivate();
    rack.activate(88_200.0, 1024);
    let played = rack.play(4 * 44_100, &[1024], 120.0, 0.0);
    // Every other sample is one of the clip's, but around the impulses on the beats.
    for (played, clip) in played.iter().zip(&clip) {
        let away_from_beats = (1000..22_000).chain(23_000..44_000);
        for n in away_from_beats {
            let difference = (played[2 * n] - clip[n]).abs();
            assert!(difference < 2e-3, "sample {n} differs by {difference}");
        }
        assert!(
            played[44_095..44_105]
                .iter()
                .any(|sample| sample.abs() > 0.4)
        );
    }
}

#[test]
fn bytes_that_are_no_state_are_refused_and_change_nothing() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 44_100.0);
    rack.set("Bars", 0, 1.0);
    let before = rack.play(44_100, &[512], 120.0, 0.0);
    let saved = rack.save();
    let halves = [&saved[..saved.len() / 2], &saved[saved.len() / 2..]];
    for bad in [
        &b""[..],
        b"{}",
        b"no state",
        &[0xff; 5000],
        halves[0],
        halves[1],
    ] {
        assert!(!rack.takes(bad), "{} bytes", bad.len());
    }
    assert_eq!(rack.value("Bars"), 1.0);
    rack.play(512, &[512], 120.0, 4.3);
    let after = rack.play(44_100, &[512], 120.0, 0.0);
    assert!(after[0][1000..] == before[0][1000..]);
    assert!(rack.takes(&saved));
}

#[test]
fn activation_storms_at_any_rate_and_block_size() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let mut rack = with_clip(INSTRUMENT, 48_000.0);
    rack.deactivate();
    let rates = [
        8_000.0, 11_025.0, 22_050.0, 44_100.0, 48_000.0, 88_200.0, 96_000.0, 176_400.0, 192_000.0,
    ];
    for (round, rate_hz) in rates.iter().cycle().take(36).enumerate() {
        let most = [1, 2, 63, 512, 1024, 8192][round % 6];
        rack.activate(*rate_hz, most);
        for block in [most as usize, 1] {
            let transport = Transport {
                is_playing: round % 3 > 0,
                tempo_bpm: 60.0 + round as f64,
                position_quarters: round as f64 / 7.0,
            };
            assert_sane(&rack.process(block, Some(transport)));
        }
        rack.deactivate();
    }
}

#[test]
fn two_hundred_instances_live_side_by_side() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let entry = load(&library());
    let mut racks: Vec<Rack> = (0..200).map(|_| Rack::new(&entry, INSTRUMENT)).collect();
    for rack in &mut racks {
        rack.activate(48_000.0, 512);
    }
    for _ in 0..20 {
        for rack in &mut racks {
            assert_sane(&rack.process(512, Some(standing(120.0))));
        }
    }
    let start = Instant::now();
    drop(racks);
    assert!(
        start.elapsed().as_secs() < 60,
        "closing takes {:?}",
        start.elapsed()
    );
}

#[test]
fn an_offline_render_does_not_wait_for_an_engine_that_is_not_there() {
    let _turn = turn();
    let start = Instant::now();
    let mut rack = with_clip(INSTRUMENT, 48_000.0);
    let played = rack.play(48_000, &[512], 120.0, 0.0);
    assert!(played.iter().flatten().all(|sample| *sample == 0.0));
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
#[ignore = "slow: a thousand rounds"]
fn a_thousand_loads_leave_nothing_behind() {
    let _turn = turn();
    let _engine = FakeEngine::start(home());
    let round = || {
        let entry = load(&library());
        let mut rack = Rack::new(&entry, INSTRUMENT);
        rack.activate(48_000.0, 512);
        rack.process(512, Some(standing(120.0)));
    };
    for _ in 0..50 {
        round();
    }
    let before = resident_bytes();
    let threads = threads();
    for _ in 0..1000 {
        round();
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(
        grown < 4_000_000,
        "{grown} bytes more after a thousand rounds"
    );
    assert_eq!(self::threads(), threads);
}

fn resident_bytes() -> u64 {
    let statistics = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statistics
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or_default();
    pages * 4096
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
