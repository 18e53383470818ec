"""Lorelei without a DAW: the program with its window on a JACK server without devices makes a clip by its own keys, and plays it.

It needs the program, which is built only where it is asked for: `cargo build --release -p plugin --features standalone --bin lorelei`.
"""

import os
import shutil
import subprocess
import time

import common
import desktop as screen
from common import NotRun, figure, numpy, require
from desktop import Desktop

RATE_HZ = 44_100
BLOCK = 1024
CLIENT = "lorelei"
SECS = 6
# A rendering of another start, which is smoothed, of a loop that is the same otherwise.
LEAST_LIKENESS = 0.999
PORTS_PATIENCE_SECS = 30.0
# A picture of fewer colours is a blank window.
LEAST_COLOURS = 60


def main(arguments):
    # target/bundled/Lorelei.vst3 lies beside target/release.
    program = arguments.plugin.parent.parent / "release" / "lorelei"
    if not program.is_file():
        raise NotRun(f"{program} is not built: cargo build --release -p plugin --features standalone --bin lorelei")
    for needed in [*screen.PROGRAMS, "jack_rec", "jack_lsp", "jack_transport"]:
        if shutil.which(needed) is None:
            raise NotRun(f"{needed} is not installed; cargo xtask hosts --install brings it")
    engine = arguments.plugin / "Contents" / "Resources" / "lorelei-engine"
    desktop = Desktop(arguments, {**os.environ, "LORELEI_ENGINE": str(engine)}, RATE_HZ, BLOCK)
    try:
        check(arguments, desktop, program)
    finally:
        desktop.end()


def check(arguments, desktop, program):
    lorelei = desktop.start(str(program), "--backend", "jack")
    window = desktop.await_window("Lorelei", lorelei)
    ports = await_ports(desktop)
    figure("JACK ports", ", ".join(ports))
    time.sleep(3)
    colours = len(numpy.unique(desktop.picture(window, "standalone.png"), axis=0))
    require(colours >= LEAST_COLOURS, f"the window has {colours} colours: it is blank; see {arguments.artefacts}/standalone.png")
    desktop.xdotool("windowfocus", "--sync", window)
    # The window takes keys after it was touched.
    left, top, width, height = desktop.geometry(window)
    desktop.xdotool("mousemove", left + width // 2, top + height // 2, "click", 1)
    time.sleep(0.5)
    desktop.xdotool("key", "ctrl+g")
    key = common.await_clip([])
    clip, rate_hz, recipe = common.read_clip(key)
    require(rate_hz == RATE_HZ, f"the clip has {rate_hz} Hz")
    # It follows JACK's transport, which stands still at first.
    subprocess.run(["jack_transport"], input="play\nquit\n", env=desktop.environment, text=True, capture_output=True, timeout=30)
    time.sleep(3)
    desktop.picture(window, "standalone-clip.png")
    sound = record(arguments, desktop, ports)
    require(common.peak(sound) > 0.01, f"what was recorded is silent (peak {common.peak(sound):.5f})")
    piece = sound[:, RATE_HZ : 3 * RATE_HZ]
    place, likeness = common.place_in_loop(piece, clip)
    figure("recorded", f"peak {common.peak(sound):.3f}, likeness to the clip {likeness:.5f}, from its frame {place} on")
    require(likeness > LEAST_LIKENESS, f"what was recorded does not sound like the clip (likeness {likeness:.4f})")
    figure("clip", f"{recipe['bars']} bars at {recipe['tempo_bpm']:.0f} BPM, loops in {clip.shape[1] / RATE_HZ:.2f} s")


def await_ports(desktop):
    """The program's outputs."""
    deadline = time.monotonic() + PORTS_PATIENCE_SECS
    while time.monotonic() < deadline:
        done = subprocess.run(["jack_lsp"], env=desktop.environment, capture_output=True, text=True, timeout=30)
        ports = [port for port in done.stdout.split() if port.startswith(f"{CLIENT}:") and "output" in port.lower()]
        if ports:
            return ports
        time.sleep(0.5)
    raise common.Failed(f"the program has no outputs at JACK: {done.stdout.split()}")


def record(arguments, desktop, ports):
    """Some seconds of what comes out, as [channels, frames]."""
    path = arguments.work / "recorded.wav"
    command = ["jack_rec", "-f", str(path), "-d", str(SECS), "-b", "24", *ports[:2]]
    subprocess.run(command, env=desktop.environment, capture_output=True, check=True, timeout=60)
    shutil.copy(path, arguments.artefacts / "standalone.wav")
    sound, rate_hz = common.read_sound(path)
    require(rate_hz == RATE_HZ, f"the recording has {rate_hz} Hz")
    return sound


if __name__ == "__main__":
    common.run(main, __doc__)
