"""Lorelei in Ardour without its window: scan, insert, generate, roll, loop, tempo change, save, restore, export.

What is heard is recorded by a second track, and exported; both are compared with the clip's own file.
"""

import time
from pathlib import Path

import ardour
import common
from common import figure, numpy, require, require_loop, require_near

SCRIPT = Path(__file__).with_name("ardour_headless.lua")
RATE_HZ = 44_100
BLOCK = 1024
BEAT_FRAMES = RATE_HZ // 2
BAR_FRAMES = 4 * BEAT_FRAMES
GAIN = numpy.float32(10.0 ** (-6.0 / 20.0))
# The tempo after two bars.
SLOW_BPM = 96.0
SLOW_BEAT_FRAMES = 60.0 * RATE_HZ / SLOW_BPM
PIECE_FRAMES = 8000
# A start on the beat is smoothed for 3 ms, a jump for 5 ms, and so is the end of a recording.
SMOOTH_FRAMES = round(0.006 * RATE_HZ)
# Ardour rounds positions in the music to 1/1920 quarter; where its tempo has changed there is nothing more exact.
MOST_TICK_FRAMES = int(numpy.ceil(SLOW_BEAT_FRAMES / 1920))
# Recording from track to track comes later by a block and Ardour's resampler.
MOST_ROUTING_FRAMES = 2 * BLOCK


def main(arguments):
    figure("Ardour", ardour.version())
    started = time.perf_counter()
    ardour.scan(arguments)
    figure("scan by Ardour", f"{time.perf_counter() - started:.2f} s")
    session = arguments.work / "song"
    said = ardour.lua(arguments, SCRIPT, "make", session, session.name, common.clips_folder())
    require(said["parameters"] == "20", f"Ardour sees {said['parameters']} parameters instead of 20")
    key = common.await_clip([])
    clip, rate_hz, recipe = common.read_clip(key)
    require(rate_hz == RATE_HZ, f"the clip has {rate_hz} Hz; this test wants {RATE_HZ}, where nothing is resampled")
    require(recipe["bars"] == 2 and recipe["tempo_bpm"] == 120.0, f"another clip was made than asked for: {recipe}")
    require(clip.shape == (2, 2 * BAR_FRAMES), f"two bars of 4/4 at 120 BPM have {clip.shape[1]} frames")
    rolled(session, clip)
    ardour.make_range_a_loop(session, "range1")
    restored = ardour.lua(arguments, SCRIPT, "loop", session, session.name)
    require_near(float(restored["restored:Gain"]), -6.0, 0.05, "the restored gain")
    require_near(float(restored["restored:Bars"]), 1.0, 0.0, "the restored number of bars")
    require_near(float(restored["restored:Generate"]), 0.0, 0.0, "the restored button")
    require_near(float(restored["tempo"]), SLOW_BPM, 0.0, "the restored tempo")
    require(common.clip_keys() == {key}, "opening the session made another clip")
    looped(session, clip)
    exported(arguments, session, clip)


def read_take(files):
    """A recording; one file a channel."""
    require(len(files) == 2, f"a stereo recording has the files {files}")
    return numpy.concatenate([common.read_sound(path)[0] for path in files])


def rolled(session, clip):
    """What was heard while the transport rolled from bar 1."""
    takes = ardour.recordings(session)
    require(len(takes) == 1, f"one recording was to be made, there are {len(takes)}")
    sound = read_take(takes[0])
    late = routing(sound, clip, 0)
    start = late + SMOOTH_FRAMES
    body = sound[:, start : sound.shape[1] - 2 * BLOCK]
    require(body.shape[1] > 4 * RATE_HZ, f"only {body.shape[1]} samples were recorded")
    require_loop(body, clip, SMOOTH_FRAMES, GAIN, "while the transport rolls")
    figure("rolled", f"{body.shape[1]} samples exact, {late} late by Ardour's way from track to track")


def routing(sound, clip, start):
    """By how much the recording comes later than the transport."""
    at = 2 * BLOCK + SMOOTH_FRAMES
    place, likeness = common.place_in_loop(sound[:, at : at + 2 * PIECE_FRAMES], clip)
    late = (start + at - place) % clip.shape[1]
    require(likeness > 0.999, f"what was recorded is not the clip (likeness {likeness:.4f})")
    require(late <= MOST_ROUTING_FRAMES, f"the recording comes {late} samples later than the transport")
    return late


def looped(session, clip):
    """What was heard while bar 2 went round."""
    sound = read_take(ardour.recordings(session)[-1])
    late = routing(sound, clip, BAR_FRAMES)
    # Ardour may run the recording track before the plugin's, which then hears the block before. Where the loop goes round Ardour does a block in
    # two parts, of which such a track hears the wrong ones.
    is_block_late = late >= BLOCK
    around_seam = BLOCK if is_block_late else SMOOTH_FRAMES
    rounds = 0
    for start in range(late, sound.shape[1] - BAR_FRAMES, BAR_FRAMES):
        piece = sound[:, start + around_seam : start + BAR_FRAMES - around_seam]
        require_loop(piece, clip, BAR_FRAMES + around_seam, GAIN, f"round {rounds + 1} of the loop")
        rounds += 1
    require(rounds >= 2, f"the loop went round {rounds} times")
    seams = f" but for a block at each seam, which is Ardour's way to a track {late} samples late" if is_block_late else ""
    figure("looped", f"{rounds} rounds of bar 2 exact{seams}")


def exported(arguments, session, clip):
    """The exported file holds the clip at its bars; after the change of tempo every beat lies where Ardour has it."""
    sounds = []
    for number in range(2):
        path = arguments.work / f"exported-{number}.wav"
        ardour.export(arguments, session, path)
        sound, rate_hz = common.read_sound(path)
        require(rate_hz == RATE_HZ and sound.shape == (2, 6 * BAR_FRAMES), f"the export has {sound.shape} at {rate_hz} Hz")
        sounds.append(sound)
    sound = sounds[0]
    before = slice(SMOOTH_FRAMES, 2 * BAR_FRAMES - SMOOTH_FRAMES)
    require_loop(sound[:, before], clip, before.start, GAIN, "bars 1 and 2 of the export")
    require(numpy.array_equal(sounds[1][:, before], sound[:, before]), "two exports differ")
    lags = []
    for beat in range(1, 16):
        at = 2 * BAR_FRAMES + round(beat * SLOW_BEAT_FRAMES)
        expected = common.around(clip, beat % 8 * BEAT_FRAMES, PIECE_FRAMES)
        piece = sound[:, at : at + PIECE_FRAMES]
        if piece.shape[1] < PIECE_FRAMES or common.level(expected) < 0.2 * common.level(clip):
            continue
        lag, likeness = common.lag_near(piece, expected, 400)
        require(likeness > 0.9, f"beat {beat + 1} after the change of tempo is not the clip's (likeness {likeness:.3f})")
        require(abs(lag) <= MOST_TICK_FRAMES, f"beat {beat + 1} after the change of tempo comes {lag} samples late")
        lags.append(lag)
    require(lags, "no beat is loud enough to be compared; choose another seed")
    figure("exported", f"2 bars exact, {len(lags)} beats after a change to 96 BPM {min(lags)} to {max(lags)} samples late")


if __name__ == "__main__":
    common.run(main, __doc__)
