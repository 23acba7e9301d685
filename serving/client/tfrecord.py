"""The TFRecord framing: length (uint64), its checksum, the record, its checksum; little-endian, masked CRC-32C."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")


def frame(record: bytes) -> bytes:
    """A record as it stands in a file."""
    length = struct.pack("<Q", len(record))
    return length + _CHECKSUM.pack(_masked(length)) + record + _CHECKSUM.pack(_masked(record))


def read(file: BinaryIO) -> Iterator[bytes]:
    """The records of a file.

    Raises:
        EOFError: the file ends inside a record, as one does whose writer was killed; all whole ones came before.
        ValueError: a checksum does not fit.
    """
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise EOFError
        length, checksum = _HEADER.unpack(header)
        if checksum != _masked(header[:8]):
            raise ValueError(f"a record's length must fit its checksum, byte {file.tell() - len(header)} is wrong")
        body = file.read(length + _CHECKSUM.size)
        if len(body) < length + _CHECKSUM.size:
            raise EOFError
        if _CHECKSUM.unpack(body[length:])[0] != _masked(body[:length]):
            raise ValueError(f"a record must fit its checksum, that before byte {file.tell()} does not")
        yield body[:length]


def _masked(part: bytes) -> int:
    checksum = google_crc32c.value(part)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
