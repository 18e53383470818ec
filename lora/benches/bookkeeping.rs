//! What training does beside network and optimizer, for an adapter of rank 8 on DiffRhythm's 1B model and crops of 95 s. The model's
//! weights are made up and shared between layers of a shape, so that it takes little memory.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may stop at the first failure, and tells what it measures"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, criterion_group};
use dit::diffrhythm::DiffusionTransformer;
use lora::base::Outline;
use lora::models::KnownModel;
use lora::train::{
    BaseDefaults, BatchShape, Bookkeeping, FlowTimes, LatentPiece, TrainSettings, training_batch,
};
use nn::{Stream, Weights};

const FRAMES: usize = 2048;
const CHANNELS: usize = 64;

/// Zeros, one tensor for each shape.
fn weights() -> Weights {
    let made: Mutex<HashMap<Vec<usize>, Tensor>> = Mutex::default();
    Weights::made_up(move |_, shape| {
        let mut made = made.lock().expect("no thread panicked");
        if let Some(tensor) = made.get(shape) {
            return Ok(tensor.clone());
        }
        let tensor = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        made.insert(shape.to_vec(), tensor.clone());
        Ok(tensor)
    })
}

fn noise(name: &str) -> Tensor {
    let stream = Stream::new(1).named(name);
    stream
        .normal((1, FRAMES, CHANNELS), &Device::Cpu)
        .expect("noise")
}

fn bookkeeping(criterion: &mut Criterion) {
    let known = KnownModel::named("diffrhythm-v1.2").expect("it is in the list");
    let outline = Outline::of_known(known, None, None).expect("an outline");
    let mut model = DiffusionTransformer::load(&outline.transformer, &weights().root())
        .expect("any weights fit");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = TrainSettings {
        run_dir: Some(folder.path().to_owned()),
        out: Some(folder.path().join("style.safetensors")),
        ..TrainSettings::default()
    };
    let config = settings
        .resolve(BaseDefaults::of(&outline))
        .expect("good settings");
    let mut run = Bookkeeping::new(&mut model, config).expect("a run");
    let numbers: usize = run
        .variables()
        .iter()
        .map(|(_, variable)| variable.elem_count())
        .sum();
    println!("{numbers} numbers are trained");

    let mut group = criterion.benchmark_group("rank 8 of 1B, 2048 frames");
    group.sample_size(20);
    group.bench_function("each step: the moment before it is kept", |bench| {
        bench.iter(|| run.keep_moment().expect("a moment"))
    });
    let (predicted, target) = (noise("predicted"), noise("target"));
    group.bench_function("each step: losses of the items, sums", |bench| {
        bench.iter(|| {
            run.add_figures(&predicted, &target, &[FRAMES])
                .expect("figures")
        })
    });
    let (pieces, shape) = (pieces(), shape());
    group.bench_function("each step: its batch is drawn", |bench| {
        let (random, mut step) = (Stream::new(1), 0);
        bench.iter(|| {
            step += 1;
            let drawn = training_batch(&pieces, &[0, 1, 2], shape, step, &random, &Device::Cpu);
            black_box(drawn.expect("a batch"))
        })
    });
    group.bench_function("each tenth step: norms and the line of figures", |bench| {
        bench.iter(|| run.record_steps().expect("a line"))
    });
    group.bench_function("each checkpoint: off the training's thread", |bench| {
        bench.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                run.record_steps().expect("a line");
                let started = Instant::now();
                run.begin_checkpoint().expect("a checkpoint");
                total += started.elapsed();
                run.wait().expect("it is written");
            }
            total
        })
    });
    group.finish();
}

/// Three songs, a little longer than the model's crop.
fn pieces() -> Vec<LatentPiece> {
    let values = || vec![0.5; (FRAMES + 500) * CHANNELS];
    let piece = |song: usize| LatentPiece::new(values(), CHANNELS, vec![], format!("song-{song}"));
    (0..3).map(piece).collect()
}

fn shape() -> BatchShape {
    BatchShape {
        batch_size: 1,
        frames: FRAMES,
        style_drop: 0.15,
        text_drop: 0.15,
        tag_drop: 0.0,
        times: FlowTimes::STANDARD,
        drops_together: false,
        position: None,
        max_frames: FRAMES,
        pads_to_model: true,
    }
}

criterion_group!(benches, bookkeeping);

// Not `criterion_main!`: the product's programs prepare the process first.
fn main() {
    nn::process::prepare();
    nn::process::use_threads(None);
    benches();
    Criterion::default().configure_from_args().final_summary();
}
