//! The adapter contract on a tiny base: nothing changes at first, only the adapter learns, and attaching, merging, saving and loading
//! all mean the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use lora::LoraError;
use lora::adapter::{
    Adapter, AdapterDescription, BaseIdentity, Placement, Targets, detach_all, merge,
};
use lora::base::{BaseModel, PulseGrid, Rhythm};
use lora::generate::{Request, generate, latents};
use lora::progress::Silent;
use lora::style;
use lora::train::{
    AdapterMethod, BaseDefaults, Batch, BatchShape, Computation, FlowTimes, LatentPiece, RankScale,
    StepGradients, TrainConfig, TrainSettings, TrainableAdapter, training_batch,
};
use nn::optimizer::{AdamW, AdamWOptions};
use nn::{Stream, TimeInterval};
use testing::device;

const TINY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/tiny-base.safetensors"
);

fn base() -> BaseModel {
    BaseModel::open(TINY, &device()).unwrap()
}

fn config() -> TrainConfig {
    let settings = TrainSettings {
        rank: Some(2),
        alpha: Some(4.0),
        ..TrainSettings::default()
    };
    settings.resolve(BaseDefaults::EMBEDDED).unwrap()
}

fn batch(base: &BaseModel, step: usize) -> Batch {
    batch_of(2, base, step)
}

fn batch_of(batch_size: usize, base: &BaseModel, step: usize) -> Batch {
    let pieces: Vec<LatentPiece> = (0..3)
        .map(|song| {
            let values = Stream::new(song).normal_vec(20 * base.latent_channels());
            LatentPiece::new(
                values,
                base.latent_channels(),
                vec![song as usize],
                format!("song {song}"),
            )
        })
        .collect();
    let shape = BatchShape {
        batch_size,
        frames: 12,
        style_drop: 0.0,
        text_drop: 0.0,
        tag_drop: 0.0,
        times: FlowTimes::STANDARD,
        drops_together: false,
        position: Some(0.3),
        max_frames: 2048,
        pads_to_model: false,
    };
    training_batch(&pieces, &[0, 1, 2], shape, step, &Stream::new(5), &device()).unwrap()
}

/// All at once, nothing computed twice.
const PLAIN: Computation = Computation {
    items_at_once: 64,
    checkpointed_blocks: 0,
    weight: 1.0,
};

fn computed(
    training: &TrainableAdapter,
    batch: &Batch,
    step: usize,
    computation: Computation,
) -> (f64, GradStore) {
    let found = training.gradients(batch, step, computation).unwrap();
    (found.loss, found.gradients)
}

/// Loss and gradients of a training step.
fn gradients(training: &TrainableAdapter, batch: &Batch, step: usize) -> (f64, GradStore) {
    computed(training, batch, step, PLAIN)
}

fn description(config: &TrainConfig, base: &BaseModel, step: usize) -> AdapterDescription {
    AdapterDescription {
        format: 1,
        rank: config.rank,
        alpha: config.alpha,
        dropout: config.dropout,
        targets: Targets::default(),
        base: Some(base.identity().clone()),
        trigger_words: vec!["test".to_owned()],
        lorelei_version: "test".to_owned(),
        data_hash: String::new(),
        seed: 0,
        step,
        validation_loss: None,
        changes: vec![],
    }
}

/// An adapter after `steps` optimizer steps.
fn trained(steps: usize) -> Adapter {
    let config = config();
    let training = TrainableAdapter::initialise(base(), &config, true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    for step in 0..steps {
        let gradients = gradients(&training, &batch(training.base(), step), step).1;
        optimizer.step(&gradients, 0.05, 1.0).unwrap();
    }
    let description = description(&config, training.base(), steps);
    training.adapter(description).unwrap()
}

fn assert_sounds_as(found: &[f32], expected: &[f32], relative: f64) {
    let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), &device()).unwrap();
    testing::assert_close("sound", &tensor(found), &tensor(expected), relative);
}

fn sound(base: &BaseModel) -> Vec<f32> {
    let style = base.tag_sum(&[0, 1]);
    let pulse = PulseGrid {
        tempo_bpm: 120.0,
        beats_per_bar: 4,
    };
    let request = Request {
        seconds: 0.5,
        steps: 3,
        guidance: 2.0,
        style,
        negative_style: None,
        tokens: base.pulse_tokens(&pulse, 30),
        rhythm: None,
        kept: None,
        decoding: None,
    };
    generate(base, &request, &[9], &mut Silent).unwrap()[0].concat()
}

#[test]
fn clips_without_a_tempo_have_one_of_their_seed_whatever_is_beside_them() {
    let base = base();
    let request = Request {
        steps: 3,
        rhythm: Some(Rhythm {
            slowest_bpm: 60.0,
            fastest_bpm: 180.0,
            metres: [(3, 1.0)].into(),
        }),
        ..Request::plain(&base, base.tag_sum(&[0]), 1.0)
    };
    let of =
        |request: &Request, seeds: &[u64]| latents(&base, request, seeds, &mut Silent).unwrap();
    let both = of(&request, &[3, 4]);
    for (item, seed) in [3, 4].into_iter().enumerate() {
        let clip = both.narrow(0, item, 1).unwrap();
        testing::assert_close("alone", &of(&request, &[seed]), &clip, 1e-4);
        let grid = request.rhythm.as_ref().unwrap().grid(seed);
        let asked = Request {
            tokens: base.pulse_tokens(&grid, request.frames(&base)),
            rhythm: None,
            ..request.clone()
        };
        testing::assert_close("its grid", &of(&asked, &[seed]), &clip, 1e-4);
    }
}

#[test]
fn an_adapter_for_an_earlier_embedded_base_is_refused_with_the_reason() {
    let mut adapter = trained(0);
    adapter.description.base = Some(BaseIdentity {
        name: "lorelei-base".to_owned(),
        version: 1,
        sha256: "23a0bf2895bb8ec3aeabaa27421d6a11d0451c47b52a7652f7da93ec374cb286".to_owned(),
        causal: None,
    });
    let refused = adapter.attach_to(&mut base(), 1.0, Path::new("village.safetensors"));
    let refused = refused.unwrap_err().to_string();
    for word in [
        "village.safetensors",
        "lorelei-base",
        "lora-train",
        "trained anew",
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
}

fn with_adapter(adapter: &Adapter, strength: f64) -> BaseModel {
    let mut base = base();
    let attachment = adapter
        .attach_to(&mut base, strength, Path::new("test"))
        .unwrap();
    assert_eq!(
        (attachment.applied, attachment.total),
        (2 * adapter.layers.len(), 2 * adapter.layers.len())
    );
    base
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    assert_eq!(sound(training.base()), sound(&base()));
    assert_eq!(sound(&with_adapter(&trained(0), 1.0)), sound(&base()));
}

#[test]
fn a_trained_adapter_changes_the_sound_and_strength_zero_does_not() {
    let adapter = trained(4);
    assert_ne!(sound(&with_adapter(&adapter, 1.0)), sound(&base()));
    assert_ne!(
        sound(&with_adapter(&adapter, 0.5)),
        sound(&with_adapter(&adapter, 1.0))
    );
    assert_eq!(sound(&with_adapter(&adapter, 0.0)), sound(&base()));
}

#[test]
fn a_style_at_strength_zero_is_the_prompts_and_at_one_as_trained() {
    let base = base();
    let width = base.transformer_config().cond_dim;
    let trigger = |seed| {
        let values = Stream::new(seed).normal_vec(width);
        Tensor::from_vec(values, width, &device()).unwrap()
    };
    let (one, two) = (trigger(1), trigger(2));
    let bits = |tags: &[usize], triggers: &[(&Tensor, f64)]| -> Vec<u32> {
        let style = style::of_tags(&base, tags, triggers).unwrap();
        style.into_iter().map(f32::to_bits).collect()
    };
    for tags in [&[][..], &[2], &[0, 1, 3]] {
        assert_eq!(bits(tags, &[(&one, 0.0)]), bits(tags, &[]));
        assert_eq!(bits(tags, &[(&one, 0.0), (&two, 0.0)]), bits(tags, &[]));
        // In training the style is the mean of the trigger and the tags' vectors.
        let trained: Vec<u32> = base
            .tag_sum(tags)
            .iter()
            .zip(one.to_vec1::<f32>().unwrap())
            .map(|(tags_sum, own)| ((tags_sum + own) / (tags.len() + 1) as f32).to_bits())
            .collect();
        assert_eq!(bits(tags, &[(&one, 1.0)]), trained);
        assert_eq!(bits(tags, &[(&one, 1.0), (&two, 0.0)]), trained);
        assert_ne!(bits(tags, &[(&one, 0.5)]), trained);
    }
    // Two adapters add their moves away from the prompt.
    let style = |triggers: &[(&Tensor, f64)]| style::of_tags(&base, &[0, 1], triggers).unwrap();
    let (plain, first, second) = (style(&[]), style(&[(&one, 0.7)]), style(&[(&two, 0.4)]));
    let both = style(&[(&one, 0.7), (&two, 0.4)]);
    for index in 0..width {
        let expected = first[index] + second[index] - plain[index];
        assert!((both[index] - expected).abs() < 1e-5);
    }
}

#[test]
fn gradients_reach_all_of_the_adapter() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let targets = Targets::default();
    let names: Vec<String> = training
        .variables()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for pattern in &targets.include {
        assert!(
            names.iter().any(|name| name.contains(pattern.as_str())),
            "{pattern} has no factors"
        );
    }
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let values = |training: &TrainableAdapter| -> Vec<Vec<f32>> {
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
        training
            .variables()
            .iter()
            .map(|(_, variable)| flat(variable.as_tensor()))
            .collect()
    };
    let before = values(&training);
    // B starts at zero, so that A gets a gradient from the second step on.
    for step in 0..2 {
        let gradients = gradients(&training, &batch(training.base(), step), step).1;
        for (name, variable) in training.variables() {
            assert!(
                gradients.get(variable.as_tensor()).is_some(),
                "no gradient for {name}"
            );
        }
        optimizer.step(&gradients, 0.01, 1.0).unwrap();
    }
    for ((name, before), after) in names.iter().zip(&before).zip(values(&training)) {
        assert_ne!(before, &after, "{name} did not learn");
    }
}

/// Two shares of three items each, with dropout; see `nn::shares`.
#[test]
fn checkpoints_change_no_gradient() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let batch = batch_of(6, training.base(), 0);
    optimizer
        .step(&gradients(&training, &batch, 0).1, 0.05, 1.0)
        .unwrap();
    let (plain_loss, plain) = gradients(&training, &batch, 1);
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for checkpointed_blocks in [1, 64] {
        let computation = Computation {
            checkpointed_blocks,
            ..PLAIN
        };
        let (loss, checkpointed) = computed(&training, &batch, 1, computation);
        assert_eq!(plain_loss, loss);
        for (name, variable) in training.variables() {
            let (expected, found) = (plain.get(&variable), checkpointed.get(&variable));
            assert_eq!(values(expected.unwrap()), values(found.unwrap()), "{name}");
        }
    }
}

/// Without dropout, whose masks differ, the parts of a batch add up to the whole.
#[test]
fn a_batch_in_parts_has_the_gradients_of_the_whole() {
    let config = TrainConfig {
        dropout: 0.0,
        ..config()
    };
    let training = TrainableAdapter::initialise(base(), &config, true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let batch = batch_of(6, training.base(), 0);
    optimizer
        .step(&gradients(&training, &batch, 0).1, 0.05, 1.0)
        .unwrap();
    let whole = training.gradients(&batch, 1, PLAIN).unwrap();
    let in_parts = Computation {
        items_at_once: 2,
        ..PLAIN
    };
    let parts = training.gradients(&batch, 1, in_parts).unwrap();
    assert!((whole.loss - parts.loss).abs() < 1e-6 * whole.loss.abs());
    for (whole, part) in whole.item_losses.iter().zip(&parts.item_losses) {
        assert!((whole - part).abs() < 1e-5 * whole);
    }
    for (name, variable) in training.variables() {
        let of = |found: &StepGradients| found.gradients.get(&variable).unwrap().clone();
        testing::assert_close(&name, &of(&parts), &of(&whole), 1e-5);
    }
}

#[test]
fn other_values_are_put_in_and_taken_out() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let own = training.values().unwrap();
    let zeros = own
        .iter()
        .map(|(name, value)| (name.clone(), value.zeros_like().unwrap()))
        .collect();
    let sum = |training: &TrainableAdapter| -> f32 {
        let values = training.values().unwrap();
        let sums = values
            .values()
            .map(|value| value.abs().unwrap().sum_all().unwrap());
        sums.map(|sum| sum.to_scalar::<f32>().unwrap()).sum()
    };
    let before = sum(&training);
    let inside = training.with_values(&zeros, |training| Ok(sum(training)));
    assert_eq!(inside.unwrap(), 0.0);
    let failed: Result<(), _> = training.with_values(&zeros, |_| Err(LoraError::Stopped));
    assert!(failed.is_err());
    assert!(before > 0.0 && sum(&training) == before);
}

#[test]
fn the_base_underneath_stays_as_it_was() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let gradients = gradients(&training, &batch(training.base(), 0), 0).1;
    optimizer.step(&gradients, 0.05, 1.0).unwrap();
    let mut adapted = with_adapter(&trained(4), 1.0);
    detach_all(&mut adapted.transformer);
    assert_eq!(sound(&adapted), sound(&base()));
}

#[test]
fn merging_equals_attaching() {
    let adapter = trained(4);
    let attached = sound(&with_adapter(&adapter, 0.7));
    let mut merged = with_adapter(&adapter, 0.7);
    merge(&mut merged.transformer).unwrap();
    let merged = sound(&merged);
    let peak = attached
        .iter()
        .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    // Phase reconstruction makes the sound sensitive to the last bits; the models themselves agree to 1e-5 (tests of nn and dit).
    let worst = attached
        .iter()
        .zip(&merged)
        .fold(0.0f32, |worst, (left, right)| {
            worst.max((left - right).abs())
        });
    assert!(worst <= 1e-2 * peak, "{worst} of {peak}");
}

#[test]
fn saving_and_loading_gives_the_same_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("style.safetensors");
    let adapter = trained(3);
    adapter.save(&path).unwrap();
    let loaded = Adapter::load(&path, &device()).unwrap();
    assert_eq!(loaded.description, adapter.description);
    assert_eq!(
        sound(&with_adapter(&loaded, 1.0)),
        sound(&with_adapter(&adapter, 1.0))
    );
}

#[test]
fn dropout_is_at_work_in_training_only() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let batch = batch(training.base(), 0);
    optimizer
        .step(&gradients(&training, &batch, 0).1, 0.05, 1.0)
        .unwrap();
    let loss = |step| gradients(&training, &batch, step).0;
    assert_ne!(loss(1), loss(2));
    assert_eq!(loss(1), loss(1));
    assert_eq!(
        training.validation_loss(&batch).unwrap(),
        training.validation_loss(&batch).unwrap()
    );
}

/// Every method: nothing is changed at first, the count is the plan's, and what was trained sounds the same from a file.
#[test]
fn every_method_begins_at_nothing_and_survives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let silence = sound(&base());
    for (number, method) in [
        AdapterMethod::Lora,
        AdapterMethod::Dora,
        AdapterMethod::Lokr,
    ]
    .into_iter()
    .enumerate()
    {
        for rank_scale in [RankScale::Rank, RankScale::SqrtRank] {
            let settings = TrainSettings {
                rank: Some(2),
                alpha: Some(4.0),
                method: Some(method),
                rank_scale: Some(rank_scale),
                ..TrainSettings::default()
            };
            let config = settings.resolve(BaseDefaults::EMBEDDED).unwrap();
            let mut plain = base();
            let planned =
                lora::train::plan(&lora::base::Outline::of(&mut plain), &config).trainable;
            let training = TrainableAdapter::initialise(base(), &config, true, &device()).unwrap();
            let numbers = training.variables();
            let numbers = numbers.iter().filter(|(name, _)| name != "trigger");
            let numbers: usize = numbers.map(|(_, variable)| variable.elem_count()).sum();
            assert_eq!(numbers, planned, "{method:?}");
            assert_sounds_as(&sound(training.base()), &silence, 1e-5);

            let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
            for step in 0..3 {
                let found = gradients(&training, &batch(training.base(), step), step).1;
                optimizer.step(&found, 0.02, 1.0).unwrap();
            }
            let learned = sound(training.base());
            assert_ne!(learned, silence);
            let path = folder.path().join(format!("{number}.safetensors"));
            let adapter = training
                .adapter(description(&config, training.base(), 3))
                .unwrap();
            adapter.save(&path).unwrap();
            let mut again = base();
            let loaded = Adapter::load(&path, &device()).unwrap();
            loaded.attach_to(&mut again, 1.0, &path).unwrap();
            // Sampling makes much of rounding; layer by layer it is the same to six digits (nn).
            assert_sounds_as(&sound(&again), &learned, 5e-3);
            training
                .without_change(|training| {
                    assert_sounds_as(&sound(training.base()), &silence, 1e-5);
                    Ok(())
                })
                .unwrap();
        }
    }
}

/// The base with an adapter in each of these ways.
fn placed(adapter: &Adapter, placements: &[Placement]) -> BaseModel {
    let mut base = base();
    for placement in placements {
        let path = Path::new("test");
        adapter.place_on(&mut base, placement, path).unwrap();
    }
    base
}

fn at_times(from: f32, to: f32) -> Placement {
    Placement {
        times: TimeInterval::new(from, to).unwrap(),
        ..Placement::at(0.8)
    }
}

#[test]
fn parts_of_the_way_add_up_and_an_empty_one_is_the_base() {
    let adapter = trained(4);
    let whole = sound(&with_adapter(&adapter, 0.8));
    let base_sound = sound(&base());
    assert_ne!(whole, base_sound);
    assert_eq!(sound(&placed(&adapter, &[at_times(0.0, 1.0)])), whole);
    assert_eq!(sound(&placed(&adapter, &[at_times(0.4, 0.4)])), base_sound);
    // The three steps begin at 0, 1/3 and 2/3.
    assert_eq!(sound(&placed(&adapter, &[at_times(0.4, 0.6)])), base_sound);
    let halves = [at_times(0.0, 0.5), at_times(0.5, 1.0)];
    assert_eq!(sound(&placed(&adapter, &halves)), whole);
    for half in halves {
        let half = sound(&placed(&adapter, &[half]));
        assert!(half != whole && half != base_sound);
    }
}

#[test]
fn layers_that_are_chosen_and_those_that_are_not_add_up() {
    let adapter = trained(4);
    let whole = sound(&with_adapter(&adapter, 0.8));
    let some = || vec!["self_attn.q_proj".to_owned(), "proj_out".to_owned()];
    let chosen = |include: Vec<String>, exclude: Vec<String>| Placement {
        layers: Targets { include, exclude },
        ..Placement::at(0.8)
    };
    let (with, without) = (chosen(some(), vec![]), chosen(vec!["*".into()], some()));
    let both = [with.clone(), without.clone()];
    assert_eq!(sound(&placed(&adapter, &both)), whole);
    for part in both {
        let part = sound(&placed(&adapter, &[part]));
        assert!(part != whole && part != sound(&base()));
    }
    let mut model = base();
    for (placement, word) in [
        (chosen(vec!["q_prog".into()], vec![]), "include=q_prog"),
        (
            chosen(vec!["*".into()], vec!["mlp.7".into()]),
            "exclude=mlp.7",
        ),
        (chosen(some(), some()), "none of its layers"),
    ] {
        let refused = adapter.place_on(&mut model, &placement, Path::new("style.pt"));
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains(word) && error.contains("style.pt"),
            "{error}"
        );
    }
    assert_eq!(sound(&model), sound(&base()));
}

#[test]
fn an_adapter_for_some_times_cannot_be_folded_into_the_weights() {
    let mut base = placed(&trained(2), &[at_times(0.0, 0.5)]);
    let error = merge(&mut base.transformer).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("0-0.5"), "{cause}");
}

#[test]
fn triggers_move_the_style_while_their_adapter_acts() {
    let vector = |value: f32| Tensor::full(value, 2, &device()).unwrap();
    let (one, two) = (vector(1.0), vector(10.0));
    let trigger = |vector, from, to| style::Trigger {
        vector,
        strength: 1.0,
        times: TimeInterval::new(from, to).unwrap(),
    };
    let added = |triggers: &[(&Tensor, f64)]| -> Result<Vec<f32>, candle_core::Error> {
        let values = triggers.iter().map(|(vector, _)| vector.to_vec1::<f32>());
        let values = values.collect::<Result<Vec<_>, _>>()?;
        Ok(vec![values.iter().map(|values| values[0]).sum()])
    };
    let triggers = [trigger(&one, 0.0, 0.5), trigger(&two, 0.25, 1.0)];
    let (first, later) = style::over_time(&triggers, added).unwrap();
    assert_eq!(first, [1.0]);
    assert_eq!(later, [(0.25, vec![11.0]), (0.5, vec![10.0])]);
    let always = style::over_time(&[trigger(&one, 0.0, 1.0)], added).unwrap();
    assert_eq!(always, (vec![1.0], vec![]));
}

#[test]
fn the_example_adapter_is_for_the_embedded_base() {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/village.safetensors"
    ));
    let mut base = BaseModel::embedded(&device()).unwrap();
    let adapter = Adapter::load(path, &device()).unwrap();
    let attachment = adapter.attach_to(&mut base, 1.0, path).unwrap();
    assert_eq!(attachment.applied, attachment.total);
    assert!(adapter.trigger.is_some(), "its clips need no prompt");
}
