"""Specific Character Set (0008,0005): text values <-> bytes (PS3.3 C.12.1.1.2, PS3.5 6.1)."""

import re
from collections.abc import Iterable
from functools import lru_cache

UTF_8 = "ISO_IR 192"

# PS3.3 Tables C.12-2 to C.12-5; the defined terms with spaces in place of `_` and `-`, so that near misses are understood.
_CODECS = {
    "": "",
    "ISO IR 6": "",
    "ISO IR 13": "shift_jis",
    "ISO IR 100": "latin_1",
    "ISO IR 101": "iso8859_2",
    "ISO IR 109": "iso8859_3",
    "ISO IR 110": "iso8859_4",
    "ISO IR 126": "iso8859_7",
    "ISO IR 127": "iso8859_6",
    "ISO IR 138": "iso8859_8",
    "ISO IR 144": "iso8859_5",
    "ISO IR 148": "iso8859_9",
    "ISO IR 166": "tis_620",
    "ISO IR 203": "iso8859_15",
    "ISO IR 192": "utf_8",
    "ISO IR 87": "iso2022_jp",
    "ISO IR 159": "iso2022_jp_2",
    "ISO IR 149": "euc_kr",
    "ISO IR 58": "gb2312",
    "GB18030": "gb18030",
    "GBK": "gbk",
}

# PS3.3 Tables C.12-3 and C.12-4: escape sequence -> (code element, codec)
_ESCAPES = {
    b"(B": ("G0", ""),
    b"(J": ("G0", "shift_jis"),
    b")I": ("G1", "shift_jis"),
    b"-A": ("G1", "latin_1"),
    b"-B": ("G1", "iso8859_2"),
    b"-C": ("G1", "iso8859_3"),
    b"-D": ("G1", "iso8859_4"),
    b"-F": ("G1", "iso8859_7"),
    b"-G": ("G1", "iso8859_6"),
    b"-H": ("G1", "iso8859_8"),
    b"-L": ("G1", "iso8859_5"),
    b"-M": ("G1", "iso8859_9"),
    b"-T": ("G1", "tis_620"),
    b"-b": ("G1", "iso8859_15"),
    b"$)C": ("G1", "euc_kr"),
    b"$)A": ("G1", "gb2312"),
    b"$B": ("wide", "iso2022_jp"),
    b"$@": ("wide", "iso2022_jp"),
    b"$(D": ("wide", "iso2022_jp_2"),
}
_ESCAPE = re.compile(rb"\x1b(\([BJ]|\)I|-[A-DFGHLMTb]|\$\)[AC]|\$[B@]|\$\(D)")
_DELIMITER = re.compile(rb"[\\^=\r\n\f\t]")


def codecs_of(character_set: str | Iterable[str]) -> tuple[str, ...]:
    """The codecs that the values of Specific Character Set name; the default repertoire (and anything unknown) is ""."""
    return _codecs(character_set if isinstance(character_set, str) else "\\".join(character_set))


@lru_cache(maxsize=256)
def _codecs(terms: str) -> tuple[str, ...]:
    return tuple(_CODECS.get(_normal(term), "") for term in terms.split("\\"))


def _normal(term: str) -> str:
    term = term.strip(" \0").upper().replace("_", " ").replace("-", " ")
    return term.replace("ISO 2022 ", "ISO IR ").replace("IR IR ", "IR ").replace("ISO IR GBK", "GBK")


def decode_text(raw: bytes, codecs: tuple[str, ...] = ("",)) -> str:
    """Text as Unicode. Bytes that the declared sets cannot explain become replacement characters, never an error."""
    if raw.isascii() and (len(codecs) == 1 or b"\x1b" not in raw):
        return raw.decode("ascii")
    if b"\x1b" in raw and codecs[0] not in ("utf_8", "gb18030", "gbk"):
        return _decode_extended(raw, codecs[0])
    return _decode(raw, codecs[0])


def _decode(raw: bytes, codec: str) -> str:
    """One fragment in one set; where nothing was declared, UTF-8 is tried before Latin-1, which takes every byte."""
    try:
        return raw.decode(codec or "utf_8")
    except UnicodeDecodeError:
        return raw.decode(codec, "replace") if codec else raw.decode("latin_1")


def _decode_extended(raw: bytes, initial: str) -> str:
    """Text with ISO 2022 escape sequences (PS3.5 6.1.2.5.3)."""
    initial = "shift_jis" if initial.startswith("iso2022") else initial
    parts = _ESCAPE.split(raw)
    right, out = initial, [_decode(parts[0], initial)]
    for escape, fragment in zip(parts[1::2], parts[2::2], strict=True):
        element, codec = _ESCAPES[escape]
        if element == "wide":
            out.append(_decode(b"\x1b" + escape + fragment + b"\x1b(B", codec))
            continue
        right = codec if element == "G1" else right or codec
        delimiter = _DELIMITER.search(fragment) if initial else None
        if delimiter is None:
            out.append(_decode(fragment, right))
        else:
            out += [_decode(fragment[: delimiter.start()], right), _decode(fragment[delimiter.start() :], initial)]
            right = initial
    return "".join(out)


def encode_text(text: str, codecs: tuple[str, ...]) -> bytes:
    """Text as bytes in the given sets; raises UnicodeEncodeError when they cannot hold it."""
    if text.isascii():
        return text.encode("ascii")
    if len(codecs) == 1 and codecs[0] not in _EXTENSION_ONLY and codecs[0] not in ("", "shift_jis"):
        return text.encode(codecs[0])
    return _encode_extended(text, codecs)


_EXTENSION_ONLY = ("iso2022_jp", "iso2022_jp_2", "euc_kr", "gb2312")
_SEQUENCES = {codec: escape for escape, (_, codec) in _ESCAPES.items() if codec and escape not in (b"(J", b"$@")}
_ASCII = re.compile(r"[\x00-\x7f]+")
_COMPONENT = re.compile(r"([\\^=\r\n\f\t])")


def _encode_extended(text: str, codecs: tuple[str, ...]) -> bytes:
    """Text with ISO 2022 escape sequences; each component starts in the initial set (PS3.5 6.1.2.5.3)."""
    return b"".join([_encode_component(part, codecs) for part in _COMPONENT.split(text)])


def _encode_component(text: str, codecs: tuple[str, ...]) -> bytes:
    if text.isascii():
        return text.encode("ascii")
    initial = "" if codecs[0] in _EXTENSION_ONLY else codecs[0]
    active, out = initial, []
    for wide, run in _runs(text, codecs, initial):
        codec, encoded = run
        if codec != active:
            out.append(b"\x1b" + _SEQUENCES[codec])
            active = codec
        out.append(encoded)
        if wide:
            out.append(b"\x1b(B")
            active = initial
    return b"".join(out)


def _runs(text: str, codecs: tuple[str, ...], initial: str) -> Iterable[tuple[bool, tuple[str, bytes]]]:
    """The text cut into runs of one set: (to be left by an escape to ASCII, (codec, bytes))."""
    position, active = 0, initial
    choices = [codec for codec in codecs if codec]
    while position < len(text):
        order = [active, *[codec for codec in choices if codec != active]] if active else choices
        codec, length = max(
            ((codec, _reach(text, position, codec)) for codec in order), key=lambda choice: choice[1], default=("", 0)
        )
        if text[position].isascii() and codec.startswith("iso2022"):
            length = 0
        if length == 0:
            plain = _ASCII.match(text, position)
            if plain is None:
                raise UnicodeEncodeError("ascii", text, position, position + 1, "not in the declared character sets")
            yield False, (active, plain.group().encode("ascii"))
            position = plain.end()
            continue
        run, position = text[position : position + length], position + length
        if codec.startswith("iso2022"):
            yield True, (codec, run.encode(codec)[len(_SEQUENCES[codec]) + 1 : -3])
        else:
            active = codec
            yield False, (codec, run.encode(codec))


def _reach(text: str, start: int, codec: str) -> int:
    """How many characters from `start` the set can hold; for a set of wide characters only those, no ASCII."""
    wide = codec.startswith("iso2022")
    for count in range(len(text) - start):
        character = text[start + count]
        if wide and character.isascii():
            return count
        try:
            encoded = character.encode(codec)
        except UnicodeEncodeError:
            return count
        if wide and not encoded.startswith(b"\x1b" + _SEQUENCES[codec]):
            return count
        if codec == "shift_jis" and (len(encoded) != 1 or encoded.isascii() != character.isascii()):
            return count
    return len(text) - start
