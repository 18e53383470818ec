"""The independent side of `cargo xtask base-marks`: beats of generated loops by another project's tracker, and styles of generated clips by a
classifier that has only heard real renders.

FOLDER holds `plan.json` (see `plan.rs` there), the generated sound that it names, and `real/` with `corpus.jsonl`. Features are kept in
`features.npz` by the content they were taken from. Prints everything found as a line of JSON.

    python xtask/peer/base_marks.py FOLDER
"""

import argparse
import hashlib
import json
import math
import pathlib
import sys

import essentia
import essentia.standard
import librosa
import numpy
import soundfile
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

RATE_HZ = 44_100
# A loop is heard so often, so that a tracker has enough to go by; half of the first and of the last round is not counted.
ROUNDS = 3
LOOP_BARS = 4
BEATS_PER_BAR = 4
ONSET_HOP = 128
FEATURE_RATE_HZ = 22_050
FEATURE_HOP = 512
EXCERPT_SECS = 6.0
# Where in a piece its excerpts begin, as shares of what they leave.
EXCERPT_PLACES = (0.3, 0.75)
# Part of the key of kept features: another number for other features.
FEATURE_VERSION = 1
FOLDS = 4
SEED = 1


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def pieces(folder: pathlib.Path, plan: dict) -> list[dict]:
    """The first real pieces of each style, as many as the plan says: an earlier run may have left more."""
    taken = dict.fromkeys(plan["styles"], 0)
    found = []
    for line in (folder / "real" / "corpus.jsonl").read_text().splitlines():
        piece = json.loads(line)
        style = piece["style"]
        if taken.get(style, plan["pieces_of_style"]) < plan["pieces_of_style"]:
            taken[style] += 1
            found.append(piece)
    return found


# Tempo


def track_essentia(samples: numpy.ndarray) -> numpy.ndarray:
    """Beats in seconds by agreement of five onset functions (Zapata et al. 2014)."""
    beats, _ = essentia.standard.BeatTrackerMultiFeature(minTempo=40, maxTempo=208)(samples.astype(numpy.float32))
    return numpy.asarray(beats)


def track_librosa(samples: numpy.ndarray) -> numpy.ndarray:
    """Beats in seconds by dynamic programming over spectral flux (Ellis 2007), at 5.8 ms a frame."""
    hop = 256
    strength = librosa.onset.onset_strength(y=samples, sr=RATE_HZ, hop_length=hop)
    _, beats = librosa.beat.beat_track(onset_envelope=strength, sr=RATE_HZ, hop_length=hop, trim=False, units="time")
    return numpy.asarray(beats)


TRACKERS = {"essentia": track_essentia, "librosa": track_librosa}


def signed_distance(times: numpy.ndarray, period: float) -> numpy.ndarray:
    """Seconds from the nearest line of a grid that begins at 0."""
    return times - period * numpy.round(times / period)


def tracked(tracker, loop: numpy.ndarray, period: float) -> dict | None:
    """Beats of a loop against the grid asked for. Half tempo lies on that grid; at double tempo the grid is halved."""
    length = len(loop) / RATE_HZ
    beats = tracker(numpy.tile(loop, ROUNDS))
    beats = beats[(beats >= length / 2) & (beats < (ROUNDS - 0.5) * length)]
    if len(beats) < 4:
        return None
    interval = float(numpy.median(numpy.diff(beats)))
    octave = min((-1, 0, 1), key=lambda octave: abs(math.log2(interval / period) + octave))
    grid = period / 2 if octave == 1 else period
    return {
        "tempo_bpm": 60 / interval,
        "tempo_error_percent": 100 * (period / interval / 2.0**octave - 1),
        "octave": octave,
        "deviations_secs": signed_distance(beats, grid).tolist(),
        "eighth_deviations_secs": signed_distance(beats, period / 2).tolist(),
        "period_secs": grid,
        "eighth_secs": period / 2,
    }


def onset_pulse(loop: numpy.ndarray) -> dict:
    """What needs no tracker: onset strength over the looped clip as a sum of vectors that turn once a beat.

    A loop repeats after 16 beats, so that all its periods are a whole number of turns: 16 are the beat, 32 the eighth. The tempo that the onsets
    show is the number between 8 and 32 with the longest sum.
    """
    margin = RATE_HZ // 2
    around = numpy.concatenate([loop[-margin:], loop, loop[:margin]])
    strength = librosa.onset.onset_strength(y=around, sr=RATE_HZ, hop_length=ONSET_HOP, n_fft=1024)
    length = len(loop) / RATE_HZ
    times = librosa.times_like(strength, sr=RATE_HZ, hop_length=ONSET_HOP) - margin / RATE_HZ
    inside = (times >= 0) & (times < length)
    strength, times = strength[inside], times[inside]
    turns_of = lambda turns: numpy.sum(strength * numpy.exp(-2j * numpy.pi * turns * times / length)) / max(strength.sum(), 1e-9)
    beats = LOOP_BARS * BEATS_PER_BAR
    period = length / beats
    beat, eighth = turns_of(beats), turns_of(2 * beats)
    strongest = max(range(beats // 2 + 1, 2 * beats), key=lambda turns: abs(turns_of(turns)))
    return {
        "strength": abs(beat),
        "offset_secs": float(-numpy.angle(beat) / (2 * numpy.pi) * period),
        "eighth_strength": abs(eighth),
        "eighth_offset_secs": float(-numpy.angle(eighth) / (2 * numpy.pi) * period / 2),
        "tempo_ratio": strongest / beats,
    }


def mono(path: pathlib.Path, start_secs: float = 0.0, duration_secs: float | None = None) -> numpy.ndarray:
    start = round(start_secs * RATE_HZ)
    frames = -1 if duration_secs is None else round(duration_secs * RATE_HZ)
    samples, rate = soundfile.read(path, start=start, frames=frames, dtype="float32", always_2d=True)
    if rate != RATE_HZ:
        raise SystemExit(f"{path} has {rate} Hz; this script expects {RATE_HZ}: delete the file, and run the command again")
    return samples.mean(axis=1)


def measured_loop(samples: numpy.ndarray, tempo_bpm: float, about: dict) -> dict:
    period = 60 / tempo_bpm
    found = {name: tracked(tracker, samples, period) for name, tracker in TRACKERS.items()}
    return {**about, "asked_bpm": tempo_bpm, "trackers": found, "onsets": onset_pulse(samples)}


def control_loops(folder: pathlib.Path, plan: dict) -> list[dict]:
    """Four bars out of the middle of real renders, of styles and metre that loops are asked for."""
    styles = {loop["style"] for loop in plan["loops"]}
    taken: dict[str, int] = {}
    loops = []
    for piece in pieces(folder, plan):
        style, period = piece["style"], 60 / piece["tempo_bpm"]
        bar = BEATS_PER_BAR * period
        start = piece["first_beat_secs"] + LOOP_BARS * bar
        fits = start + (LOOP_BARS + 1) * bar < piece["duration_secs"]
        if style not in styles or piece["beats_per_bar"] != BEATS_PER_BAR or not fits:
            continue
        if taken.get(style, 0) == plan["control_pieces_of_style"]:
            continue
        taken[style] = taken.get(style, 0) + 1
        samples = mono(folder / "real" / piece["path"], start, LOOP_BARS * bar)
        loops.append(measured_loop(samples, piece["tempo_bpm"], {"style": style, "path": piece["path"]}))
        progress(f"control {piece['path']}")
    return loops


def latencies(control: list[dict]) -> dict:
    """What a tracker and the onset measure add to the true time: the median over real pieces whose eighths they find."""
    found = {}
    for name in TRACKERS:
        medians = []
        for loop in control:
            if (result := loop["trackers"][name]) is not None:
                deviations = numpy.array(result["eighth_deviations_secs"])
                if numpy.median(numpy.abs(deviations)) < result["eighth_secs"] / 4:
                    medians.append(numpy.median(deviations))
        found[name] = float(numpy.median(medians)) if medians else 0.0
    found["onsets"] = float(numpy.median([loop["onsets"]["eighth_offset_secs"] for loop in control])) if control else 0.0
    return found


def corrected(loops: list[dict], latency: dict) -> None:
    """Adds the errors without the latency, in milliseconds."""
    for loop in loops:
        for name, result in loop["trackers"].items():
            if result is not None:
                for key, period, to in [("deviations_secs", "period_secs", "error_ms"), ("eighth_deviations_secs", "eighth_secs", "eighth_error_ms")]:
                    deviations = signed_distance(numpy.array(result.pop(key)) - latency[name], result[period])
                    result[to] = 1000 * float(numpy.median(numpy.abs(deviations)))
        onsets, period = loop["onsets"], 60 / loop["asked_bpm"]
        for key, length in [("offset", period), ("eighth_offset", period / 2)]:
            offset = numpy.array(onsets.pop(f"{key}_secs") - latency["onsets"])
            onsets[f"{key}_ms"] = 1000 * float(signed_distance(offset, length))


def judge(control: list[dict]) -> str:
    """The tracker that errs least on real pieces, whichever eighth it takes for the beat."""

    def error(name: str) -> float:
        found = [loop["trackers"][name] for loop in control]
        return float(numpy.median([math.inf if result is None else result["eighth_error_ms"] for result in found]))

    return min(TRACKERS, key=error)


def tempo(folder: pathlib.Path, plan: dict) -> dict:
    control = control_loops(folder, plan)
    loops = []
    for loop in plan["loops"]:
        about = {"style": loop["style"], "seed": loop["seed"], "path": loop["path"]}
        loops.append(measured_loop(mono(folder / loop["path"]), loop["tempo_bpm"], about))
        progress(f"loop {loop['path']}")
    latency = latencies(control)
    corrected(control, latency)
    corrected(loops, latency)
    latency_ms = {name: 1000 * value for name, value in latency.items()}
    return {"judge": judge(control), "latency_ms": latency_ms, "control": control, "loops": loops}


# Adherence


def statistics(rows: numpy.ndarray) -> numpy.ndarray:
    return numpy.concatenate([rows.mean(axis=1), rows.std(axis=1)])


def features(samples: numpy.ndarray) -> numpy.ndarray:
    """Timbre, its motion, harmony without its key, and rhythm of an excerpt; its level does not matter.

    Levels more than 60 dB below the loudest count as just that: what lies below is the floor of a synthesiser or an autoencoder.
    """
    sound = librosa.resample(samples, orig_sr=RATE_HZ, target_sr=FEATURE_RATE_HZ)
    spectrum = numpy.abs(librosa.stft(sound, n_fft=2048, hop_length=FEATURE_HOP))
    spectrum = numpy.maximum(spectrum, max(spectrum.max(), 1e-9) * 1e-3)
    mel = librosa.feature.melspectrogram(S=spectrum**2, sr=FEATURE_RATE_HZ, n_mels=64, fmax=10_000)
    levels = librosa.power_to_db(mel, ref=numpy.max, top_db=60)
    cepstrum = librosa.feature.mfcc(S=levels, n_mfcc=20)[1:]
    motion = [librosa.feature.delta(cepstrum, order=order).std(axis=1) for order in (1, 2)]
    contrast = librosa.feature.spectral_contrast(S=spectrum, sr=FEATURE_RATE_HZ)
    chroma = librosa.feature.chroma_stft(S=spectrum**2, sr=FEATURE_RATE_HZ, tuning=0.0)
    harmony = chroma.mean(axis=1)
    harmony = numpy.roll(harmony / max(harmony.sum(), 1e-9), -int(harmony.argmax()))
    change = numpy.abs(numpy.diff(chroma, axis=1)).mean()
    strength = librosa.onset.onset_strength(S=levels, sr=FEATURE_RATE_HZ)
    shape = numpy.percentile(strength, [25, 50, 75, 90, 99])
    return numpy.concatenate(
        [statistics(cepstrum), *motion, statistics(contrast), harmony, [change], shape, [strength.mean(), strength.std()], rhythm(strength)]
    )


def rhythm(strength: numpy.ndarray) -> numpy.ndarray:
    """Autocorrelation of the onset strength, largest in each of 24 bands of lag from 0.1 to 2 s."""
    centred = strength - strength.mean()
    correlation = librosa.autocorrelate(centred)
    correlation = correlation / max(correlation[0], 1e-9)
    edges = numpy.geomspace(0.1, 2.0, 25) * FEATURE_RATE_HZ / FEATURE_HOP
    bands = [correlation[int(low) : max(int(high), int(low) + 1)].max() for low, high in zip(edges[:-1], edges[1:])]
    return numpy.array(bands)


class Kept:
    """Features of earlier runs, by the content of the excerpt."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path, self.found, self.new = path, {}, 0
        if path.is_file():
            with numpy.load(path) as file:
                self.found = {name: file[name] for name in file.files}

    def of(self, samples: numpy.ndarray) -> numpy.ndarray:
        key = f"{FEATURE_VERSION}-{hashlib.sha256(samples.tobytes()).hexdigest()}"
        if key not in self.found:
            self.found[key] = features(samples)
            self.new += 1
            if self.new % 50 == 0:
                progress(f"{self.new} excerpts measured")
                self.write()
        return self.found[key]

    def write(self) -> None:
        aside = self.path.with_name("features.part.npz")
        numpy.savez(aside, **self.found)
        aside.replace(self.path)



def classifiers() -> dict:
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
        "random forest": RandomForestClassifier(n_estimators=500, min_samples_leaf=2, random_state=SEED),
    }


def confusion(styles: list[str], true: list[str], found: list[str]) -> list[list[int]]:
    """Rows are what it is, columns what it is taken for."""
    counts = [[0] * len(styles) for _ in styles]
    for is_, taken in zip(true, found):
        counts[styles.index(is_)][styles.index(taken)] += 1
    return counts


def adherence(folder: pathlib.Path, plan: dict) -> dict:
    kept = Kept(folder / "features.npz")
    styles = plan["styles"]
    known, names, groups = [], [], []
    for number, piece in enumerate(pieces(folder, plan)):
        for place in EXCERPT_PLACES:
            start = place * max(0.0, piece["duration_secs"] - EXCERPT_SECS)
            known.append(kept.of(mono(folder / "real" / piece["path"], start, EXCERPT_SECS)))
            names.append(piece["style"])
            groups.append(number)
    generated = [kept.of(mono(folder / clip["path"], 0.0, EXCERPT_SECS)) for clip in plan["clips"]]
    kept.write()
    asked = [clip["style"] for clip in plan["clips"]]
    known = numpy.array(known)
    # Both excerpts of a piece are held out together.
    folds = GroupKFold(FOLDS)
    held_out = {name: cross_val_predict(one, known, names, groups=groups, cv=folds) for name, one in classifiers().items()}
    accuracy = {name: float(numpy.mean(found == numpy.array(names))) for name, found in held_out.items()}
    # Chosen by real renders alone.
    chosen = max(accuracy, key=accuracy.get)
    taken = {name: one.fit(known, names).predict(numpy.array(generated)) for name, one in classifiers().items()}
    return {
        "styles": styles,
        "real_excerpts": len(names),
        "classifier": chosen,
        "real_accuracy": accuracy,
        "clip_accuracy": {name: float(numpy.mean(found == numpy.array(asked))) for name, found in taken.items()},
        "real_confusion": confusion(styles, names, held_out[chosen].tolist()),
        "clip_confusion": confusion(styles, asked, taken[chosen].tolist()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    essentia.log.infoActive = False
    plan = json.loads((folder / "plan.json").read_text())
    found = {"essentia": essentia.__version__, "librosa": librosa.__version__, "tempo": tempo(folder, plan), "adherence": adherence(folder, plan)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
