"""Lorelei in pedalboard: scan, generate, render, automation, state, determinism, notes, several instances, the effect.

pedalboard renders offline with its transport stopped, so that the loop is heard by the parameter `audition`, at its own tempo.
"""

import os
import subprocess
import sys
import time

import common
from common import figure, numpy, require, require_loop, require_near

pedalboard = common.wanted("pedalboard")

RATE_HZ = 44_100
BLOCK = 512
NAMES = ["Lorelei", "Lorelei Effect"]
# The parameters as the host names them; their ids, and so these, never change.
PARAMETERS = (
    "gain_db mode variation audition hear_input pad_a pad_b generate bars key seed lock_seed adapter_1_strength adapter_2_strength "
    "adapter_3_strength adapter_4_strength root_note attack_ms release_ms revision"
).split()
MOST_SCAN_SECS = 0.3
# A start on the beat is smoothed for 3 ms.
START_FRAMES = round(0.0035 * RATE_HZ)
# After this the gain has arrived to 1 part in 10,000: ten time constants of 5 ms.
GAIN_FRAMES = round(0.05 * RATE_HZ)
ROOT_KEY = 60


def main(arguments):
    if arguments.child:
        return child(arguments)
    scan(arguments)
    first_sound(arguments)
    instrument = load(arguments)
    require(list(instrument.parameters) == PARAMETERS, f"parameters are {list(instrument.parameters)} instead of {PARAMETERS}")
    require(instrument.is_instrument, "the host does not see an instrument")
    require(instrument.reported_latency_samples == 0, f"latency is {instrument.reported_latency_samples}, none was expected")
    silent = render(instrument, 0.5)
    require(common.peak(silent) == 0.0, "there is sound before a clip is made")
    clip = generate(instrument, seed=11)
    automation(instrument, clip)
    state(arguments, instrument, clip)
    second_instance(arguments, instrument, clip)
    notes(instrument, clip)
    effect(arguments)


def child(arguments):
    """What runs in processes of its own: `scan`, `first-sound`, and `render STATE SOUND` (a fresh instance with a saved state)."""
    if arguments.child == ["scan"]:
        started = time.perf_counter()
        names = pedalboard.VST3Plugin.get_plugin_names_for_file(str(arguments.plugin))
        print(time.perf_counter() - started, ",".join(names))
    elif arguments.child == ["first-sound"]:
        started = time.perf_counter()
        instrument = load(arguments)
        instrument.bars = 4.0
        instrument.audition = True
        instrument.generate = True
        sound = render(instrument, 0.1)
        print(time.perf_counter() - started, common.peak(sound))
    else:
        _, state_path, sound_path = arguments.child
        instrument = load(arguments)
        with open(state_path, "rb") as file:
            instrument.raw_state = file.read()
        numpy.save(sound_path, render(instrument, 2.5))


def in_child(arguments, work, home=None):
    """Does work in a fresh process, with another home if one is given; gives what it printed."""
    command = [sys.executable, __file__, "--plugin", arguments.plugin, "--work", arguments.work, "--artefacts", arguments.artefacts]
    environment = {**os.environ, "LORELEI_HOME": str(home or os.environ["LORELEI_HOME"])}
    done = subprocess.run([*map(str, command), "--child", *map(str, work)], env=environment, capture_output=True, text=True)
    require(done.returncode == 0, f"{work[0]} in a fresh process failed:\n{done.stderr}")
    return done.stdout


def scan(arguments):
    """The scan of a host: the library is opened and says what is in it. The best of three, so that a busy machine does not decide."""
    secs = []
    for _ in range(3):
        took, names = in_child(arguments, ["scan"]).split(maxsplit=1)
        require(names.strip().split(",") == NAMES, f"the host finds {names.strip()} instead of {NAMES}")
        secs.append(float(took))
    figure("scan", f"{min(secs) * 1000:.0f} ms")
    require(min(secs) < MOST_SCAN_SECS, f"the scan takes {min(secs) * 1000:.0f} ms, {MOST_SCAN_SECS * 1000:.0f} are the most")


def first_sound(arguments):
    """From nothing at all, no engine either, to the first tenth of a second of four bars at 120 BPM."""
    home = arguments.work / "first"
    secs, peak = map(float, in_child(arguments, ["first-sound"], home).split())
    require(peak > 0.0, "the first tenth of a second is silent")
    (clip,) = common.clip_keys(home)
    sound, _, recipe = common.read_clip(clip, home)
    require(recipe["bars"] == 4 and sound.shape == (2, 8 * RATE_HZ), f"another clip was made than asked for: {recipe}")
    figure("first sound, 4 bars at 120 BPM, no engine before", f"{secs:.1f} s")


def load(arguments, name=NAMES[0]):
    started = time.perf_counter()
    plugin = pedalboard.load_plugin(str(arguments.plugin), plugin_name=name)
    if not arguments.child:
        figure(f"load of {name}", f"{(time.perf_counter() - started) * 1000:.0f} ms")
    return plugin


def render(plugin, secs, messages=(), reset=True):
    return plugin.process(list(messages), duration=secs, sample_rate=RATE_HZ, buffer_size=BLOCK, reset=reset)


def generate(instrument, seed):
    """One bar by the parameter; the offline render waits for it, so that it is heard from the first sample on."""
    known = common.clip_keys()
    instrument.bars = 1.0
    # By its raw value, because the host knows only a thousand steps of it.
    instrument.parameters["seed"].raw_value = seed / 999_999
    instrument.audition = True
    instrument.gain_db = -6.0
    gain = gain_of(instrument)
    instrument.generate = True
    started = time.perf_counter()
    sound = render(instrument, 3.0)
    took = time.perf_counter() - started
    instrument.generate = False
    clip, rate_hz, recipe = common.read_clip(common.await_clip(known))
    require(rate_hz == RATE_HZ, f"the clip has {rate_hz} Hz; this test wants {RATE_HZ}, where nothing is resampled")
    require(recipe["bars"] == 1 and recipe["tempo_bpm"] == 120.0, f"another clip was made than asked for: {recipe}")
    require(recipe["seed"] == seed, f"the clip has the seed {recipe['seed']} instead of {seed}")
    require(clip.shape == (2, 2 * RATE_HZ), f"a bar of 4/4 at 120 BPM has {clip.shape[1]} frames instead of {2 * RATE_HZ}")
    require(common.level(clip) > 0.005, "the clip is silent")
    require_loop(sound[:, START_FRAMES:], clip, START_FRAMES, gain, "the first render")
    figure(f"clip of seed {seed} and 3 s of render", f"{took:.1f} s")
    return clip


def gain_of(instrument):
    """The factor of the host's gain parameter, which the host may have rounded."""
    return numpy.float32(10.0 ** (float(instrument.gain_db) / 20.0))


def automation(instrument, clip):
    """The level follows the gain, and moves there without steps."""
    instrument.gain_db = -6.0
    before = gain_of(instrument)
    render(instrument, 1.0)
    instrument.gain_db = -18.0
    after = gain_of(instrument)
    sound = render(instrument, 1.0, reset=False)
    start = RATE_HZ % clip.shape[1]
    late = sound[:, GAIN_FRAMES:]
    require_loop(late, clip, start + GAIN_FRAMES, after, "after the gain was turned down", tolerance=1e-4)
    early = sound[:, :GAIN_FRAMES]
    expected = common.around(clip, start, GAIN_FRAMES)
    is_heard = numpy.abs(expected) > 0.01
    require(is_heard.sum() > 100, "the clip is too quiet for this test; choose another seed")
    times = numpy.broadcast_to(numpy.arange(GAIN_FRAMES), expected.shape)[is_heard]
    values = early[is_heard] / expected[is_heard]
    # The level of an exponential approach with 5 ms.
    wanted = after + (before - after) * numpy.exp(-(times + 1.0) / (0.005 * RATE_HZ))
    error = float(numpy.max(numpy.abs(values - wanted)))
    require(error < 2e-3, f"the gain does not move evenly: it is off by {error:.3g}")
    figure("gain", f"{before:.3f} to {after:.3f} without a step")
    instrument.gain_db = -6.0


def state(arguments, instrument, clip):
    """A saved state gives the same bytes in fresh processes, also where the clip has to be made again."""
    # Rendered before it is saved: the host hands a changed parameter over with the next block only.
    here = render(instrument, 2.5)
    saved = arguments.work / "state"
    saved.write_bytes(instrument.raw_state)
    elsewhere = arguments.work / "elsewhere"
    sounds = []
    for number, home in enumerate([None, None, elsewhere]):
        path = arguments.work / f"sound-{number}.npy"
        in_child(arguments, ["render", saved, path], home)
        sounds.append(numpy.load(path))
    same = [sound.tobytes() == here.tobytes() for sound in sounds]
    require(same[0], "a fresh process with the saved state renders other bytes")
    require(same[1], "two fresh processes render different bytes")
    require(common.clip_keys(elsewhere) == common.clip_keys(), "the clip that was made again has another name")
    require(same[2], "a clip that was made again gives other bytes")
    require_loop(here[:, START_FRAMES:], clip, START_FRAMES, gain_of(instrument), "with the saved state")
    figure("state", f"{saved.stat().st_size} bytes; 3 fresh processes give equal bytes, one of them makes the clip again")


def second_instance(arguments, instrument, clip):
    """Two instances of one project have a clip each."""
    other = load(arguments)
    own = generate(other, seed=12)
    require(not numpy.array_equal(own, clip), "two seeds give the same clip")
    require_loop(render(instrument, 1.0)[:, START_FRAMES:], clip, START_FRAMES, gain_of(instrument), "the first of two instances")


def notes(instrument, clip):
    """In notes mode the root key plays the clip as it is, and an octave higher twice as fast."""
    instrument.mode = "Notes"
    attack = round(0.01 * RATE_HZ)
    frames = RATE_HZ // 2
    gain = gain_of(instrument)
    require(common.peak(render(instrument, 0.5)) == 0.0, "notes mode sounds without a note")
    root = render(instrument, 1.0, [(bytes([0x90, ROOT_KEY, 127]), 0.0), (bytes([0x80, ROOT_KEY, 0]), 0.75)])
    require_loop(root[:, attack:frames], clip, attack, gain, "the root key", tolerance=1e-4)
    require(common.peak(root[:, round(0.9 * RATE_HZ) :]) == 0.0, "a note that was let go sounds on")
    octave = render(instrument, 1.0, [(bytes([0x90, ROOT_KEY + 12, 127]), 0.0)])
    doubled = clip[:, : 2 * frames : 2] * gain
    lag, likeness = common.lag_near(octave[:, attack:frames], doubled[:, attack:frames], 8)
    require(lag == 0 and likeness > 0.95, f"an octave higher: {lag} samples late, likeness {likeness:.3f} to the clip at double speed")
    late = render(instrument, 1.0, [(bytes([0x90, ROOT_KEY, 127]), 0.25)])
    first = int(numpy.argmax(numpy.any(late != 0.0, axis=0)))
    require(0 <= first - RATE_HZ // 4 < 64, f"a note at sample {RATE_HZ // 4} is heard from sample {first} on")
    figure("notes", f"root key exact, octave {likeness:.3f} like the clip at double speed")
    instrument.mode = "Loop"


def effect(arguments):
    """The effect lets through what comes in."""
    plugin = load(arguments, NAMES[1])
    require(plugin.is_effect, "the host does not see an effect")
    noise = numpy.random.default_rng(1).uniform(-0.5, 0.5, (2, RATE_HZ)).astype(numpy.float32)
    through = plugin.process(noise, RATE_HZ, BLOCK)
    require(numpy.array_equal(through, noise), "the effect changes what comes in")
    plugin.hear_input = False
    require_near(common.peak(plugin.process(noise, RATE_HZ, BLOCK)), 0.0, 0.0, "input that is not to be heard")


if __name__ == "__main__":
    common.run(main, __doc__)
