//! Clips over the socket, from a real engine.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::time::Duration;

use candle_core::Device;
use common::{Home, long_recipe, recipe};
use lora::base::BaseModel;
use lora::progress::Silent;
use protocol::{AdapterUse, FromEngine, Metre, ProblemKind, Recipe, Source, SourceRole, ToEngine};

const IDLE: &str = "--idle-secs 2";

#[test]
fn a_clip_has_its_exact_length_and_the_same_recipe_the_same_bytes() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    for (job, metre, tempo_bpm) in [(1, (4, 4), 120.0), (2, (7, 8), 97.3), (3, (3, 4), 61.7)] {
        let asked = Recipe {
            metre: Metre {
                beats: metre.0,
                unit: metre.1,
            },
            tempo_bpm,
            ..recipe(job)
        };
        let (clip, filled) = plugin.made(job, &asked);
        assert_eq!(clip.frames, asked.frames(clip.sample_rate_hz));
        let sound = audio::read(&clip.path).unwrap();
        assert_eq!(sound.frames() as u64, clip.frames);
        assert_eq!(sound.channels.len(), 2);
        for channel in &sound.channels {
            let peak = channel
                .iter()
                .fold(0f32, |peak, sample| peak.max(sample.abs()));
            assert!((0.01..=0.8914).contains(&peak), "{peak}");
        }
        assert_eq!(clip.key, filled.key());
        assert!(!filled.engine.is_empty() && filled.base.identity.is_some());
        assert_eq!((filled.steps, filled.guidance), (Some(2), Some(1.25)));
    }
    // From the cache at once, and after it was emptied to the same bytes.
    let (clip, filled) = plugin.made(4, &recipe(1));
    let bytes = std::fs::read(&clip.path).unwrap();
    assert_eq!(plugin.made(5, &recipe(1)).0, clip);
    assert_eq!(plugin.made(6, &filled).0, clip);
    std::fs::remove_dir_all(home.places.clips()).unwrap();
    let (again, _) = plugin.made(7, &filled);
    assert_eq!(again, clip);
    assert_eq!(std::fs::read(&again.path).unwrap(), bytes);
    let (other, _) = plugin.made(8, &recipe(99));
    assert_ne!(std::fs::read(&other.path).unwrap(), bytes);
}

/// `lora-infer --bars` is `bars::make` behind its flags; so is the engine's clip behind its recipe.
#[test]
fn a_recipe_gives_what_the_same_words_give_on_the_command_line() {
    let mut base = BaseModel::embedded(&Device::Cpu).unwrap();
    let recipe = recipe(5);
    let asked = engine::Asked {
        recipe: &recipe,
        adapters: Vec::new(),
        style: None,
        variation: None,
    };
    let made = engine::make_clip(&mut base, asked, &mut Silent).unwrap();
    let length = lora::generate::bars::Length {
        bars: 1,
        beats: 4,
        unit: 4,
        tempo_bpm: 120.0,
    };
    let prompt = "lofi, piano, tempo:120, key:a-minor";
    let tags = lora::generate::bars::tags(&base, prompt, &length, None).unwrap();
    let request = lora::generate::bars::Request {
        length,
        steps: 2,
        guidance: base.default_guidance(),
        style: lora::style::of_tags(&base, &tags, &[]).unwrap(),
        negative_style: None,
        variation: None,
    };
    let expected = lora::generate::bars::make(&base, &request, &[], 5, &mut Silent).unwrap();
    assert_eq!(made, expected);
    assert_eq!(made[0].len() as u64, recipe.frames(44_100));
}

#[test]
fn a_clip_is_cancelled_at_its_next_step_and_progress_is_told() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    plugin.generate(1, &long_recipe(1));
    plugin.generate(2, &long_recipe(2));
    plugin.wait_for("progress", |message| match message {
        FromEngine::Progress {
            job: 1,
            done,
            total,
            ..
        } if done > 0 && total > done => Some(()),
        _ => None,
    });
    plugin.say(&ToEngine::Cancel { job: 2 });
    assert_eq!(plugin.ending(2), Err(None));
    plugin.say(&ToEngine::Cancel { job: 1 });
    assert_eq!(plugin.ending(1), Err(None));
    plugin.say(&ToEngine::Cancel { job: 77 });
    plugin.made(3, &recipe(1));
}

#[test]
fn two_plugins_take_turns() {
    let home = Home::new(IDLE);
    let (first, second) = (home.connect(), home.connect());
    first.generate(100, &long_recipe(1));
    first.wait_for("progress", |message| {
        matches!(message, FromEngine::Progress { job: 100, .. }).then_some(())
    });
    for job in 1..=3 {
        first.generate(job, &recipe(job));
    }
    let ahead = first.wait_for("a place", |message| match message {
        FromEngine::Queued { job: 3, ahead } => Some(ahead),
        _ => None,
    });
    assert_eq!(ahead, 3);
    second.generate(1, &recipe(50));
    // The first one's second and third job come behind it now.
    let ahead = second.wait_for("a place", |message| match message {
        FromEngine::Queued { job: 1, ahead } => Some(ahead),
        _ => None,
    });
    assert_eq!(ahead, 2);
    let ahead = first.wait_for("a new place", |message| match message {
        FromEngine::Queued { job: 3, ahead } => Some(ahead),
        _ => None,
    });
    assert_eq!(ahead, 4);
    first.say(&ToEngine::Cancel { job: 100 });
    second.ending(1).unwrap();
    first.ending(3).unwrap();
}

#[test]
fn a_queue_has_an_end() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    plugin.generate(1, &long_recipe(1));
    plugin.wait_for("progress", |message| {
        matches!(message, FromEngine::Progress { job: 1, .. }).then_some(())
    });
    for job in 2..67 {
        plugin.generate(job, &recipe(job));
    }
    let problem = plugin.ending(66).unwrap_err().unwrap();
    assert_eq!(problem.kind, ProblemKind::BadRequest);
    assert!(problem.text.contains("64"), "{}", problem.text);
    plugin.generate(1, &recipe(1));
    assert!(
        plugin
            .ending(1)
            .unwrap_err()
            .unwrap()
            .text
            .contains("there already")
    );
}

fn with_adapter(path: impl Into<std::path::PathBuf>, sha256: Option<String>) -> Recipe {
    Recipe {
        adapters: vec![AdapterUse {
            path: path.into(),
            name: "mine".to_owned(),
            sha256,
            strength: 1.0,
        }],
        ..recipe(1)
    }
}

#[test]
fn what_cannot_be_made_is_told_in_words() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../lora/tests/fixtures");
    let foreign = format!("{fixtures}/adapters/comfyui.safetensors");
    let torn = home.path().join("torn.safetensors");
    let whole = std::fs::read(&foreign).unwrap();
    std::fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
    let cases: Vec<(Recipe, ProblemKind, &str)> = vec![
        (
            with_adapter(&torn, None),
            ProblemKind::BadRequest,
            "torn.safetensors",
        ),
        (
            with_adapter("/nowhere/mine.safetensors", None),
            ProblemKind::MissingFile,
            "/nowhere/mine.safetensors",
        ),
        (
            with_adapter(&foreign, None),
            ProblemKind::WrongBase,
            "comfyui",
        ),
        (
            with_adapter(&foreign, Some("0".repeat(64))),
            ProblemKind::WrongBase,
            "has changed",
        ),
        (
            Recipe {
                prompt: "x".repeat(3_000),
                ..recipe(1)
            },
            ProblemKind::BadRequest,
            "3000 bytes",
        ),
        (
            Recipe {
                prompt: "lofy".to_owned(),
                ..recipe(1)
            },
            ProblemKind::BadRequest,
            "nearest: lofi",
        ),
        (
            Recipe {
                key: Some("h-moll".to_owned()),
                ..recipe(1)
            },
            ProblemKind::BadRequest,
            "key:h-moll",
        ),
        (
            Recipe {
                base: protocol::BaseChoice {
                    name: "embedded".to_owned(),
                    identity: Some("lorelei-base version 0".to_owned()),
                },
                ..recipe(1)
            },
            ProblemKind::WrongBase,
            "lorelei-base version 0",
        ),
        (
            Recipe {
                base: protocol::BaseChoice {
                    name: "diffrhythm-v1.2".to_owned(),
                    identity: None,
                },
                ..recipe(1)
            },
            ProblemKind::MissingFile,
            "not on this machine",
        ),
        (
            Recipe {
                source: Some(Source {
                    path: "/nowhere.wav".into(),
                    sha256: None,
                    role: SourceRole::Vary { amount: 0.5 },
                }),
                ..recipe(1)
            },
            ProblemKind::MissingFile,
            "/nowhere.wav",
        ),
        (
            Recipe {
                bars: 16,
                tempo_bpm: 30.0,
                metre: Metre { beats: 32, unit: 4 },
                ..recipe(1)
            },
            ProblemKind::BadRequest,
            "600 s",
        ),
    ];
    for (job, (recipe, kind, word)) in cases.into_iter().enumerate() {
        let problem = plugin.refused(job as u64, &recipe);
        assert_eq!(problem.kind, kind, "{}", problem.text);
        assert!(problem.text.contains(word), "{word}: {}", problem.text);
    }
    plugin.made(100, &recipe(1));
}

#[test]
fn a_folder_that_takes_no_clip_is_told_before_one_is_made() {
    let home = Home::new(IDLE);
    std::fs::create_dir_all(home.places.clips().parent().unwrap()).unwrap();
    std::fs::write(home.places.clips(), "in the way").unwrap();
    let plugin = home.connect();
    let problem = plugin.refused(1, &recipe(1));
    assert_eq!(problem.kind, ProblemKind::Disk);
    assert!(problem.text.contains("clips"), "{}", problem.text);
    std::fs::remove_file(home.places.clips()).unwrap();
    plugin.made(2, &recipe(1));
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_behind() {
    let home = Home::new(IDLE);
    let clips = home.places.clips();
    std::fs::create_dir_all(&clips).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let run = std::process::Command::new(program)
            .args(arguments)
            .arg(&clips)
            .stderr(std::process::Stdio::null())
            .status();
        run.is_ok_and(|status| status.success())
    };
    // A clip of one bar has some hundred kilobytes.
    if !run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) {
        eprintln!("not run: a tmpfs cannot be mounted here");
        return;
    }
    let plugin = home.connect();
    plugin.generate(1, &recipe(1));
    let ended = plugin.ending(1);
    let left = std::fs::read_dir(&clips).map(Iterator::count);
    assert!(run("umount", &["--lazy"]));
    let problem = ended.unwrap_err().unwrap();
    assert!(
        problem.text.contains("No space left") && problem.text.contains("make room"),
        "{problem:?}"
    );
    assert_eq!(left.unwrap(), 0);
    // With room it is made by the same engine.
    plugin.made(2, &recipe(1));
}

#[test]
fn a_source_is_varied_or_gives_its_style() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/village");
    let mut files: Vec<_> = std::fs::read_dir(source)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    let with = |role| Recipe {
        source: Some(Source {
            path: files[0].clone(),
            sha256: None,
            role,
        }),
        steps: Some(4),
        ..recipe(1)
    };
    let samples = |clip: &protocol::ClipFile| audio::read(&clip.path).unwrap().channels;
    let plain = samples(
        &plugin
            .made(
                1,
                &Recipe {
                    steps: Some(4),
                    ..recipe(1)
                },
            )
            .0,
    );
    let all = samples(&plugin.made(2, &with(SourceRole::Vary { amount: 1.0 })).0);
    assert_eq!(plain, all, "nothing of the source is left");
    let none = samples(&plugin.made(3, &with(SourceRole::Vary { amount: 0.0 })).0);
    let half = samples(&plugin.made(4, &with(SourceRole::Vary { amount: 0.5 })).0);
    let (style, filled) = plugin.made(5, &with(SourceRole::Style));
    let style = samples(&style);
    assert!(filled.source.unwrap().sha256.is_some());
    for (left, right) in [
        (&none, &plain),
        (&half, &plain),
        (&half, &none),
        (&style, &plain),
    ] {
        assert_ne!(left, right);
    }
}

/// The channel closes, and the next plugin starts another engine.
#[test]
fn a_killed_engine_costs_a_restart() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    plugin.generate(1, &long_recipe(1));
    plugin.wait_for("progress", |message| {
        matches!(message, FromEngine::Progress { job: 1, .. }).then_some(())
    });
    let pid = home.pid();
    home.signal("-KILL");
    let is_closed = loop {
        match plugin.hear.recv_timeout(Duration::from_secs(20)) {
            Ok(_) => {}
            Err(error) => break error == std::sync::mpsc::RecvTimeoutError::Disconnected,
        }
    };
    assert!(is_closed);
    assert!(plugin.client.say(&ToEngine::ListRuns).is_err() || plugin.hear.recv().is_err());
    let again = home.connect();
    assert_ne!(home.pid(), pid);
    again.made(1, &recipe(1));
}
