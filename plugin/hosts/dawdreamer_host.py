"""Lorelei in DawDreamer: the loop in the host's time, tempo changes, automation, state.

DawDreamer plays its transport and renders as if in real time, but faster: nothing waits for the generator, so that a clip is made first.
"""

import os
import time

import common
from common import figure, numpy, require, require_loop

# A display that is nobody's: DawDreamer opens the editor when it loads a state, and an X server without a window manager ends it by an error.
os.environ["DISPLAY"] = ":4095"

dawdreamer = common.wanted("dawdreamer")

RATE_HZ = 44_100
BLOCK = 512
BEAT_FRAMES = RATE_HZ // 2
TEMPO_BPM = 120.0
SLOW_BPM = 96.0
PULSES = 960
MINUS_6_DB, MINUS_18_DB = 0.45, 0.35
# A start on the beat is smoothed for 3 ms.
START_FRAMES = round(0.0035 * RATE_HZ)
# Of a beat that is compared: the rest of it may be stretched or faded.
PIECE_FRAMES = 8000
# How far a beat may lie from the host's: positions of blocks are rounded to samples.
MOST_BEAT_FRAMES = 1
# Window of the envelopes that are compared after stretching, and how far apart they may be.
WINDOW_FRAMES = 64
MOST_STRETCHED_SECS = 0.008
SMOOTH_SECS = 0.02


def main(arguments):
    host = Host(arguments.plugin)
    host.set("Gain", MINUS_6_DB)
    host.render(0.5)
    require(common.peak(host.render(1.0)) == 0.0, "there is sound before a clip is made")
    clip = generate(host)
    in_time(host, clip)
    automation(host, clip)
    state(arguments, host)
    tempo_changes(host, clip)
    stretched(host, clip)


class Host:
    """An engine with one instance."""

    def __init__(self, plugin):
        self.engine = dawdreamer.RenderEngine(RATE_HZ, BLOCK)
        self.engine.set_bpm(TEMPO_BPM)
        started = time.perf_counter()
        self.plugin = self.engine.make_plugin_processor("lorelei", str(plugin))
        self.load_secs = time.perf_counter() - started
        self.places = {known["name"]: known["index"] for known in self.plugin.get_parameters_description()}
        self.engine.load_graph([(self.plugin, [])])

    def set(self, name, value):
        require(name in self.places, f"no parameter {name} among {sorted(self.places)}")
        self.plugin.set_parameter(self.places[name], value)

    def text(self, name):
        return self.plugin.get_parameter_text(self.places[name])

    def render(self, secs):
        """Renders from the song's beginning."""
        self.engine.render(secs)
        return self.engine.get_audio().copy()

    def await_sound(self, is_there, what):
        """Renders again and again until what is heard is right: clips come when they are ready."""
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline:
            if is_there(self.render(1.0)):
                return
            time.sleep(0.1)
        raise common.Failed(f"{what} does not come; {common.engine_log()}")


def generate(host):
    """One bar by the parameter."""
    figure("load", f"{host.load_secs * 1000:.0f} ms")
    known = common.clip_keys()
    host.set("Bars", 0.0)
    host.set("Generate", 1.0)
    started = time.perf_counter()
    host.render(0.1)
    key = common.await_clip(known)
    host.set("Generate", 0.0)
    host.render(0.1)
    host.await_sound(lambda sound: common.peak(sound) > 0.0, "the clip")
    figure("clip of one bar", f"{time.perf_counter() - started:.1f} s")
    clip, rate_hz, recipe = common.read_clip(key)
    require(rate_hz == RATE_HZ, f"the clip has {rate_hz} Hz; this test wants {RATE_HZ}, where nothing is resampled")
    require(recipe["bars"] == 1 and recipe["tempo_bpm"] == TEMPO_BPM, f"another clip was made than asked for: {recipe}")
    require(clip.shape == (2, 4 * BEAT_FRAMES), f"a bar of 4/4 at 120 BPM has {clip.shape[1]} frames")
    return clip


def in_time(host, clip):
    """At the clip's tempo its samples are heard as they are, each bar at its place."""
    sound = host.render(10.0)
    require_loop(sound[:, START_FRAMES:], clip, START_FRAMES, gain(-6.0), "five bars at the clip's tempo")
    figure("loop in time", f"{sound.shape[1]} samples exact")


def gain(decibels):
    return numpy.float32(10.0 ** (decibels / 20.0))


def automation(host, clip):
    """The level follows an automated gain without steps."""
    change = 2 * BEAT_FRAMES
    values = numpy.full(4 * BEAT_FRAMES, MINUS_6_DB, dtype=numpy.float32)
    values[change:] = MINUS_18_DB
    require(host.plugin.set_automation(host.places["Gain"], values), "the host refuses to automate the gain")
    sound = host.render(2.0)
    host.plugin.set_automation(host.places["Gain"], numpy.full(8, MINUS_6_DB, dtype=numpy.float32))
    early = slice(START_FRAMES, change - BLOCK)
    require_loop(sound[:, early], clip, early.start, gain(-6.0), "before the automated change", tolerance=1e-5)
    late = change + BLOCK + RATE_HZ // 20
    require_loop(sound[:, late:], clip, late, gain(-18.0), "after the automated change", tolerance=1e-4)
    around_change = slice(change - BLOCK, late)
    ours, theirs = sound[:, around_change], clip[:, around_change]
    is_heard = numpy.abs(theirs) > 0.01
    require(is_heard.sum() > 100, "the clip is too quiet for this test")
    for row, other, heard in zip(ours, theirs, is_heard):
        factors = row[heard] / other[heard]
        distances = numpy.diff(numpy.nonzero(heard)[0])
        # An exponential approach with 5 ms from -6 dB to -18 dB moves by at most this share a sample.
        most = (gain(-6.0) - gain(-18.0)) / (0.005 * RATE_HZ) * distances + 1e-4
        require(numpy.all(numpy.abs(numpy.diff(factors)) <= most), "the automated gain makes a step")
    figure("automated gain", "no step")
    host.render(0.1)


def state(arguments, host):
    """A second instance with the saved state renders the same."""
    path = arguments.work / "state"
    expected = host.render(3.0)
    host.plugin.save_state(str(path))
    other = Host(arguments.plugin)
    try:
        other.plugin.load_state(str(path))
    except RuntimeError as error:
        if "editor" not in str(error):
            raise
        figure("state", f"not loaded, the host wants an editor: {error}")
        return
    texts = {name: (host.text(name), other.text(name)) for name in host.places}
    different = {name: pair for name, pair in texts.items() if pair[0] != pair[1]}
    require(not different, f"parameters differ after loading the state: {different}")
    other.await_sound(lambda sound: common.peak(sound) > 0.0, "the clip of the saved state")
    again = other.render(3.0)
    # A gain that has just arrived where it goes may be a last bit off for a while.
    most = numpy.max(numpy.abs(again - expected))
    require(most < 1e-7, f"the saved state renders other samples, by {most} at most")
    figure("state", f"{path.stat().st_size} bytes, samples equal within 1e-7")


def tempo_changes(host, clip):
    """Right after a change of tempo every beat of the clip lies on the host's, before anything is stretched."""
    pulses = numpy.full(16 * PULSES, TEMPO_BPM)
    pulses[4 * PULSES :] = SLOW_BPM
    host.engine.set_bpm(pulses, ppqn=PULSES)
    sound = host.render(7.0)
    beats = beats_of_host(sound.shape[1])
    lags = []
    for number, at in enumerate(beats[:10]):
        piece = sound[:, at : at + PIECE_FRAMES]
        expected = common.around(clip, number % 4 * BEAT_FRAMES, PIECE_FRAMES)
        lag, likeness = common.lag_near(piece, expected, 400)
        require(likeness > 0.9, f"beat {number} at sample {at} is not the clip's (likeness {likeness:.3f})")
        require(abs(lag) <= MOST_BEAT_FRAMES, f"beat {number} comes {lag} samples late")
        lags.append(lag)
    figure("beats over a change from 120 to 96 BPM", f"{min(lags)} to {max(lags)} samples late")


def beats_of_host(frames):
    """Where the host's beats lie: it changes its tempo with its blocks, by the tempo at a block's beginning."""
    beats, quarters = [0], 0.0
    for start in range(0, frames, BLOCK):
        tempo_bpm = TEMPO_BPM if quarters < 4.0 else SLOW_BPM
        per_frame = tempo_bpm / (60.0 * RATE_HZ)
        after = quarters + BLOCK * per_frame
        while len(beats) < after:
            beats.append(start + int(numpy.ceil((len(beats) - quarters) / per_frame - 1e-6)))
        quarters = after
    return [beat for beat in beats if beat + PIECE_FRAMES <= frames]


def stretched(host, clip):
    """At a tempo that stays the clip is stretched, and its envelope is that of the clip at the new tempo."""
    host.engine.set_bpm(SLOW_BPM)
    host.render(1.0)
    time.sleep(5.0)
    host.render(0.1)
    bar = round(4 * 60 * RATE_HZ / SLOW_BPM)
    sound = host.render(2 * bar / RATE_HZ + 0.1)[:, : 2 * bar]
    at = numpy.arange(0, 2 * bar - WINDOW_FRAMES, WINDOW_FRAMES)
    expected = envelope(clip)[(numpy.round(at * SLOW_BPM / TEMPO_BPM / WINDOW_FRAMES).astype(int)) % (clip.shape[1] // WINDOW_FRAMES)]
    # As loudness grows: otherwise one loud beat, which a stretcher may make louder still, would outweigh all others.
    ours, expected = smooth(numpy.sqrt(envelope(sound)[: len(at)])), smooth(numpy.sqrt(expected))
    most = round(0.05 * RATE_HZ / WINDOW_FRAMES)
    lag, likeness = common.lag_near((ours - ours.mean())[None], (expected - expected.mean())[None], most)
    lag_secs = lag * WINDOW_FRAMES / RATE_HZ
    figure("stretched to 96 BPM", f"envelope {lag_secs * 1000:.1f} ms late, likeness {likeness:.3f}")
    require(likeness > 0.95, f"the stretched clip's envelope is not the clip's (likeness {likeness:.3f})")
    require(abs(lag_secs) <= MOST_STRETCHED_SECS, f"the stretched clip comes {lag_secs * 1000:.1f} ms late")


def smooth(levels):
    """Without what changes within a period of a low tone, whose phases a stretcher does not keep."""
    weights = numpy.hanning(round(2 * SMOOTH_SECS * RATE_HZ / WINDOW_FRAMES) | 1)
    return numpy.convolve(levels, weights / weights.sum(), mode="same")


def envelope(sound):
    """Level of one short window after the other."""
    windows = sound[:, : sound.shape[1] // WINDOW_FRAMES * WINDOW_FRAMES].reshape(2, -1, WINDOW_FRAMES)
    return numpy.sqrt(numpy.mean(numpy.square(windows, dtype=numpy.float64), axis=(0, 2)))


if __name__ == "__main__":
    common.run(main, __doc__)
