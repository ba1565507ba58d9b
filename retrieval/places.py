"""Where the processes of one host meet: the folder of their Unix sockets."""

import hashlib
import tempfile
from pathlib import Path

# The kernel's limit for the path of a Unix socket is 108 bytes (unix(7)); a name is appended.
_SOCKET_DIR_LIMIT = 80


def run_dir(home: Path) -> Path:
    """Return the folder of the Unix sockets: in `home`, or in /tmp where that is too long."""
    path = home.absolute() / "run"
    if len(str(path)) <= _SOCKET_DIR_LIMIT:
        return path
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"driftgate-{digest}"


def retrieval_socket(home: Path) -> Path:
    """Return the socket that the retrieval service of this host serves on."""
    return run_dir(home) / "retrieval.sock"
