"""NBD: serves any export over the protocol, and knows nothing of file systems.

    from vfloppy.nbd import Server, listen_private, listen_tcp, listen_unix

    server = Server([listen_unix("/tmp/disk")], {"name": export}, {"name": "what it is"})
    server.serve_forever()              # until SIGINT or SIGTERM; cleans up, returns None
    status = server.run_captive("cmd")  # or: while /bin/sh -c cmd runs; the command's exit status

`listen_tcp(host, port)` (port 0: any), `listen_unix(path)`, `listen_private()`,
`listen_vsock(port)` and `listen_inherited(os.environ)` return a Listener with `.host`, `.port`,
`.path` and `.close()`, and raise ListenError, whose text is a sentence for the user. `server.uri()`
leads to the default export, `uri_of(listener, name)` to any; `server.close()` gives everything up
without serving. CaptiveError says that the server did not outlive the command. All derive from
VfloppyError.

The process must have one thread. Nothing is printed: the logger "vfloppy.nbd" gets a warning for
each host file that fails (once a message), an error for each connection that crashed, and what
clients did wrong as info.
"""

from ..process.errors import CaptiveError, ListenError, TlsError
from ..process.listeners import (
    Listener,
    listen_inherited,
    listen_private,
    listen_tcp,
    listen_unix,
    listen_vsock,
)
from ..process.sandbox import Sandbox
from ..process.stdio import StdioConnection
from .errors import NbdError, ProtocolError
from .server.connection import Security
from .server.server import Limits, Server
from .uris import uri_of

__all__ = [
    "CaptiveError",
    "Limits",
    "ListenError",
    "Listener",
    "NbdError",
    "ProtocolError",
    "Sandbox",
    "Security",
    "Server",
    "StdioConnection",
    "TlsError",
    "listen_inherited",
    "listen_private",
    "listen_tcp",
    "listen_unix",
    "listen_vsock",
    "uri_of",
]
