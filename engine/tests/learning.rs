//! Training by the engine: from recordings to an adapter in the list, stopped and gone on with.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod common;

use std::path::{Path, PathBuf};

use audio::{AudioBuffer, SampleFormat};
use common::{Home, Plugin, recipe};
use protocol::{AdapterInfo, AdapterUse, FromEngine, LearnRequest, Problem, RunInfo, ToEngine};

const IDLE: &str = "--idle-secs 2";
const STEPS: u32 = 12;

/// A folder of three recordings.
fn recordings(home: &Home) -> PathBuf {
    let folder = home.path().join("recordings");
    std::fs::create_dir_all(&folder).unwrap();
    for song in 0..3u32 {
        let wave = |step: f32| -> Vec<f32> {
            let tone = |index: usize| (index as f32 * step).sin() * 0.3;
            (0..44_100 * 8).map(tone).collect()
        };
        let pitch = 0.03 + 0.01 * song as f32;
        write(
            &folder.join(format!("{song}.wav")),
            vec![wave(pitch), wave(1.5 * pitch)],
        );
    }
    folder
}

fn write(path: &Path, channels: Vec<Vec<f32>>) {
    let sound = AudioBuffer {
        sample_rate_hz: 44_100,
        channels,
    };
    audio::write_wav(path, &sound, SampleFormat::I16).unwrap();
}

fn request(recordings: Vec<PathBuf>) -> LearnRequest {
    LearnRequest {
        name: "My style".to_owned(),
        recordings,
        base: "embedded".to_owned(),
        steps: Some(STEPS),
    }
}

fn learn(plugin: &Plugin, job: u64, request: LearnRequest) {
    plugin.say(&ToEngine::Learn { job, request });
}

fn learned(plugin: &Plugin, wanted: u64) -> Result<AdapterInfo, Option<Problem>> {
    plugin.wait_for("an adapter", |message| end_of(message, wanted))
}

fn end_of(message: FromEngine, wanted: u64) -> Option<Result<AdapterInfo, Option<Problem>>> {
    match message {
        FromEngine::Learned { job, adapter } if job == wanted => Some(Ok(adapter)),
        FromEngine::Failed { job, problem } if job == wanted => Some(Err(Some(problem))),
        FromEngine::Stopped { job } if job == wanted => Some(Err(None)),
        _ => None,
    }
}

/// What is said of a training beside its progress, and its end.
fn notes_until_learned(
    plugin: &Plugin,
    wanted: u64,
) -> (Vec<String>, Result<AdapterInfo, Option<Problem>>) {
    let mut notes = Vec::new();
    let ended = plugin.wait_for("an adapter", |message| match message {
        FromEngine::Note { job, text } if job == wanted => {
            notes.push(text);
            None
        }
        other => end_of(other, wanted),
    });
    (notes, ended)
}

fn wait_for_step(plugin: &Plugin, job: u64, step: u64) {
    plugin.wait_for("a step", |message| match message {
        FromEngine::Progress {
            job: told,
            phase,
            done,
            text,
            ..
        } if told == job && phase == "training" && done >= step => {
            assert!(text.contains("loss"), "{text}");
            Some(())
        }
        _ => None,
    });
}

/// The last list before an answer that comes after it: others are told unasked.
fn runs(plugin: &Plugin) -> Vec<RunInfo> {
    const NO_JOB: u64 = 999_999;
    plugin.say(&ToEngine::ListRuns);
    plugin.say(&ToEngine::DiscardRun {
        job: NO_JOB,
        run: "none".to_owned(),
    });
    let mut last = None;
    plugin.wait_for("runs", |message| match message {
        FromEngine::Runs { runs } => {
            last = Some(runs);
            None
        }
        FromEngine::Failed { job: NO_JOB, .. } => last.take(),
        _ => None,
    })
}

#[test]
fn a_training_is_stopped_and_gone_on_with_to_the_same_adapter() {
    let homes = [Home::new(IDLE), Home::new(IDLE)];
    let [straight, broken] = homes.each_ref().map(|home| {
        let plugin = home.connect();
        learn(&plugin, 1, request(vec![recordings(home)]));
        plugin
    });
    wait_for_step(&broken, 1, 2);
    broken.say(&ToEngine::Cancel { job: 1 });
    assert_eq!(learned(&broken, 1), Err(None));
    let stopped = runs(&broken);
    assert_eq!((stopped.len(), stopped[0].name.as_str()), (1, "My style"));
    assert!((2..STEPS).contains(&stopped[0].steps_done), "{stopped:?}");
    assert_eq!(stopped[0].steps, STEPS);
    // Another plugin of another engine goes on.
    homes[1].signal("-KILL");
    drop(broken);
    let broken = homes[1].connect();
    let run = stopped[0].run.clone();
    broken.say(&ToEngine::ResumeLearning {
        job: 7,
        run: run.clone(),
    });
    let resumed = learned(&broken, 7).unwrap();
    let whole = learned(&straight, 1).unwrap();
    assert_eq!(resumed.sha256, whole.sha256);
    assert_eq!(
        resumed.path,
        homes[1].places.adapters().join("My style.safetensors")
    );
    assert_eq!(
        (resumed.base.as_str(), &resumed.problem),
        ("embedded", &None)
    );
    assert_eq!(resumed.trigger_words, ["My style"]);
    assert!(runs(&broken).is_empty());
    broken.say(&ToEngine::ListAdapters);
    let listed = broken.wait_for("adapters", |message| match message {
        FromEngine::Adapters { adapters } => Some(adapters),
        _ => None,
    });
    assert_eq!(listed, std::slice::from_ref(&resumed));
    broken.say(&ToEngine::ResumeLearning { job: 8, run });
    assert!(
        learned(&broken, 8)
            .unwrap_err()
            .unwrap()
            .text
            .contains("finished")
    );
    // And it is played; also after it was renamed, for its content is known.
    let used = AdapterUse {
        path: resumed.path.clone(),
        name: resumed.name,
        sha256: None,
        strength: 1.0,
    };
    let asked = protocol::Recipe {
        adapters: vec![used],
        ..recipe(1)
    };
    let (clip, filled) = broken.made(9, &asked);
    let (plain, _) = broken.made(10, &recipe(1));
    assert_ne!(
        std::fs::read(&clip.path).unwrap(),
        std::fs::read(&plain.path).unwrap()
    );
    let elsewhere = homes[1].places.adapters().join("Renamed.safetensors");
    std::fs::rename(&resumed.path, elsewhere).unwrap();
    std::fs::remove_dir_all(homes[1].places.clips()).unwrap();
    let (again, _) = broken.made(11, &filled);
    assert_eq!(again.key, clip.key);
}

#[test]
fn a_training_that_stopped_is_deleted_and_one_under_way_is_not() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    let other = home.connect();
    let recordings = recordings(&home);
    learn(&plugin, 1, request(vec![recordings.clone()]));
    wait_for_step(&plugin, 1, 2);
    let under_way = runs(&other);
    assert!(under_way[0].is_under_way, "{under_way:?}");
    let discard = |job: u64, run: &str| {
        let run = run.to_owned();
        other.say(&ToEngine::DiscardRun { job, run });
    };
    let refused = |job: u64| {
        let ended = learned(&other, job);
        ended.unwrap_err().unwrap().text
    };
    let run = &under_way[0].run;
    discard(5, run);
    assert!(refused(5).contains("under way"));
    plugin.say(&ToEngine::Cancel { job: 1 });
    assert_eq!(learned(&plugin, 1), Err(None));
    assert!(!runs(&other)[0].is_under_way);
    discard(6, run);
    // Whoever else lists it is told, too.
    for each in [&plugin, &other] {
        each.wait_for("the runs that are left", |message| match message {
            FromEngine::Runs { runs } if runs.is_empty() => Some(()),
            _ => None,
        });
    }
    assert!(!home.places.runs().join(run).exists());
    assert!(recordings.join("0.wav").exists());
    discard(7, run);
    assert!(refused(7).contains("any more"));
    discard(8, "../adapters");
    assert!(refused(8).contains("any more"));
}

/// A musician closes the project: the training goes on, and who comes back hears of it again. Clips do not wait for it.
#[test]
fn a_training_outlives_its_plugin() {
    let home = Home::new(IDLE);
    let first = home.connect();
    learn(&first, 1, request(vec![recordings(&home)]));
    wait_for_step(&first, 1, 1);
    drop(first);
    let second = home.connect();
    second.made(1, &recipe(3));
    let under_way = runs(&second);
    assert_eq!(under_way.len(), 1);
    let run = under_way[0].run.clone();
    second.say(&ToEngine::ResumeLearning { job: 2, run });
    learned(&second, 2).unwrap();
    assert!(
        home.places
            .adapters()
            .join("My style.safetensors")
            .is_file()
    );
}

/// Two instances show one training: both are told of its steps and of its end, and either may stop it.
#[test]
fn a_training_is_told_to_all_who_came_upon_it() {
    let home = Home::new(IDLE);
    let first = home.connect();
    learn(&first, 1, request(vec![recordings(&home)]));
    wait_for_step(&first, 1, 1);
    let second = home.connect();
    let run = runs(&second)[0].run.clone();
    let resume = |job| ToEngine::ResumeLearning {
        job,
        run: run.clone(),
    };
    second.say(&resume(5));
    wait_for_step(&second, 5, 2);
    wait_for_step(&first, 1, 3);
    second.say(&resume(6));
    let problem = learned(&second, 6).unwrap_err().unwrap();
    assert!(problem.text.contains("under way"), "{}", problem.text);
    second.say(&ToEngine::Cancel { job: 5 });
    assert_eq!(learned(&second, 5), Err(None));
    assert_eq!(learned(&first, 1), Err(None));
    assert_eq!(runs(&first).len(), 1);
}

#[test]
fn what_cannot_be_learned_from_is_named() {
    let home = Home::new(IDLE);
    let plugin = home.connect();
    let folder = home.path().join("bad");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("torn.wav"), b"RIFF....WAVE").unwrap();
    std::fs::write(folder.join("notes.txt"), "no sound").unwrap();
    let only_text = home.path().join("text");
    std::fs::create_dir_all(&only_text).unwrap();
    std::fs::write(only_text.join("notes.txt"), "no sound").unwrap();
    let cases = [
        (vec![home.path().join("gone.wav")], "gone.wav"),
        (vec![folder], "torn.wav"),
        (vec![only_text], "no sound files"),
        (vec![], "no recordings"),
    ];
    for (job, (recordings, word)) in cases.into_iter().enumerate() {
        learn(&plugin, job as u64, request(recordings));
        let (notes, ended) = notes_until_learned(&plugin, job as u64);
        let problem = ended.unwrap_err().unwrap();
        assert!(problem.text.contains(word), "{word}: {}", problem.text);
        assert_eq!(notes, [""; 0], "the problem names them");
    }
    assert!(runs(&plugin).is_empty());
    // Where there is something to learn from, what was left out is named beside it, once.
    let good = recordings(&home);
    std::fs::write(good.join("torn.wav"), b"RIFF....WAVE").unwrap();
    let asked = LearnRequest {
        steps: Some(1),
        ..request(vec![good])
    };
    learn(&plugin, 9, asked);
    let (notes, ended) = notes_until_learned(&plugin, 9);
    ended.unwrap();
    let torn = notes.iter().filter(|note| note.contains("torn.wav"));
    assert_eq!(torn.count(), 1, "{notes:?}");
}
