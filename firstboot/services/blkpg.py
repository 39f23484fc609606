"""Adding one partition to the running kernel: the ioctl behind addpart(8).

Debian 13's util-linux no longer ships addpart, and partx only adds what the table on the card
already says. Structures: linux/blkpg.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os

from services.disk import Disk

BLKPG = 0x1269
BLKPG_ADD_PARTITION = 1
NAME_SIZE = 64


class _Partition(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_longlong),
        ("length", ctypes.c_longlong),
        ("pno", ctypes.c_int),
        ("devname", ctypes.c_char * NAME_SIZE),
        ("volname", ctypes.c_char * NAME_SIZE),
    )


class _Argument(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("datalen", ctypes.c_int),
        ("data", ctypes.c_void_p),
    )


def add_partition(disk: Disk, number: int, start: int, size: int) -> None:
    """Make the kernel see ``size`` bytes at ``start`` as a partition; writes nothing to the card.

    Raises OSError, EBUSY among others when the number is taken.
    """
    partition = _Partition(start=start, length=size, pno=number)
    argument = _Argument(
        op=BLKPG_ADD_PARTITION,
        datalen=ctypes.sizeof(partition),
        data=ctypes.addressof(partition),
    )
    descriptor = os.open(disk.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, BLKPG, argument)
    finally:
        os.close(descriptor)
