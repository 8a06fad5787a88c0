"""Every command line in README.md and docs/ is run, each in a folder with the files that it names.

`HOW` has a way for each of them: a command that isn't there fails, and so does a way whose command
no document has any more. Servers get a port that is free, and what `/srv` and the like mean is in
the folder. Machines are started with the drives that a line gives them, and are not let run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from documents import ISOLINUX, ROOT, Sandbox, commands, until
from tools import ENVIRONMENT, missing_dependency, need_tool, output
from vfloppy.nbd.client import Client

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {each: path.name for path in DOCUMENTS for each in commands(path.read_text())}
SYSLINUX_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
OVMF = Path("/usr/share/ovmf/OVMF.fd")


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def need_file(path: Path, package: str) -> None:
    """Skip as `need_tool` does."""
    if not path.exists():
        missing_dependency(f"not installed: {package}")


# --- Ways to run a command ---

Way = Callable[[Sandbox, str], None]


def uri_in(printed: str) -> str:
    """The URI that a server has printed."""
    found = re.search(r"\bat (nbds?://\S+)", printed)
    assert found, printed
    return found[1]


def served(sandbox: Sandbox, command: str) -> None:
    """Served until it is ready, read from, and asked to end."""
    with sandbox.serving(command) as printed, Client(uri_in(printed)) as client:
        assert any(client.read(0, min(client.size, 1 << 16)))


def source_served(sandbox: Sandbox, command: str) -> None:
    """Served, read from, and each request is in the log."""
    with sandbox.serving(command) as printed, Client(uri_in(printed)) as client:
        assert client.read(0, 4096) == bytes(4096)
        assert '"length":4096' in (sandbox.folder / "requests.log").read_text()


def compressed_served(sandbox: Sandbox, command: str) -> None:
    """Served from an image that was built and compressed."""
    need_tool("xz")
    sandbox.run("vfloppy build DIR disk.img && xz disk.img")
    served(sandbox, command)


def redacted(sandbox: Sandbox, command: str) -> None:
    """Served behind the filter of the document: no word of it is left."""
    text = (ROOT / "docs" / "filters.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    (sandbox.folder / "mine.py").write_text(code)
    (sandbox.folder / "DIR" / "hello.txt").write_text("say hello")
    with sandbox.serving(command) as printed, Client(uri_in(printed)) as client:
        data = b"".join(client.read(at, 1 << 20) for at in range(0, 4 << 20, 1 << 20))
    assert b"say *****" in data
    assert b"hello" not in data


def scripted(sandbox: Sandbox, command: str) -> None:
    """Served by the script of the document."""
    text = (ROOT / "docs" / "filters.md").read_text().replace("\n    ", "\n")
    script = text.partition("# zeros.sh\n")[2].partition("esac")[0] + "esac\n"
    (sandbox.folder / "zeros.sh").write_text(script)
    with sandbox.serving(command) as printed, Client(uri_in(printed)) as client:
        assert client.size == 1 << 20
        assert client.read(4096, 5000) == bytes(5000)


def installer_served(sandbox: Sandbox, command: str) -> None:
    """Likewise, with ISOLINUX."""
    need_file(ISOLINUX / "isolinux.bin", "isolinux")
    with sandbox.serving(command) as printed:
        for name, at, mark in (("tools", 510, b"\x55\xaa"), ("installer", 32769, b"CD001")):
            with Client(uri_in(printed).rpartition("/")[0] + f"/{name}") as client:
                assert client.read(at, len(mark)) == mark


def built(
    sandbox: Sandbox, command: str, *, image: str, wants: tuple[Path, str] | None = None
) -> None:
    """Run as it is; an image has to be there. `wants` is a file, and the package that has it."""
    if wants:
        need_file(*wants)
    sandbox.run(command)
    with (sandbox.folder / image).open("rb") as file:
        data = file.read(1 << 16)
    assert data[32769:32774] == b"CD001" if image.endswith(".iso") else data[510:512] == b"\x55\xaa"


def built_of(
    sandbox: Sandbox, command: str, *, image: str, files: tuple[str, ...], sector: str = ""
) -> None:
    """Likewise, of some files and perhaps a boot sector that are made first."""
    for name in files:
        path = sandbox.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    if sector:
        code = b"\xeb\x3c\x90".ljust(510, b"\0") + b"\x55\xaa"
        (sandbox.folder / sector).write_bytes(code)
    built(sandbox, command, image=image)
    listed = output("mdir", "-a", "-b", "-i", f"{sandbox.folder / image}@@1M", "::").splitlines()
    expected = [f"::/{Path(name).name}" for name in files if "/" in name]
    assert listed[: len(expected)] == expected


def told(sandbox: Sandbox, command: str, *, word: str) -> None:
    """Run as it is; a word has to be in what it says."""
    assert word in sandbox.run(command)


def completed(sandbox: Sandbox, command: str) -> None:
    need_tool("bash")
    assert "vfloppy" in sandbox.run(f"bash -c '{command}; complete -p vfloppy'")


def completed_by_fish(sandbox: Sandbox, command: str) -> None:
    """Fish has the folder from its first start on."""
    script = sandbox.folder / ".config" / "fish" / "completions" / "vfloppy.fish"
    script.parent.mkdir(parents=True)
    sandbox.run(command)
    assert "complete" in script.read_text()


def verified(sandbox: Sandbox, command: str) -> None:
    sandbox.run("vfloppy build DIR OUT")
    told(sandbox, command, word="0 differences")


def harvested(sandbox: Sandbox, command: str) -> None:
    """Of an overlay that nobody has written to."""
    with sandbox.serving("vfloppy serve --overlay changes DIR"):
        pass
    told(sandbox, command, word="0 changes")


def copied(sandbox: Sandbox, command: str) -> None:
    need_tool("nbdcopy")
    built(sandbox, command, image="esp.img")


def firmware_started(sandbox: Sandbox, command: str) -> None:
    need_tool("qemu-system-x86_64")
    need_file(OVMF, "ovmf")
    assert "nbd+unix:" in sandbox.run(command)


def at_port(command: str, uri: str) -> str:
    """A client's command with the port of the server that is there, not of the one by default."""
    port = re.search(r":(\d+)/", uri)[1]  # type: ignore[index]
    command = re.sub(r"://(127\.0\.0\.1|host)(:10809)?/", f"://127.0.0.1:{port}/", command)
    return command.replace("host=host,port=10809", f"host=127.0.0.1,port={port}")


DRIVE = "qemu-system-x86_64 -drive file=nbd://127.0.0.1:10809/,format=raw"


def attached(sandbox: Sandbox, command: str, *, serve: str, is_printed: bool = False) -> None:
    """A machine is made with the drive, and shows it; `is_printed`: the server gives that line."""
    need_tool("qemu-system-x86_64")
    with sandbox.serving(serve) as printed:
        line = at_port(command, uri_in(printed))
        assert line in printed or not is_printed
        assert "nbd" in sandbox.run(line)


def mountable(sandbox: Sandbox, command: str) -> None:
    """guestfish takes the options and QEMU the drive; nothing is booted to mount it."""
    need_tool("guestfish", "qemu-img")
    with sandbox.serving("vfloppy serve /some/directory") as printed:
        uri = uri_in(printed)
        line = at_port(command, uri)
        assert line in printed
        options, _mount = line.split(" -m ")
        assert "major" in sandbox.run(f"echo version | {options}")
        assert "virtual size" in sandbox.run(f"qemu-img info -f raw {uri}")


def asked(sandbox: Sandbox, command: str) -> None:
    """A client asks a server, and prints something."""
    need_tool("nbdinfo")
    with sandbox.serving("vfloppy serve DIR") as printed:
        assert sandbox.run(at_port(command, uri_in(printed))).strip()


TLS_SERVER = "vfloppy serve -i 0.0.0.0 --tls require --tls-cert-dir /etc/pki/vfloppy DIR"


def asked_by_tls(sandbox: Sandbox, command: str) -> None:
    """The server of the same block at an address of this machine only, and a client of it."""
    need_tool("openssl", "nbdinfo", "qemu-img")
    make_certificates(sandbox.folder / "etc" / "pki")
    with sandbox.serving(TLS_SERVER.replace("0.0.0.0", "127.0.0.1")) as printed:
        if command != TLS_SERVER:
            assert "size" in sandbox.run(at_port(command, uri_in(printed)))


def make_certificates(folder: Path) -> None:
    """An authority, and what it has signed for a server and a client."""
    folder.mkdir()
    (folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")  # made at once
    request = ("req", *curve, "-nodes", "-subj")
    output("openssl", *request, "/CN=authority", "-x509", "-keyout", "ca-key.pem",
           "-out", "ca-cert.pem", cwd=folder)  # fmt: skip
    for place, name in (("vfloppy", "server"), ("client", "client")):
        (folder / place).mkdir()
        shutil.copy(folder / "ca-cert.pem", folder / place)
        key, certificate = f"{place}/{name}-key.pem", f"{place}/{name}-cert.pem"
        output("openssl", *request, f"/CN={name}", "-keyout", key, "-out", "request", cwd=folder)
        output("openssl", "x509", "-req", "-in", "request", "-CA", "ca-cert.pem", "-CAkey",
               "ca-key.pem", "-CAcreateserial", "-out", certificate, "-extfile", "extensions",
               cwd=folder)  # fmt: skip


SYSLINUX_BUILD = "vfloppy build --mbr-code /usr/lib/syslinux/mbr/mbr.bin DIR disk.img"


def booted(sandbox: Sandbox, command: str) -> None:
    """Installed on the image of the line before, and started by a BIOS until it misses a file."""
    need_file(SYSLINUX_MBR, "syslinux-common")
    need_tool("syslinux", "qemu-system-x86_64")
    text = "SERIAL 0\nPROMPT 0\nDEFAULT none\nLABEL none\n  LINUX not-there\n"
    (sandbox.folder / "DIR" / "syslinux.cfg").write_text(text)
    sandbox.run(SYSLINUX_BUILD)
    sandbox.run(command)
    machine = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none",
         "-serial", "stdio", "-drive", "file=disk.img,format=raw"],
        cwd=sandbox.folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until(machine, b"not-there")
    finally:
        machine.kill()
        machine.communicate()


def made(_sandbox: Sandbox, command: str) -> None:
    """Told by make, and not done: it would install packages."""
    need_tool("make")
    target, directory = command.removeprefix("make ").split(" DIR=")
    planned = output("make", "-n", target, f"DIR={directory}", cwd=ROOT)
    assert f"/vfloppy serve {directory}" in planned
    assert f"vfloppy serve {directory}" in HOW


def left(_sandbox: Sandbox, command: str, *, reason: str) -> None:
    """Not run, for a reason; the extras that it names are looked up."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\[(\w+)\]", command):
        assert extra in known["optional-dependencies"]


from_network = partial(left, reason="it would fetch from elsewhere")
HOW: dict[str, Way] = {
    # README.md
    "git clone ... vfloppy && cd vfloppy": from_network,
    "make serve DIR=/some/directory": made,
    "qemu-system-x86_64 -m 1024 -drive "
    "file=nbd://127.0.0.1:10809/,format=raw,if=virtio,readonly=on": partial(
        attached, serve="vfloppy serve /some/directory", is_printed=True
    ),
    "guestfish --ro --format=raw -a nbd://127.0.0.1:10809/ -m /dev/sda1": mountable,
    "pipx install .": from_network,
    "pipx install '.[speed]'": from_network,
    "vfloppy serve /some/directory": served,
    "vfloppy build /some/directory disk.img": partial(built, image="disk.img"),
    "vfloppy build /some/directory disk.iso": partial(built, image="disk.iso"),
    "vfloppy map /some/directory": partial(told, word="hello.txt"),
    "vfloppy map --json DIR": partial(told, word='"renamed"'),
    'eval "$(vfloppy completion bash)"': completed,
    "vfloppy completion fish > ~/.config/fish/completions/vfloppy.fish": completed_by_fish,
    "vfloppy build DIR OUT": partial(built, image="OUT"),
    "vfloppy verify OUT DIR": verified,
    "vfloppy presets": partial(told, word="ovmf"),
    "vfloppy check DIR": partial(told, word="0 findings"),
    "vfloppy check --format iso --iso-level 1 DIR": partial(told, word="0 findings"),
    "vfloppy bench DIR": partial(left, reason="it takes long; tests/cli/test_bench.py has it"),
    """vfloppy serve ~/esp --run 'nbdcopy "$uri" esp.img'""": copied,
    "vfloppy serve ~/esp --run 'qemu-system-x86_64 -m 512 -bios /usr/share/ovmf/OVMF.fd "
    """-drive file="$uri",format=raw,if=virtio,readonly=on'""": firmware_started,
    "vfloppy serve --for config-2 seed/": served,
    "vfloppy serve --for config-2 --format iso seed/": served,
    "vfloppy serve --writable ~/esp": served,
    "vfloppy serve --overlay changes ~/esp": served,
    "vfloppy serve --format iso -V cidata seed/": served,
    "vfloppy build --boot-bios isolinux/isolinux.bin --boot-uefi-dir esp/ "
    "--hybrid --mbr-code /usr/lib/ISOLINUX/isohdpfx.bin tree/ boot.iso": partial(
        built, image="boot.iso", wants=(ISOLINUX / "isolinux.bin", "isolinux")
    ),
    "vfloppy build --order natural music/ stick.img": partial(
        built_of, image="stick.img", files=("music/2.mp3", "music/10.mp3")
    ),
    "vfloppy build --order /boot.bin --order '/app*.bin' --attrib 'boot.bin=+s+r' --fat 16 fw/ "
    "card.img": partial(built_of, image="card.img", files=("fw/boot.bin", "fw/app1.bin")),
    "vfloppy build --for dos-boot --mbr-code mbr.bin --boot-sector dos.bin c/ dos.img": partial(
        built_of, image="dos.img", files=("c/IO.SYS", "c/MSDOS.SYS", "mbr.bin"), sector="dos.bin"
    ),
    # docs/dropins.md
    "vfloppy install-links DIR": partial(told, word="xorriso"),
    "vfloppy mkisofs -o seed.iso -V cidata -J -r seed/": partial(built, image="seed.iso"),
    # docs/library.md
    "vfloppy build --help": partial(told, word="--boot-uefi-dir"),
    # docs/filters.md
    "vfloppy serve memory:64M --filter log:file=requests.log --filter delay:read=40ms,write=40ms "
    "--filter error:rate=100%,errno=EIO,file=switch": source_served,
    "vfloppy serve disk.img.xz": compressed_served,
    "vfloppy serve DIR --filter mine:Redact:word=hello": redacted,
    "vfloppy serve --no-sandbox script:- < zeros.sh": scripted,
    # docs/migrating.md
    "vfloppy serve --format iso DIR": served,
    "vfloppy serve fat:/dir": served,
    "vfloppy serve fat:floppy:/dir": served,
    "vfloppy serve fat:floppy:12:/dir": served,
    f"{DRIVE},if=virtio,readonly=on": partial(attached, serve="vfloppy serve fat:/dir"),
    f"{DRIVE},if=floppy,readonly=on": partial(attached, serve="vfloppy serve fat:floppy:/dir"),
    f"{DRIVE},snapshot=on": partial(attached, serve="vfloppy serve fat:/dir"),
    SYSLINUX_BUILD: partial(built, image="disk.img", wants=(SYSLINUX_MBR, "syslinux-common")),
    "syslinux --install --offset 1048576 disk.img": booted,
    # docs/nbd.md
    "nbdinfo --map=x-vfloppy:kind nbd://127.0.0.1/": asked,
    "nbdinfo --map=x-vfloppy:file nbd://127.0.0.1/": asked,
    # docs/serving.md
    "vfloppy serve DIR": served,
    "vfloppy serve --writable DIR": served,
    "vfloppy serve --overlay FILE DIR": served,
    "vfloppy serve tools=/srv/tools seed=/srv/seed --default-export seed": served,
    "vfloppy serve --config /etc/vfloppy.toml": installer_served,
    TLS_SERVER: asked_by_tls,
    "nbdinfo 'nbds://host/?tls-certificates=/etc/pki/client'": asked_by_tls,
    "qemu-img info --object tls-creds-x509,id=tls0,endpoint=client,dir=/etc/pki/client "
    "--image-opts driver=nbd,host=host,port=10809,tls-creds=tls0": asked_by_tls,
    "vfloppy serve --idle-exit 60 /srv/tools": served,
    "vfloppy serve --overlay changes DIR": served,
    "vfloppy harvest changes": harvested,
    "vfloppy harvest --to changed.tar changes": harvested,
    "vfloppy harvest --apply changes": harvested,
    "vfloppy serve --write-back DIR": served,
    "vfloppy serve --changes changed.tar DIR": served,
    "vfloppy harvest FILE": partial(left, reason="the same with another name"),
}


def test_every_command_has_a_way_and_every_way_a_command():
    unknown = {each: name for each, name in COMMANDS.items() if each not in HOW}
    assert not unknown, f"say in HOW how these are to be run: {unknown}"
    assert not [each for each in HOW if each not in COMMANDS]


@pytest.mark.parametrize(
    "text",
    [
        "Text:\n\n    vfloppy serve a\n\nMore.\n",
        "```sh\nvfloppy serve a   # why\n```\n",
        "Text:\n\n    vfloppy \\\n        serve a\n",
        "Text:\n\n    # unit\n\n    ExecStart=vfloppy serve a\n",
        "Text with `vfloppy serve a`.\n",
        "Text with `vfloppy serve\na`.\n",
        "Text with `vfloppy serve` and `vfloppy serve a`.\n",
    ],
)
def test_commands_are_found(text):
    assert commands(text) == ["vfloppy serve a"]


def test_a_drive_that_is_refused_is_noticed(sandbox):
    """QEMU's IDE disks can't be read-only."""
    with pytest.raises(AssertionError, match="Block node is read-only"):
        attached(sandbox, DRIVE, serve="vfloppy serve fat:/dir")


def test_what_is_no_command_is_not_found():
    assert commands("```python\nvfloppy serve a\n```\nText\n    vfloppy serve a\n") == []


@pytest.mark.parametrize(
    "command", COMMANDS, ids=[f"{name}: {each}" for each, name in COMMANDS.items()]
)
def test_command(sandbox, command):
    HOW[command](sandbox, command)
