"""Where the file system puts new files: a hint to ext4, which others ignore.

ext4 takes the inode of a new file from the block group of its folder. Without a journal, it passes over those that were freed
within the last minutes one by one, so each new file is dear where many were removed. Therefore the folder in which new files are
made gets another block group at every start.
"""

import array
import contextlib
import fcntl
import glob
import os

# linux/fs.h, as most processors have it; on the others these requests are unknown, and nothing happens.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000


def move_elsewhere(folder: str) -> None:
    """Put an empty folder into another block group; one that is not empty, or on another file system, stays as it is."""
    parent = os.path.dirname(folder)
    with contextlib.suppress(OSError):
        for left in glob.glob(f"{glob.escape(folder)}-*"):
            os.rmdir(left)
        _spread_folders_of(parent)
        # ext4 chooses by the name among the groups that hold the fewest folders.
        fresh = f"{folder}-{os.urandom(4).hex()}"
        os.mkdir(fresh)
        try:
            os.rename(fresh, folder)
        except OSError:
            os.rmdir(fresh)


def _spread_folders_of(parent: str) -> None:
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = array.array("i", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        flags[0] |= _TOP_OF_HIERARCHIES
        fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    finally:
        os.close(descriptor)
