"""Machine code on disk, for the processes to come.

Numba's own cache has one index for a function, which writers overwrite for each other, and knows of a change only in
the file of that function: it can return the code of another version, or of another signature [1]_ [2]_. Here a file's
name is the hash of everything that its code depends on: the sources of the whole package, versions, processor, options,
function, argument types. Nothing is ever overwritten by something else, so there is nothing to lock. A file appears
whole or not at all; its contents carry a hash and the key, and whatever is not as it should be counts as not there.

What is loaded runs, so only a folder is used that belongs to this user and that nobody else can write to.

``NBSMCE_CACHE_DIR`` names the folder, ``NBSMCE_CACHE=0`` switches this off.

.. [1] numba/numba#1833, #4807, #10128
.. [2] numba/numba#10486
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import _imported_at

_MAGIC = b"nbsmce1\n"
_HASH = 32
_DAY = 86400.0
_KEPT_DAYS = 30
_PACKAGE = Path(__file__).parent
_CLOCK_OF_FILES = 0.05  # seconds that it may lag behind
_HERE = os.open in os.supports_dir_fd  # names are looked up in an open folder, which nobody can exchange meanwhile


class Unusable(Exception):
    """Why a folder cannot be used."""


class Store:
    """Entries by key, in a folder that is found when it is first needed."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """The last thing that went wrong; nothing is raised for it."""
        self._stamp: bytes | None = None

    def load(self, key: str) -> Any:
        """What was saved for ``key``, or None."""
        return self._tried(lambda: self._load(self._whole(key)))

    def save(self, key: str, value: Callable[[], Any]) -> None:
        """Keep what ``value()`` returns for other processes."""
        self._tried(lambda: self._save(self._whole(key), value()))

    def _tried(self, work: Any) -> Any:
        try:
            return work() if enabled() else None
        except Exception as error:  # a cache is never a reason to fail
            self.problem = f"{type(error).__name__}: {error}" if not isinstance(error, Unusable) else str(error)
            return None

    def _whole(self, key: str) -> bytes:
        if self._stamp is None:
            self._stamp = package_stamp()
        return self._stamp + key.encode()

    def _load(self, key: bytes) -> Any:
        import pickle

        try:
            with _opened(create=False) as folder, folder.file(_name(key), os.O_RDONLY) as file:
                status = os.fstat(file.fileno())
                _trust(status, "a file")
                content = file.read()
                if time.time() - status.st_mtime > _DAY:
                    os.utime(file.fileno() if os.utime in os.supports_fd else folder.path(_name(key)))
        except FileNotFoundError:
            return None
        start = len(_MAGIC) + _HASH
        body = content[start:]
        if content[:start] != _MAGIC + _digest(body):
            raise ValueError(f"{_name(key)} is damaged, and not used")
        length = int.from_bytes(body[:4], "little")
        return pickle.loads(body[4 + length :]) if body[4 : 4 + length] == key else None

    def _save(self, key: bytes, value: Any) -> None:
        from numba.core.serialize import dumps

        body = len(key).to_bytes(4, "little") + key + dumps(value)
        with _opened(create=True) as folder:
            folder.prune()
            folder.write(_name(key), _MAGIC + _digest(body) + body)


def _digest(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).digest()


def _name(key: bytes) -> str:
    return _digest(key).hex()[:40] + ".bin"


def package_stamp() -> bytes:
    """A hash of the sources of the package. They must be those that this process has imported."""
    import hashlib

    hashed = hashlib.sha256()
    sources = sorted(p for p in _PACKAGE.rglob("*.py*") if p.suffix == ".py" or "__pycache__" not in p.parts)
    if not sources:
        raise Unusable("the sources of nbsmce are not files, so a change of them would not be noticed")
    for path in sources:
        status = path.stat()
        if max(status.st_mtime, status.st_ctime) > _imported_at - _CLOCK_OF_FILES:
            raise Unusable(f"{path.name} has changed since nbsmce was imported")
        hashed.update(f"{path.relative_to(_PACKAGE)}\0{status.st_size}\0".encode())
        hashed.update(path.read_bytes())
    return hashed.digest()


# -- the folder --------------------------------------------------------------------------------------------------------


def enabled() -> bool:
    """Whether machine code is kept on disk at all."""
    return os.environ.get("NBSMCE_CACHE", "1") != "0"


def location() -> Path:
    """Where it is kept: ``NBSMCE_CACHE_DIR``, else below the folder that the system has for caches."""
    chosen = os.environ.get("NBSMCE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ["LOCALAPPDATA"]) / "nbsmce" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nbsmce"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbsmce"


def _trust(status: os.stat_result, what: str) -> None:
    """Raise unless something belongs to this user alone."""
    if not hasattr(os, "geteuid"):
        return  # Windows: below the user's own folder
    if status.st_uid != os.geteuid():
        raise Unusable(f"{what} in {location()} belongs to another user")
    if status.st_mode & 0o022:
        raise Unusable(f"{what} in {location()} can be written by other users")


class _Folder:
    """An open folder; names are relative to it."""

    def __init__(self, folder: Path, descriptor: int | None) -> None:
        self._folder, self._descriptor = folder, descriptor

    def path(self, name: str) -> str:
        return name if self._descriptor is not None else str(self._folder / name)

    def file(self, name: str, flags: int) -> Any:
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self.path(name), flags, 0o600, dir_fd=self._descriptor)
        return os.fdopen(descriptor, "rb" if flags & (os.O_WRONLY | os.O_RDWR) == 0 else "wb")

    def write(self, name: str, content: bytes) -> None:
        """A file that is there with all of its content or not at all."""
        draft = f"{name}.{os.getpid()}.{time.monotonic_ns()}.tmp"
        try:
            with self.file(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                file.write(content)
            folder = self._descriptor
            os.replace(self.path(draft), self.path(name), src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(draft)
            raise

    def entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """The files that this module has written."""
        for name in os.listdir(self._folder if self._descriptor is None else self._descriptor):  # noqa: PTH208
            if name.endswith((".bin", ".tmp")) and len(name) >= 44:
                with contextlib.suppress(FileNotFoundError):
                    yield name, os.stat(self.path(name), dir_fd=self._descriptor, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file, unless another process has done so."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name), dir_fd=self._descriptor)

    def prune(self) -> None:
        """Remove what has not been used for a month, and what writers that were killed have left."""
        for name, status in self.entries():
            age = time.time() - status.st_mtime
            if age > (_DAY if name.endswith(".tmp") else _KEPT_DAYS * _DAY):
                self.remove(name)


@contextlib.contextmanager
def _opened(create: bool) -> Iterator[_Folder]:
    folder = location()
    if create:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _HERE:
        _trust(folder.stat(), "the folder")
        yield _Folder(folder, None)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _trust(os.fstat(descriptor), "the folder")
        yield _Folder(folder, descriptor)
    finally:
        os.close(descriptor)


def contents() -> tuple[int, int]:
    """How many files are kept, and their bytes."""
    try:
        with _opened(create=False) as folder:
            sizes = [status.st_size for _, status in folder.entries() if stat.S_ISREG(status.st_mode)]
    except FileNotFoundError:
        return 0, 0
    return len(sizes), sum(sizes)


def clear() -> int:
    """Remove them, and say how many they were."""
    try:
        with _opened(create=False) as folder:
            names = [name for name, _ in folder.entries()]
            for name in names:
                folder.remove(name)
    except FileNotFoundError:
        return 0
    return len(names)


store = Store()
