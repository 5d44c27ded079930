"""Just enough ELF to stand in for shared libraries that have to be there, but of which nothing is called.

torch's ARM64 wheels are built for CUDA. Its CPU libraries name CUDA's as needed, so that the loader refuses to start without
them, but bind their functions at the first call (no `DT_BIND_NOW`), which never comes. An empty library of the right name
satisfies the loader. What is bound when a library is loaded, addresses of data and functions in tables, needs a definition:
the symbols of such relocations, `bound_at_load`, less those that another library defines.

Layouts: "System V ABI", chapters 4 and 5; "ELF for the Arm 64-bit Architecture" for the types of relocations.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeclip.errors import InputError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_DYNAMIC = struct.Struct("<qQ")
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64-bit, little-endian, version 1, System V
_SHARED_OBJECT, _AARCH64 = 3, 183
_LOAD, _DYNAMIC_SEGMENT = 1, 2
_ALL_RIGHTS = 7  # read, write, execute
_SHT_RELA, _SHT_DYNSYM = 4, 11
_DT_NULL, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 0, 4, 5, 6, 10, 11, 14
_ABS64, _GLOB_DAT = 257, 1025  # R_AARCH64_*: bound at load, unlike JUMP_SLOT
_RELATIVE = 1027
_DT_RELA, _DT_RELASZ, _DT_RELAENT = 7, 8, 9
_TYPE_INFORMATION = "_ZTI"
_OBJECT_SIZE = 32
_WEAK, _GLOBAL = 2, 1
_OBJECT, _FUNCTION = 1, 2
_RET = 0xD65F03C0
_PAGE = 1 << 16  # the largest of ARM64
_DEFINED = 1  # any section's number; the loader only asks whether it is 0


def defined_symbols(path: Path) -> set[str]:
    """Names of the symbols that a library offers."""
    return {name for name, _, section in _symbols(path) if section}


def bound_at_load(path: Path) -> set[str]:
    """Names of the symbols that have to be found when a library is loaded, but are not its own."""
    names = list(_symbols(path))
    found = set()
    with _mapped(path) as data:
        for section in _sections(data):
            if section.kind != _SHT_RELA:
                continue
            for _, info, _ in _RELOCATION.iter_unpack(data[section.offset : section.offset + section.size]):
                name, binding, where = names[info >> 32]
                if info & 0xFFFFFFFF in (_ABS64, _GLOB_DAT) and not where and binding != _WEAK:
                    found.add(name)
    return found


def empty_library(name: str, symbols: Iterable[str] = (), functions: Iterable[str] = ()) -> bytes:
    """A shared library for ARM64 Linux with that name.

    symbols: each is zero bytes, only that the type information of a C++ class (`_ZTI...`) says the name of its class.
    functions: each returns the address of zero bytes, which is right for those that return a reference to something that
    begins as zero, and for them only.
    """
    data, code = sorted(set(symbols) - set(functions)), sorted(set(functions))
    names = [*data, *code]
    classes = [text for text in data if text.startswith(_TYPE_INFORMATION)]
    strings, places = bytearray(b"\0"), {}
    for text in (name, *names, *(text.removeprefix(_TYPE_INFORMATION) for text in classes)):
        places[text] = len(strings)
        strings += text.encode() + b"\0"
    hash_table = _hash_table(names)
    dynamic = _HEADER.size + 2 * _SEGMENT.size
    dynamic_size = 10 * _DYNAMIC.size
    symbol_table = dynamic + dynamic_size
    relocations = symbol_table + _SYMBOL.size * (len(names) + 1)
    hashes = relocations + _RELOCATION.size * len(classes)
    instructions = hashes + len(hash_table)
    texts = instructions + 8 * len(code)
    size = texts + len(strings)
    zeros = -(-size // 16) * 16  # after the end of the file, so that the loader fills it with zeros
    objects = {text: zeros + _OBJECT_SIZE * index for index, text in enumerate(names)}
    table = [_SYMBOL.pack(0, 0, 0, 0, 0, 0)]
    table += [_SYMBOL.pack(places[text], _GLOBAL << 4 | _OBJECT, 0, _DEFINED, objects[text], _OBJECT_SIZE) for text in data]
    bodies = []
    for text, place in zip(code, range(instructions, texts, 8), strict=True):
        table.append(_SYMBOL.pack(places[text], _GLOBAL << 4 | _FUNCTION, 0, _DEFINED, place, 8))
        bodies.append(struct.pack("<II", _adr_x0(objects[text] - place), _RET))
    entries = (
        (_DT_SONAME, places[name]),
        (_DT_HASH, hashes),
        (_DT_SYMTAB, symbol_table),
        (_DT_SYMENT, _SYMBOL.size),
        (_DT_STRTAB, texts),
        (_DT_STRSZ, len(strings)),
        (_DT_RELA, relocations),
        (_DT_RELASZ, _RELOCATION.size * len(classes)),
        (_DT_RELAENT, _RELOCATION.size),
        (_DT_NULL, 0),
    )
    return b"".join(
        (
            _HEADER.pack(
                *(_IDENT, _SHARED_OBJECT, _AARCH64, 1, 0, _HEADER.size, 0, 0),
                *(_HEADER.size, _SEGMENT.size, 2, _SECTION.size, 0, 0),
            ),
            _SEGMENT.pack(_LOAD, _ALL_RIGHTS, 0, 0, 0, size, zeros + _OBJECT_SIZE * len(names), _PAGE),
            _SEGMENT.pack(_DYNAMIC_SEGMENT, _ALL_RIGHTS, dynamic, dynamic, dynamic, dynamic_size, dynamic_size, 8),
            *(_DYNAMIC.pack(*entry) for entry in entries),
            *table,
            *(  # the second word of a type's information is the address of its name (Itanium C++ ABI, 2.9.5)
                _RELOCATION.pack(objects[text] + 8, _RELATIVE, texts + places[text.removeprefix(_TYPE_INFORMATION)])
                for text in classes
            ),
            hash_table,
            *bodies,
            strings,
        )
    )


def _adr_x0(offset: int) -> int:
    """`adr x0, offset`, in bytes from the instruction."""
    if not 0 <= offset < 1 << 20:
        raise ValueError(f"offset {offset}")
    return 0x10000000 | (offset & 3) << 29 | offset >> 2 << 5


def _hash_table(names: list[str]) -> bytes:
    """The System V hash table of symbols 1..N."""
    count = max(1, len(names))
    buckets, chain = [0] * count, [0] * (len(names) + 1)
    for index, name in enumerate(names, start=1):
        bucket = _hash(name) % count
        chain[index], buckets[bucket] = buckets[bucket], index
    table = struct.pack(f"<{2 + len(buckets) + len(chain)}I", count, len(chain), *buckets, *chain)
    return table + bytes(-len(table) % 8)


def _hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value


class _Section:
    def __init__(self, fields: tuple[int, ...]) -> None:
        _, self.kind, _, _, self.offset, self.size, self.link, _, _, _ = fields


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if data[:6] != _IDENT[:6]:
        data.close()
        raise InputError(f"{path}: is not a 64-bit little-endian ELF file")
    return data


def _sections(data: mmap.mmap) -> list[_Section]:
    fields = _HEADER.unpack_from(data)
    offset, size, count = fields[6], fields[11], fields[12]
    return [_Section(_SECTION.unpack_from(data, offset + size * index)) for index in range(count)]


def _symbols(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, binding and section (0 where it is not defined) of each dynamic symbol."""
    with _mapped(path) as data:
        sections = _sections(data)
        for section in sections:
            if section.kind != _SHT_DYNSYM:
                continue
            strings = sections[section.link]
            texts = data[strings.offset : strings.offset + strings.size]
            for name, info, _, where, _, _ in _SYMBOL.iter_unpack(data[section.offset : section.offset + section.size]):
                yield texts[name : texts.index(b"\0", name)].decode(), info >> 4, where
