"""Lorelei in Ardour with its window: the editor opens, has a picture, and a clip dragged out of it becomes a region.

Screenshots are kept among the artefacts: `ardour.png`, `editor.png`, `ardour-after-drag.png`.
"""

import re
import shutil
import time
from pathlib import Path

import ardour
import common
import desktop as screen
from common import Failed, NotRun, figure, numpy, require
from desktop import Desktop

SCRIPT = Path(__file__).with_name("ardour_headless.lua")
RATE_HZ = 44_100
BLOCK = 1024
# A busy machine parts Ardour from JACK now and then.
ATTEMPTS = 2
# A picture of fewer colours is a blank window or an error box.
LEAST_COLOURS = 60
# Where the editor's clip is taken, as shares of the editor's width and height.
DRAG_FROM = (0.6, 0.5)
# Where it is dropped, in the session's window: below the tracks, where the editor does not cover them.
DROP_SHARE = (0.92, 0.75)

# What Ardour writes after a first start with JACK, so that it starts without questions.
CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<Ardour>
  <Config>
    <Option name="try-autostart-engine" value="1"/>
  </Config>
  <Extra>
    <AudioMIDISetup>
      <EngineStates>
        <State backend="JACK" driver="" device="" input-device="" output-device="" sample-rate="44100" buffer-size="1024" n-periods="0"
          input-latency="0" output-latency="0" lm-input="" lm-output="" active="1" use-buffered-io="0" midi-option="" lru="1">
          <MIDIDevices/>
        </State>
      </EngineStates>
    </AudioMIDISetup>
  </Extra>
</Ardour>
"""


def main(arguments):
    for program in ["ardour", *screen.PROGRAMS]:
        if shutil.which(program) is None:
            raise NotRun(f"{program} is not installed; cargo xtask hosts --install brings it")
    figure("Ardour", ardour.version())
    ardour.scan(arguments)
    made = arguments.work / "song"
    ardour.lua(arguments, SCRIPT, "make", made, made.name, common.clips_folder())
    configure(arguments)
    show_editor_at_start(made)
    for attempt in range(ATTEMPTS):
        session = arguments.work / f"attempt-{attempt}" / made.name
        shutil.copytree(made, session)
        desktop = Desktop(arguments, ardour.environment(arguments), RATE_HZ, BLOCK)
        try:
            return check(arguments, session, desktop)
        except Failed:
            if attempt + 1 == ATTEMPTS or not has_lost_audio(arguments):
                raise
            figure("tried again", "Ardour lost its audio server")
        finally:
            desktop.end()


def configure(arguments):
    folder = arguments.work / "config" / "ardour7"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config").write_text(CONFIG)
    # Says that the questions of a first start were answered.
    (folder / ".a7").touch()


def show_editor_at_start(session):
    """Marks the plugin's window as open, and leaves out with what audio device the session was made, about which Ardour would ask."""
    path = session / f"{session.name}.ardour"
    text = re.sub(r"<EngineHints [^>]*/>", "", path.read_text())
    route = re.search(r'<Route [^>]*id="(\d+)" name="Lorelei".*?</Route>', text, re.DOTALL)
    require(route, f"{path} has no track Lorelei")
    plugin = re.search(r'<Processor id="(\d+)" name="Lorelei"', route.group(0))
    require(plugin, f"the track in {path} has no plugin")
    window = f'<Window name="P-{route.group(1)}-{plugin.group(1)}" visible="1" x-off="30" y-off="30" x-size="-1" y-size="-1" custom-ui="1"/>'
    if "<UI>" in text:
        text = text.replace("<UI>", f"<UI>{window}", 1)
    elif "<Extra>" in text:
        text = text.replace("<Extra>", f"<Extra><UI>{window}</UI>", 1)
    elif "<Extra/>" in text:
        text = text.replace("<Extra/>", f"<Extra><UI>{window}</UI></Extra>", 1)
    else:
        text = text.replace("</Session>", f"<Extra><UI>{window}</UI></Extra></Session>")
    path.write_text(text)


def has_lost_audio(arguments):
    """Whether JACK and Ardour have parted."""
    return "JACK HALTED" in (arguments.work / "ardour.log").read_text()


def check(arguments, session, desktop):
    started = time.perf_counter()
    program = desktop.start("ardour", "--no-announcements", "--no-splash", str(session / f"{session.name}.ardour"))
    main_window = desktop.await_window(f"^{session.name} - Ardour$", program)
    figure("session open", f"{time.perf_counter() - started:.1f} s after Ardour's start")
    editor = desktop.await_window("Lorelei.*Lorelei", program)
    time.sleep(5)
    desktop.picture("root", "ardour.png")
    pixels = desktop.picture(editor, "editor.png")
    colours = len(numpy.unique(pixels, axis=0))
    left, top, width, height = desktop.geometry(editor)
    figure("editor", f"{width} x {height}, {colours} colours")
    require(colours >= LEAST_COLOURS, f"the editor's picture has {colours} colours: it is blank; see {arguments.artefacts}/editor.png")
    drag_out(arguments, session, desktop, main_window, (left, top, width, height))


def drag_out(arguments, session, desktop, main_window, editor):
    """A clip dragged from the editor to the session becomes a region."""
    before = sources(session)
    left, top, width, height = editor
    start = (round(left + DRAG_FROM[0] * width), round(top + DRAG_FROM[1] * height))
    main_left, main_top, main_width, main_height = desktop.geometry(main_window)
    end = (round(main_left + DROP_SHARE[0] * main_width), round(main_top + DROP_SHARE[1] * main_height))
    desktop.drag(start, end)
    time.sleep(4)
    desktop.picture("root", "ardour-after-drag.png")
    desktop.xdotool("mousemove", *end)
    desktop.xdotool("key", "ctrl+s")
    time.sleep(3)
    new = sources(session) - before
    require(new, f"no region came of the drag; see {arguments.artefacts}/ardour-after-drag.png")
    files = sorted(path for path in (session / "interchange" / session.name / "audiofiles").iterdir() if path.name in new)
    require(len(files) == 2, f"the region has the files {files} instead of a left and a right one")
    sound = numpy.concatenate([common.read_sound(path)[0] for path in files])
    clip, _, _ = common.read_clip(common.await_clip([]))
    place, likeness = common.place_in_loop(sound[:, : 2 * RATE_HZ], clip)
    require(sound.shape == clip.shape and place == 0, f"the region of {sound.shape[1]} frames is not the clip of {clip.shape[1]}")
    require(likeness > 0.9999, f"the region does not sound like the clip (likeness {likeness:.4f})")
    figure("dragged out", f"a region of {', '.join(sorted(new))}, the clip's {sound.shape[1]} frames")


def sources(session):
    """The sound files of a session, as it was saved last."""
    text = (session / f"{session.name}.ardour").read_text()
    return set(re.findall(r'<Source name="([^"]+)"', text))


if __name__ == "__main__":
    common.run(main, __doc__)
