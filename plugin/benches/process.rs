//! What a block of 64 samples at 48 kHz costs; such a block lasts 1.333 ms, so 13.3 us are 1 % of a core.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use plugin::parameters::PlayMode;
use plugin::playback::{Block, LoopClip, NoteEvent, Player, Settings, exchange};

const RATE_HZ: f64 = 48_000.0;
const BLOCK: usize = 64;

/// Eight clips of four bars.
fn player() -> Player {
    let (mut sender, receiver) = exchange();
    let mut seed = 1_u32;
    for slot in 0..8 {
        let channels = [0, 1].map(|_| {
            let frames = 0..384_000;
            frames
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 8) as f32 / 16_777_216.0 - 0.5
                })
                .collect()
        });
        let clip = LoopClip {
            number: slot,
            channels,
            sample_rate_hz: RATE_HZ,
            tempo_bpm: 120.0,
            quarters: 16.0,
            bar_quarters: 4.0,
        };
        let is_sent = sender.send(slot as usize, Some(Box::new(clip))).is_ok();
        assert!(is_sent);
    }
    let mut player = Player::new(RATE_HZ, receiver);
    play(&mut player, &mut 0.0, 120.0, PlayMode::Loop, &[]);
    player
}

fn play(
    player: &mut Player,
    quarters: &mut f64,
    tempo_bpm: f64,
    mode: PlayMode,
    events: &[NoteEvent],
) {
    let block = Block {
        is_playing: true,
        tempo_bpm: Some(tempo_bpm),
        position_quarters: Some(*quarters),
        position_samples: None,
        bar: None,
    };
    let settings = Settings {
        mode,
        slot: (*quarters / 4.0) as usize % 8,
        audition: false,
        gain: 0.7,
        root_key: 60,
        attack_secs: 0.005,
        release_secs: 0.05,
    };
    let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
    player.process(
        [&mut left, &mut right],
        &block,
        events.iter().copied(),
        &settings,
    );
    black_box((left, right));
    *quarters += BLOCK as f64 * tempo_bpm / (60.0 * RATE_HZ);
}

fn process(criterion: &mut Criterion) {
    for (name, tempo_bpm) in [("own tempo", 120.0), ("another tempo", 97.0)] {
        let (mut player, mut quarters) = (player(), 0.0);
        criterion.bench_function(&format!("process 64: loop, {name}"), |bencher| {
            bencher.iter(|| play(&mut player, &mut quarters, tempo_bpm, PlayMode::Loop, &[]));
        });
    }
    let (mut player, mut quarters) = (player(), 0.0);
    let chord: Vec<_> = (53..69)
        .map(|key| NoteEvent::On {
            offset: 0,
            key,
            velocity: 0.7,
        })
        .collect();
    play(&mut player, &mut quarters, 97.0, PlayMode::Notes, &chord);
    criterion.bench_function("process 64: 16 notes", |bencher| {
        bencher.iter(|| play(&mut player, &mut quarters, 97.0, PlayMode::Notes, &[]));
    });
}

criterion_group!(benches, process);
criterion_main!(benches);
