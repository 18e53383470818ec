//! What a run warns of: learning nothing, learning by heart, training and held-out songs parting, more memory than allowed.

use features::nearest::COPY_SIMILARITY;

use super::fit::MemorySize;

/// Held-out loss above the best by this share, while the training loss fell, means that the two part.
const PARTING_SHARE: f64 = 0.05;
/// Held-out loss that fell by less than this share is no effect.
const LEAST_GAIN: f64 = 0.002;
/// Clips with and without the adapter that differ by less than this share of their level sound the same.
const LEAST_DIFFERENCE: f64 = 0.01;

/// Whether the held-out songs get worse while the training pieces get better. Both losses are now and at the best moment.
pub(super) fn parting(training: (f64, f64), held_out: (f64, f64)) -> Option<String> {
    let (now, at_best) = held_out;
    let parts = now > at_best * (1.0 + PARTING_SHARE) && training.0 < training.1;
    parts.then(|| {
        format!(
            "training and held-out songs part: the held-out loss is {now:.4}, after {at_best:.4} at its best, and the training loss still falls; the adapter begins to learn its pieces by heart. The best moment is kept; more recordings, a lower --rank, more --dropout or fewer steps help"
        )
    })
}

/// Whether training changed nothing that the held-out songs show.
pub(super) fn no_effect(first: Option<f64>, best: Option<f64>) -> Option<String> {
    let (first, best) = (first?, best?);
    if best > first * (1.0 + PARTING_SHARE) {
        return Some(format!(
            "the held-out songs got worse from the first step on (loss {best:.4} at best, before training {first:.4}): lower --learning-rate, or raise --warm-up-steps"
        ));
    }
    let gain = (first - best) / first;
    (gain < LEAST_GAIN).then(|| {
        format!(
            "the adapter has hardly any effect on the held-out songs (loss {best:.4}, before training {first:.4}): raise --learning-rate or --steps, or look whether the held-out songs are of the same style as the others"
        )
    })
}

/// Whether two clips sound the same: `difference` is the level of their difference over that of the clip without the adapter.
pub(super) fn inaudible(difference: f64) -> Option<String> {
    (difference < LEAST_DIFFERENCE).then(|| {
        format!(
            "the preview with the adapter differs from the one without by only {:.2} % of its level: raise --learning-rate, --alpha or --steps",
            difference * 100.0
        )
    })
}

/// Whether the process took more than the user allowed it. `before` is its peak before the first step, `peak` that of the whole run, in
/// bytes.
pub(super) fn over_memory(before: usize, peak: usize, allowed: MemorySize) -> Option<String> {
    let allowed_bytes = allowed.bytes;
    if peak <= allowed_bytes {
        return None;
    }
    let advice = match before > allowed_bytes {
        true => {
            "before its first step already, in opening the base and encoding the pieces: cut shorter pieces, or choose --weights of fewer bits; pieces that are encoded stay so, and the next start needs less"
        }
        false => {
            "while training: lower --batch-size and raise --accumulate by as much, or lower --crop-secs, --preview-secs or --preview-clips; a smaller --memory chooses for itself"
        }
    };
    let megabytes = |bytes: usize| bytes.div_ceil(1_000_000);
    Some(format!(
        "the run took {} MB, more than the {} MB of --memory, {advice}",
        megabytes(peak),
        megabytes(allowed_bytes)
    ))
}

/// Whether a preview repeats a training piece. `usual` is the highest similarity between pieces of different songs.
pub(super) fn copied(similarity: f64, usual: Option<f64>, piece: &str) -> Option<String> {
    let ceiling = usual.unwrap_or(0.0).max(COPY_SIMILARITY);
    (similarity > ceiling).then(|| {
        format!(
            "a preview is like {piece} ({similarity:.2}; pieces of different songs are alike by {} at most): the adapter repeats what it was trained on; use an earlier checkpoint, fewer steps, a lower --rank or more recordings",
            usual.map_or_else(|| "an unknown share".to_owned(), |usual| format!("{usual:.2}"))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_when_it_is_so_and_only_then() {
        assert!(parting((0.8, 1.0), (1.06, 1.0)).is_some());
        assert!(parting((0.8, 1.0), (1.04, 1.0)).is_none());
        assert!(parting((1.1, 1.0), (1.06, 1.0)).is_none());
        assert!(no_effect(Some(1.0), Some(0.999)).is_some());
        assert!(no_effect(Some(1.0), Some(0.9)).is_none());
        assert!(no_effect(None, None).is_none());
        assert!(inaudible(0.001).is_some() && inaudible(0.2).is_none());
        let allowed: MemorySize = "100MB".parse().unwrap();
        let over = |before, peak| over_memory(before, peak, allowed).unwrap_or_default();
        assert_eq!(over(90_000_000, 100_000_000), "");
        assert!(over(90_000_000, 101_000_000).contains("--batch-size"));
        assert!(over(101_000_000, 101_000_000).contains("encoding the pieces"));
        assert!(copied(0.95, Some(0.6), "a.wav").unwrap().contains("a.wav"));
        assert!(copied(0.95, Some(0.97), "a.wav").is_none());
        assert!(copied(0.8, None, "a.wav").is_none());
    }
}
