"""Ardour 7 as the scripts need it: its programs, an environment of its own, its scanner, its sessions' files."""

import os
import re
import shutil
import subprocess

from common import Failed, NotRun, require

# Where the distribution's packages put what is no command.
LIBRARIES = "/usr/lib/ardour7"
SCANNER = f"{LIBRARIES}/ardour-vst3-scanner"
# Superclock ticks a second, in which sessions write times.
TICKS_PER_SECOND = 282_240_000
# Lines that Ardour's libraries print among what a script says.
SAID = re.compile(r"^say (\S+) (.*)$", re.MULTILINE)


def environment(arguments):
    """Configuration and caches in the work folder; the only plugin to be found is the one under test."""
    return {
        **os.environ,
        "XDG_CONFIG_HOME": str(arguments.work / "config"),
        "XDG_CACHE_HOME": str(arguments.work / "cache"),
        "VST3_PATH": str(arguments.plugin.parent),
        "LADSPA_PATH": "/nonexistent",
        "LV2_PATH": "/nonexistent",
    }


def version():
    """Ardour's own word for it; not run where it is not installed."""
    program = require_program("ardour7-lua")
    said = subprocess.run([program, "--version"], capture_output=True, text=True)
    found = re.search(r"version (\S+)", said.stdout + said.stderr)
    return found.group(1) if found else "7"


def require_program(name):
    program = shutil.which(name)
    if program is None:
        raise NotRun(f"{name} is not installed; cargo xtask hosts --install brings it")
    return program


def scan(arguments):
    """Lets Ardour's scanner look at the plugin: sessions only know what it has found, and it looks again after each build."""
    if not os.path.exists(SCANNER):
        raise NotRun(f"{SCANNER} is not there")
    paths = {**environment(arguments), "LD_LIBRARY_PATH": LIBRARIES, "ARDOUR_DATA_PATH": "/usr/share/ardour7"}
    paths |= {"ARDOUR_CONFIG_PATH": "/etc/ardour7", "ARDOUR_DLL_PATH": LIBRARIES}
    command = [SCANNER, "--verbose", "--force", str(arguments.plugin)]
    done = subprocess.run(command, env=paths, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    for name in ("Lorelei", "Lorelei Effect"):
        require(f"Found Plugin: {name}\n" in said, f"Ardour's scanner does not find {name}:\n{said}")


def lua(arguments, script, *work, timeout_secs=200):
    """Runs a script in ardour7-lua; gives what it said by `say NAME VALUE`."""
    command = [require_program("ardour7-lua"), str(script), *map(str, work)]
    try:
        done = subprocess.run(command, env=environment(arguments), capture_output=True, text=True, timeout=timeout_secs)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{work[0]} in Ardour did not end within {timeout_secs} s:\n{late.stdout}\n{late.stderr}") from late
    said = dict(SAID.findall(done.stdout))
    require("done" in said, f"{work[0]} in Ardour failed:\n{done.stdout}\n{done.stderr}")
    return said


def export(arguments, session, sound):
    """The session's range as a sound file in 32 bits, faster than real time."""
    command = [require_program("ardour7-export"), "--bitdepth", "float", "--output", str(sound), str(session), session.name]
    done = subprocess.run(command, env=environment(arguments), capture_output=True, text=True, timeout=120)
    require(sound.exists(), f"Ardour's export wrote nothing:\n{done.stdout}\n{done.stderr}")


def make_range_a_loop(session, name):
    """Scripts can add a range to a session, but not make it the loop; its file can."""
    path = session / f"{session.name}.ardour"
    text = path.read_text()
    changed, count = re.subn(
        rf'(<Location [^>]*name=")({name})("[^>]*flags=")IsRangeMarker"', r'\1Loop\3IsAutoLoop,IsHidden"', text
    )
    require(count == 1, f"{path} has no range {name}")
    path.write_text(changed)


def recordings(session):
    """What was recorded in a session: the files of each take, left and right, in the order of the takes."""
    takes = {}
    for path in (session / "interchange" / session.name / "audiofiles").glob("Take*.wav"):
        number = int(re.match(r"Take(\d+)_", path.name).group(1))
        takes.setdefault(number, []).append(path)
    return [sorted(takes[number]) for number in sorted(takes)]
