"""A disk that a script answers for, by the protocol of nbdkit's sh plugin (nbdkit-sh-plugin(3)).

The script is run once for each thing, with its name as the first argument: `get_size HANDLE`,
`pread HANDLE COUNT OFFSET` (bytes to standard output), `pwrite HANDLE COUNT OFFSET FLAGS` (bytes
from standard input), and others. It exits with 0; 1, an error, told on standard error; 2, there is
no such thing here; 3, no.
"""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..export import Alerts, Buffer, Detached, Features, HostReadError, Piece, Writer, check_range
from ..options import byte_count
from .source import Source, SourceError, in_words

_OK, _MISSING, _NO = 0, 2, 3
_MOST_WORDS = 64 << 10
_SHELL = "/bin/sh"
_MOST_PART = 1 << 20
_PART_BYTES = 64 << 10


class ScriptError(HostReadError):
    """A failure that a script told of."""

    def __init__(self, message: str, number: int = errno.EIO) -> None:
        super().__init__(message)
        self.errno = number


class Script(Source):
    """A script, and what it has said of its disk."""

    def __init__(self, word: str) -> None:
        """`word` is a file, or `-` for a script that comes on standard input."""
        self.name = f"script:{word}"
        self.folder = tempfile.mkdtemp(prefix="vfloppy-script-")
        self._owner = os.getpid()
        try:
            self._command = self._found(word)
            for method in ("load", "config_complete", "get_ready"):
                self.call(method)
            with self.opened() as handle:
                self._size = self._asked_size(handle)
                self.can = {
                    each: self._says_yes(f"can_{each}", handle)
                    for each in ("write", "flush", "trim", "zero")
                }
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise SourceError(str(error)) from error
            raise

    def _found(self, word: str) -> list[str]:
        """Return the command that runs the script. Raise SourceError."""
        if word == "-":
            path = os.path.join(self.folder, "script")
            with open(path, "wb") as file:
                if sys.stdin is not None:
                    shutil.copyfileobj(sys.stdin.buffer, file)
            os.chmod(path, 0o700)  # with a first line `#!`, it is run by that program
        else:
            path = os.path.abspath(word)
            if not os.access(path, os.X_OK) or os.path.isdir(path):
                is_there = os.path.exists(path)
                reason = "is no program; chmod +x makes it one" if is_there else "is not there"
                raise SourceError(f"{self.name}: {path} {reason}")
        with open(path, "rb") as file:
            return [path] if file.read(2) == b"#!" or word != "-" else [_SHELL, path]

    def _asked_size(self, handle: str) -> int:
        said = self.call("get_size", handle)
        text = (said or b"").decode(errors="replace").strip()
        try:
            return byte_count(int(text) if text.isdecimal() else text)
        except ValueError:
            text = f"get_size says {text!r}; a size is expected"
            raise SourceError(f"{self.name}: {text}") from None

    def _says_yes(self, method: str, handle: str) -> bool:
        return self._run((method, handle), b"", _MOST_WORDS)[0] == _OK

    @property
    def size(self) -> int:
        """See `Export.size`."""
        return self._size

    @property
    def features(self) -> Features:
        """See `Export.features`."""
        return Features(writable=self.can["write"], programs=True)

    @property
    def description(self) -> str:
        """See `Source.description`."""
        return f"{self.name}, {in_words(self._size)}"

    def open(self, alerts: Alerts | None = None) -> ScriptWriter:  # noqa: ARG002
        """See `Export.open`."""
        return ScriptWriter(self)

    def close(self) -> None:
        """See `Source.close`."""
        if os.getpid() == self._owner:
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def opened(self) -> Iterator[str]:
        """Provide a handle."""
        handle = self.open_handle()
        try:
            yield handle
        finally:
            self.call("close", handle)

    def open_handle(self) -> str:
        """Return the handle of a new connection."""
        said = self.call("open", "false", "", "false")
        return os.fsdecode(said or b"").removesuffix("\n")

    def call(
        self, method: str, *words: object, data: Buffer = b"", most: int = _MOST_WORDS
    ) -> bytes | None:
        """Return what the script prints, None where it has no such method. Raise ScriptError."""
        status, out, said = self._run((method, *map(str, words)), data, most)
        if status == _OK:
            if len(out) > most:
                raise ScriptError(f"{self.name}: {method} says more than {most} bytes")
            return out
        if status == _MISSING:
            return None
        number, text = _told(said)
        text = text or ("it says no" if status == _NO else f"exit status {status}")
        raise ScriptError(f"{self.name}: {method}: {text}", number)

    def _run(self, words: tuple[str, ...], data: Buffer, most: int) -> tuple[int, bytes, bytes]:
        """Return exit status, what was printed, one byte more than `most` at most, and errors."""
        printed, errors = os.pipe(), os.pipe()
        try:
            try:
                process = self._started(words, data, printed[1], errors[1])
            finally:
                os.close(printed[1])
                os.close(errors[1])
            with process:
                out, said = _heard(printed[0], errors[0], most)
                if len(out) > most:
                    process.kill()
                    process.wait()
                    return _OK, out, said
            return process.returncode, out, said
        finally:
            os.close(printed[0])
            os.close(errors[0])

    def _started(
        self, words: tuple[str, ...], data: Buffer, out: int, errors: int
    ) -> subprocess.Popen[bytes]:
        """Start the script with `data` as its standard input. Raise ScriptError."""
        environment = {**os.environ, "tmpdir": self.folder}
        with tempfile.TemporaryFile() as given:
            given.write(data)
            given.seek(0)
            try:
                command = [*self._command, *words]
                return subprocess.Popen(
                    command, env=environment, stdin=given, stdout=out, stderr=errors
                )
            except OSError as error:
                if error.errno == errno.ENOEXEC and self._command[0] != _SHELL:
                    self._command = [_SHELL, *self._command]  # as a shell does
                    return self._started(words, data, out, errors)
                raise ScriptError(f"{self.name}: {error.strerror}") from error
            except ValueError as error:  # a NUL in a handle
                raise ScriptError(f"{self.name}: {error}") from None


def _heard(printed: int, errors: int, most: int) -> tuple[bytes, bytes]:
    """Return what a program prints, one byte more than `most` at most, and how its errors begin."""
    out, said = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(printed, selectors.EVENT_READ, out)
        selector.register(errors, selectors.EVENT_READ, said)
        while selector.get_map() and len(out) <= most:
            for key, _events in selector.select():
                part = os.read(key.fd, _PART_BYTES)
                if not part:
                    selector.unregister(key.fd)
                elif key.data is out or len(said) < _MOST_WORDS:
                    key.data.extend(part)
    return bytes(out[: most + 1]), bytes(said[:_MOST_WORDS])


def _told(said: bytes) -> tuple[int, str]:
    """Return the number and the text of an error, whose first word may be a number's name."""
    lines = said.decode(errors="replace").strip().splitlines()
    text = lines[0] if lines else ""
    name, _, rest = text.partition(" ")
    number = vars(errno).get(name.rstrip(":")) if name.startswith("E") else None
    return (number, rest.strip() or name) if isinstance(number, int) else (errno.EIO, text)


class ScriptWriter(Writer):
    """A script, as one connection has it; it is told of one when something is first asked."""

    def __init__(self, script: Script) -> None:
        self.size = script.size
        self._script = script
        self._handle: str | None = None

    @property
    def _open_handle(self) -> str:
        if self._handle is None:
            self._handle = self._script.open_handle()
        return self._handle

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Reader.pieces`."""
        check_range(offset, length, self.size)
        if not length:
            return []
        data = self._script.call("pread", self._open_handle, length, offset, most=length)
        if data is None or len(data) < length:
            found = "there is none" if data is None else f"{len(data)} bytes"
            text = f"pread of {length} bytes at {offset}: {found}"
            raise ScriptError(f"{self._script.name}: {text}")
        return [data]

    def write(self, offset: int, data: Buffer) -> None:
        """See `Writer.write`."""
        check_range(offset, len(data), self.size)
        words = (self._open_handle, len(data), offset, "")
        if data and self._script.call("pwrite", *words, data=data) is None:
            raise ScriptError(f"{self._script.name}: there is no pwrite")

    def zero(self, offset: int, length: int, *, may_trim: bool = True, fast: bool = False) -> None:
        """See `Writer.zero`."""
        check_range(offset, length, self.size)
        if not length:
            return
        if self._script.can["zero"]:
            flags = "may_trim" if may_trim else ""
            if self._script.call("zero", self._open_handle, length, offset, flags) is not None:
                return
        if fast:
            raise OSError(errno.ENOTSUP, "zeros are written as data are")
        for start in range(offset, offset + length, _MOST_PART):
            self.write(start, bytes(min(_MOST_PART, offset + length - start)))

    def trim(self, offset: int, length: int) -> None:
        """See `Writer.trim`."""
        check_range(offset, length, self.size)
        if length and self._script.can["trim"]:
            self._script.call("trim", self._open_handle, length, offset, "")

    def flush(self) -> None:
        """See `Writer.flush`."""
        if self._script.can["flush"]:
            self._script.call("flush", self._open_handle, "")

    def detach(self) -> Detached | None:
        """See `Reader.detach`."""
        handle, self._handle = self._handle, None
        return Detached(b"" if handle is None else b"=" + os.fsencode(handle))

    def adopt(self, detached: Detached) -> None:
        """See `Reader.adopt`."""
        if detached.state:
            self._handle = os.fsdecode(detached.state[1:])

    def close(self) -> None:
        """See `Reader.close`."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(HostReadError):  # nobody is there any more to hear of it
                self._script.call("close", handle)
