"""A screen and an audio server without devices, for programs with a window."""

import signal
import subprocess
import time
from pathlib import Path

from common import Failed, numpy, require

SCREEN = (1600, 1000)
SERVER = "lorelei-hosts"
# JACK gives up programs that a busy machine keeps from answering in time, and then nothing works in them: that is nobody's fault.
JACK_PATIENCE_MSECS = 60_000
# How long a window may take on a slow and busy machine without graphics hardware.
WINDOW_PATIENCE_SECS = 90.0
# A drag that is slower than this is one that a hand could do.
DRAG_STEPS = 25
# What it takes, beside the program that is tried.
PROGRAMS = ["Xvfb", "openbox", "jackd", "xdotool", "import"]


class Desktop:
    """A screen of its own with a window manager, and an audio server without devices."""

    def __init__(self, arguments, environment, rate_hz, block):
        self.arguments = arguments
        self.processes = []
        self.environment = {**environment, "LIBGL_ALWAYS_SOFTWARE": "1", "JACK_DEFAULT_SERVER": SERVER}
        self.environment |= {"JACK_NO_AUDIO_RESERVATION": "1", "XDG_DATA_HOME": str(arguments.work / "data")}
        self.environment.pop("WAYLAND_DISPLAY", None)
        screen = self.start("Xvfb", "-displayfd", "1", "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24", "-nolisten", "tcp", says=True)
        number = screen.stdout.readline().strip()
        require(number.isdigit(), "Xvfb does not start")
        self.environment["DISPLAY"] = f":{number}"
        self.start("openbox", "--sm-disable")
        server = ["-n", SERVER, "--no-realtime", "-t", str(JACK_PATIENCE_MSECS)]
        self.start("jackd", *server, "-d", "dummy", "-r", str(rate_hz), "-p", str(block))
        time.sleep(2)

    def start(self, *command, says=False):
        log = open(self.arguments.work / f"{Path(command[0]).name}.log", "w")
        output = subprocess.PIPE if says else log
        process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=log, stdin=subprocess.DEVNULL, text=True)
        self.processes.append(process)
        return process

    def end(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()

    def xdotool(self, *words):
        done = subprocess.run(["xdotool", *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=30)
        return done.stdout

    def windows(self, name):
        """Windows on the screen whose title matches."""
        return self.xdotool("search", "--onlyvisible", "--name", name).split()

    def titles(self):
        """For messages: what is on the screen."""
        windows = self.xdotool("search", "--onlyvisible", "--name", ".").split()
        return sorted({self.xdotool("getwindowname", window).strip() for window in windows})

    def await_window(self, name, program):
        deadline = time.monotonic() + WINDOW_PATIENCE_SECS
        while time.monotonic() < deadline:
            require(program.poll() is None, f"{program.args[0]} ended by itself with {program.poll()}")
            windows = self.windows(name)
            if windows:
                return windows[-1]
            time.sleep(0.25)
        self.picture("root", "failed.png")
        raise Failed(f"no window {name} within {WINDOW_PATIENCE_SECS:.0f} s; there are {self.titles()}")

    def picture(self, window, name):
        """Keeps a screenshot and gives its pixels."""
        path = self.arguments.artefacts / name
        subprocess.run(["import", "-window", window, str(path)], env=self.environment, check=True, timeout=60)
        raw = subprocess.run(["import", "-window", window, "-depth", "8", "rgb:-"], env=self.environment, capture_output=True, timeout=60)
        return numpy.frombuffer(raw.stdout, dtype=numpy.uint8).reshape(-1, 3)

    def geometry(self, window):
        """Left, top, width and height on the screen."""
        said = self.xdotool("getwindowgeometry", "--shell", window)
        values = dict(line.split("=") for line in said.split())
        return tuple(int(values[name]) for name in ("X", "Y", "WIDTH", "HEIGHT"))

    def drag(self, start, end):
        """As a hand would: it presses, moves in steps, rests, and lets go."""
        self.xdotool("mousemove", *start)
        time.sleep(0.5)
        self.xdotool("mousedown", 1)
        time.sleep(0.3)
        for step in range(1, DRAG_STEPS + 1):
            share = step / DRAG_STEPS
            self.xdotool("mousemove", *(round(a + (b - a) * share) for a, b in zip(start, end)))
            time.sleep(0.06)
        time.sleep(1.5)
        self.xdotool("mouseup", 1)
