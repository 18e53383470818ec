//! Styles of the corpus, among them the four that the frozen statistics never saw, are told apart.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use audio::AudioBuffer;
use corpus::{Options, Style, compose, render};
use features::{
    ClipMeasurement, FeatureStatistics, Fingerprint, ReferenceSet, SAMPLE_RATE_HZ, measure, nearest,
};

fn piece(style: Style, seed: u64) -> AudioBuffer {
    let rendered = render(
        &compose(style, seed, &Options { duration_secs: 6.0 }),
        SAMPLE_RATE_HZ,
    );
    AudioBuffer {
        sample_rate_hz: SAMPLE_RATE_HZ,
        channels: vec![rendered.left, rendered.right],
    }
}

fn set(style: Style, seeds: std::ops::Range<u64>) -> Vec<ClipMeasurement> {
    seeds
        .map(|seed| measure(&piece(style, seed)).unwrap())
        .collect()
}

#[test]
fn each_style_is_nearest_to_itself() {
    let styles = [
        Style::Village,
        Style::Gamelan,
        Style::Modular,
        Style::StreetBand,
        Style::House,
        Style::SoloGuitar,
        Style::Chorale,
    ];
    let statistics = FeatureStatistics::current().unwrap();
    let candidates = styles.map(|style| set(style, 100..106));
    for (index, style) in styles.into_iter().enumerate() {
        let reference = ReferenceSet::new(&set(style, 0..6), &statistics).unwrap();
        let afd = candidates
            .each_ref()
            .map(|candidate| reference.feature_distance(candidate));
        let spectral = candidates
            .each_ref()
            .map(|candidate| reference.spectral_distance(candidate));
        for other in (0..styles.len()).filter(|&other| other != index) {
            assert!(
                2.0 * afd[index] < afd[other],
                "{style} and {}: {afd:.3?}",
                styles[other]
            );
            assert!(
                spectral[index] < spectral[other],
                "{style} and {}: {spectral:.0?}",
                styles[other]
            );
        }
    }
}

#[test]
fn a_copy_stands_out_from_other_pieces_of_its_style() {
    let training: Vec<Fingerprint> = (0..4)
        .map(|seed| Fingerprint::of(&piece(Style::Village, seed)).unwrap())
        .collect();
    let mut copy = piece(Style::Village, 3);
    copy.channels
        .iter_mut()
        .for_each(|channel| drop(channel.drain(..70_001)));
    let found = nearest(&training, &Fingerprint::of(&copy).unwrap()).unwrap();
    assert!(found.piece == 3 && found.similarity > 0.95, "{found:?}");
    for seed in 50..53 {
        let other = nearest(
            &training,
            &Fingerprint::of(&piece(Style::Village, seed)).unwrap(),
        )
        .unwrap();
        assert!(other.similarity < 0.85, "{other:?}");
    }
}
