"""What the scripts of all hosts share: arguments, figures, clips, and comparing sound.

A script ends with 0 if all is well, with 1 and a message if something is not, and with 77 and a reason if it cannot run here.
On its standard output a line `figure NAME: VALUE` is a measurement, and a line `not run: REASON` says why there is none.
"""

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path



def wanted(name):
    """A package, or the end of a script that cannot run without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"not run: {error}; cargo xtask hosts --install brings it")
        sys.exit(77)


numpy = wanted("numpy")
AudioFile = wanted("pedalboard.io").AudioFile

# How long a clip may take on a slow and busy machine.
CLIP_PATIENCE_SECS = 150.0
# Difference of two sounds that are the same but for rounding: 24 bits.
ROUNDING = 2.0**-22


class NotRun(Exception):
    """Something that the script needs is not here."""


class Failed(Exception):
    """The plugin did not do what it should."""


def require(condition, message):
    """Fails with a message unless the condition holds."""
    if not condition:
        raise Failed(message)


def require_near(value, expected, tolerance, what):
    """Fails unless a number is as expected."""
    require(abs(value - expected) <= tolerance, f"{what}: {value:.6g} instead of {expected:.6g} (within {tolerance:.3g})")


def figure(name, value):
    """Says a measurement."""
    print(f"figure {name}: {value}", flush=True)


def run(main, description):
    """Runs a script's main function and ends the process as the module's text says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", type=Path, required=True, help="the bundle Lorelei.vst3")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for everything that is made")
    parser.add_argument("--artefacts", type=Path, required=True, help="a folder for what is kept, such as screenshots")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.plugin = arguments.plugin.resolve()
    arguments.work = arguments.work.resolve()
    arguments.artefacts = arguments.artefacts.resolve()
    if not os.environ.get("LORELEI_HOME"):
        parser.error("set LORELEI_HOME to an empty folder, so that your own clips and adapters stay as they are")
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.artefacts.mkdir(parents=True, exist_ok=True)
    try:
        main(arguments)
    except NotRun as reason:
        print(f"not run: {reason}", flush=True)
        sys.exit(77)
    except Failed as problem:
        print(problem, file=sys.stderr, flush=True)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    # Some hosts crash when the interpreter takes them apart; what they did is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def clips_folder(home=None):
    """Where the engine puts clips."""
    return Path(home or os.environ["LORELEI_HOME"]) / "cache" / "clips"


def clip_keys(home=None):
    """The clips that are made. What counts is the sound, which is written after the recipe."""
    return {path.stem for path in clips_folder(home).glob("*.flac")}


def await_clip(known, home=None):
    """Waits for a clip that is not among the known ones; gives its key."""
    deadline = time.monotonic() + CLIP_PATIENCE_SECS
    while time.monotonic() < deadline:
        new = clip_keys(home) - set(known)
        if new:
            return new.pop()
        time.sleep(0.05)
    raise Failed(f"no clip came within {CLIP_PATIENCE_SECS:.0f} s; {engine_log(home)}")


def engine_log(home=None):
    """The engine's last words, for messages."""
    logs = sorted((Path(home or os.environ["LORELEI_HOME"]) / "cache").glob("engine-*.log"))
    if not logs:
        return "the engine has no log: it was not started"
    return "the engine's log ends with:\n" + "\n".join(logs[-1].read_text().splitlines()[-10:])


def read_clip(key, home=None):
    """A clip's sound as [channels, frames], its rate, and its recipe."""
    folder = clips_folder(home)
    sound, rate_hz = read_sound(folder / f"{key}.flac")
    return sound, rate_hz, json.loads((folder / f"{key}.json").read_text())


def read_sound(path):
    """A sound file as [channels, frames], and its rate."""
    with AudioFile(str(path)) as file:
        return file.read(file.frames), int(file.samplerate)


def level(sound):
    """Root mean square."""
    return float(numpy.sqrt(numpy.mean(numpy.square(sound, dtype=numpy.float64))))


def peak(sound):
    """Highest sample."""
    return float(numpy.max(numpy.abs(sound))) if sound.size else 0.0


def around(clip, start, frames):
    """So many frames of a loop from a frame on, which may lie before its beginning."""
    return clip[:, (start + numpy.arange(frames)) % clip.shape[1]]


def place_in_loop(piece, clip):
    """The frame of the loop at which a piece begins that sounds most like it, and how much it does, from 0 to 1."""
    frames = piece.shape[1]
    length = clip.shape[1]
    turned = around(clip, 0, length + frames)
    size = 1 << int(numpy.ceil(numpy.log2(turned.shape[1] + frames)))
    products = numpy.zeros(length)
    energies = numpy.zeros(length)
    for ours, theirs in zip(piece.astype(numpy.float64), turned.astype(numpy.float64)):
        spectrum = numpy.fft.rfft(theirs, size) * numpy.conj(numpy.fft.rfft(ours, size))
        products += numpy.fft.irfft(spectrum, size)[:length]
        sums = numpy.concatenate([[0.0], numpy.cumsum(numpy.square(theirs))])
        energies += sums[frames : frames + length] - sums[:length]
    own = float(numpy.sum(numpy.square(piece, dtype=numpy.float64)))
    likeness = products / numpy.sqrt(numpy.maximum(energies * own, 1e-12))
    place = int(numpy.argmax(likeness))
    return place, float(likeness[place])


def require_loop(sound, clip, start, gain, what, tolerance=ROUNDING):
    """Fails unless a sound is the clip from this frame on, sample for sample, times a factor."""
    expected = around(clip, start, sound.shape[1]) * gain
    error = numpy.max(numpy.abs(sound - expected), axis=0)
    if peak(error) <= tolerance:
        return
    first = int(numpy.argmax(error > tolerance))
    piece = sound[:, first : first + 4096]
    place, likeness = place_in_loop(piece, clip)
    raise Failed(
        f"{what}: not the clip from frame {start} on; it differs by {peak(error):.3g}, first at sample {first}, which sounds like "
        f"frame {place} of the clip (likeness {likeness:.4f}) where frame {(start + first) % clip.shape[1]} belongs"
    )


def lag_near(piece, expected, most):
    """By how many samples a piece comes later than expected, and how much it sounds like it. Both have `most` samples of room at each end."""
    size = 1 << int(numpy.ceil(numpy.log2(piece.shape[1] + expected.shape[1])))
    products = numpy.zeros(size)
    for ours, theirs in zip(piece.astype(numpy.float64), expected.astype(numpy.float64)):
        products += numpy.fft.irfft(numpy.fft.rfft(ours, size) * numpy.conj(numpy.fft.rfft(theirs, size)), size)
    lags = numpy.arange(-most, most + 1)
    likeness = products[lags] / (numpy.linalg.norm(piece) * numpy.linalg.norm(expected) + 1e-12)
    best = int(numpy.argmax(likeness))
    return int(lags[best]), float(likeness[best])
