"""Where the file system puts new files: a hint to ext4, which others ignore.

ext4 takes the inode of a new file from the block group of its folder. Without a journal, it passes over those that were freed
within the last minutes one by one, so each new file is dear where many were removed. Therefore the folder in which new files are
made gets another block group whenever it is found empty, as after an orderly stop.
"""

import array
import contextlib
import fcntl
import glob
import os
import re

# linux/fs.h, as most processors have it; on the others these requests are unknown, and nothing happens.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000


def move_elsewhere(folder: str) -> None:
    """Put an empty folder into another block group, and tell ext4 that its parent is the top of hierarchies (`chattr +T`).

    One that is not empty, has permissions of its own, or is on another file system stays as it is.
    """
    parent = os.path.dirname(folder)
    with contextlib.suppress(OSError):
        _remove_left_by_a_crash(folder)
        _spread_folders_of(parent)
        # ext4 chooses by the name among the groups that hold the fewest folders.
        fresh = f"{folder}-{os.urandom(4).hex()}"
        os.mkdir(fresh)
        try:
            if _permissions(fresh) != _permissions(folder):
                raise PermissionError
            os.rename(fresh, folder)
        except OSError:
            os.rmdir(fresh)


def _permissions(folder: str) -> object:
    found = os.stat(folder)
    return found.st_mode, found.st_uid, found.st_gid, {name: os.getxattr(folder, name) for name in os.listxattr(folder)}


def _remove_left_by_a_crash(folder: str) -> None:
    for left in glob.glob(f"{glob.escape(folder)}-*"):
        if re.fullmatch("-[0-9a-f]{8}", left.removeprefix(folder)):
            with contextlib.suppress(OSError):
                os.rmdir(left)


def _spread_folders_of(parent: str) -> None:
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = array.array("i", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        flags[0] |= _TOP_OF_HIERARCHIES
        fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    finally:
        os.close(descriptor)
