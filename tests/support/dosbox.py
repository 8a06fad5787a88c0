"""DOSBox without a window: what its DOS says of an image."""

from __future__ import annotations

from pathlib import Path

from tools import ENVIRONMENT, need_tool, run

_CONFIGURATION = "[mixer]\nnosound=true\n[midi]\nmididevice=none\n"


def dosbox(image: Path, folder: Path, *commands: str) -> str:
    """What commands print, one after the other, of an image that is drive C:; `folder` is for
    DOSBox's own files.
    """
    need_tool("dosbox")
    folder.mkdir(exist_ok=True)
    (folder / "dosbox.conf").write_text(_CONFIGURATION)
    words = ["-conf", str(folder / "dosbox.conf"), "-c", f"mount d {folder}"]
    words += ["-c", f"imgmount c {image} > d:\\0.out"]
    for number, command in enumerate(commands, 1):
        words += ["-c", f"{command} > d:\\{number}.out"]
    quiet = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "HOME": str(folder)}
    run("dosbox", *words, "-c", "exit", env=ENVIRONMENT | quiet, timeout=120)
    printed = [folder / f"{number}.OUT" for number in range(len(commands) + 1)]
    return "".join(each.read_text("cp437") for each in printed)
