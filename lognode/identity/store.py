"""Secret files on disk: the node key, the tokens, and the passphrase of the key.

Owns modes, durability and who may read. Must not know what the secrets are for. Invariant: a secret is at no moment
readable by others, a file is there whole or not at all, and a key file is never overwritten.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits import SECRET_BYTES_MAX
from lognode.identity.keyfile import KEY_FILE_BYTES_MAX, open_seed, public_of, seal_seed

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def create_key_file(path: Path, seed: bytes, passphrase: bytes | None, random_bytes: Callable[[int], bytes]) -> None:
    """Keep the seed at `path`, where no file is yet; durable on return.

    Raises CallerError("key.exists"), CallerError("key.passphrase") for an empty passphrase, or as `write_secret_file`.
    """
    try:
        # A link, unlike a rename, refuses a name that is taken.
        _write(path, seal_seed(seed, passphrase, random_bytes), os.link)
    except FileExistsError as error:
        raise CallerError("key.exists", str(path)) from error


def replace_key_file(path: Path, new: Path, former: Path) -> None:
    """Put the key file `new` in the place of `path`, whose content stays at `former`; durable on return.

    There is a whole key file at `path` at every moment. Raises as `load_key_file` and `write_secret_file` do.
    """
    write_secret_file(former, _read_key_file(path))
    try:
        new.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise NodeFault("data_dir.unwritable", f"{path}: {error.strerror}") from error


def load_key_file(path: Path, passphrase: bytes | None) -> bytes:
    """The seed that is kept at `path`.

    Raises CallerError key.missing, key.permissions, key.malformed, key.passphrase or file.unreadable.
    """
    text = _read_key_file(path)
    try:
        return open_seed(text, passphrase)
    except CallerError as error:
        error.place = str(path)
        raise


def read_public(path: Path) -> bytes:
    """The node's public key, which no passphrase hides. Raises as `load_key_file` does."""
    text = _read_key_file(path)
    try:
        return public_of(text)
    except CallerError as error:
        error.place = str(path)
        raise


def find_passphrase(environ: Mapping[str, str]) -> bytes | None:
    """The key file's passphrase: of LOGNODE_KEY_PASSPHRASE_FILE, else of the systemd credential key-passphrase.

    One newline at its end does not count. None when neither is there. Raises CallerError("file.unreadable"), or
    CallerError("key.passphrase") for an empty file.
    """
    named, folder = environ.get("LOGNODE_KEY_PASSPHRASE_FILE"), environ.get("CREDENTIALS_DIRECTORY")
    if named:
        path = Path(named)
    elif folder and (Path(folder) / "key-passphrase").exists():
        path = Path(folder) / "key-passphrase"
    else:
        return None
    passphrase = _read_small(path).removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise CallerError("key.passphrase", "the passphrase file is empty", place=str(path))
    return passphrase


def write_secret_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, readable by its owner alone, in place of what was there; durable on return.

    Raises NodeFault("data_dir.unwritable" or "disk.full").
    """
    _write(path, content, os.replace)


def sync_directory(folder: Path) -> None:
    """Make durable which names are in a directory. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_token(path: Path) -> bytes:
    """The token that is kept at `path`.

    Raises CallerError("file.unreadable"), or CallerError("token.missing") when no token is in it.
    """
    token = _read_small(path).strip()
    # It goes into an HTTP header, where a space or newline inside it would start something else.
    if not token or not all(0x20 < char < 0x7F for char in token):
        raise CallerError("token.missing", "the file holds no token", place=str(path))
    return token


def _write(path: Path, content: bytes, place: Callable[[str, Path], None]) -> None:
    """Write a temporary file beside `path`, then `place` it there; only FileExistsError goes out as it is."""
    try:
        file, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            place(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        code = "disk.full" if error.errno in _FULL else "data_dir.unwritable"
        raise NodeFault(code, f"{path}: {error.strerror}") from error


def _read_key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _OTHERS:
                raise CallerError("key.permissions", f"its mode is {mode:04o}", place=str(path))
            return file.read(KEY_FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise CallerError("key.missing", str(path)) from error
    except OSError as error:
        raise CallerError("file.unreadable", f"{path}: {error.strerror}") from error


def _read_small(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise CallerError("file.unreadable", f"{path}: {error.strerror}") from error
    if len(content) > SECRET_BYTES_MAX:
        raise CallerError("file.unreadable", f"{path}: more than {SECRET_BYTES_MAX} bytes")
    return content
