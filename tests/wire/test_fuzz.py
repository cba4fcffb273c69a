"""Hostile bytes: whatever arrives, reading it ends, and ends in attributes or in a refusal that names the problem."""

import contextlib

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import MalformedDataset, TooLarge
from dicomd.wire.character_sets import codecs_of, decode_text, encode_text
from dicomd.wire.datasets import decode, encode, from_json, from_xml, to_json, to_xml
from dicomd.wire.elements import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    file_meta,
    layout_of,
    scan,
)
from dicomd.wire.header import Wanted, read_values
from dicomd.wire.metadata import metadata
from tests.data import pydicom_file

SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)
WANTED = Wanted({(0x00080018,): "UI", (0x00100010,): "PN", (0x00280010,): "US", (0x00400275, 0x00400009): "SH"})
SEEDS = [
    pydicom_file(name).read_bytes()
    for name in ("reportsi.dcm", "rtplan.dcm", "MR_small_implicit.dcm", "nested_priv_SQ.dcm", "JPEG2000.dcm", "chrJapMulti.dcm")
]
MARKS = [
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0",
    b"\xfe\xff\xdd\xe0",
    b"\xff\xff\xff\xff",
    b"SQ\0\0",
    b"UN\0\0",
    b"\x08\0\x05\0CS",
]
bounded = settings(deadline=None, max_examples=250, suppress_health_check=list(HealthCheck), database=None)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file with bytes overwritten by nonsense or by structure, cut or doubled."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        piece = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(MARKS)))
        data[at : at + (len(piece) if draw(st.booleans()) else 0)] = piece
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


elements = st.lists(st.one_of(st.sampled_from(MARKS), st.binary(max_size=6), st.just(bytes(4))), max_size=40).map(b"".join)


class FuzzTests(SynchronousTestCase):
    def read(self, data: bytes, syntax: str) -> None:
        """Every reader refuses or succeeds, and what was decoded can be encoded and told."""
        form = layout_of(syntax)
        for reading in (
            lambda: list(scan(data, 0, explicit=form.explicit, little=form.little)),
            lambda: read_values(data, WANTED, 0, explicit=form.explicit, little=form.little),
            lambda: orjson.loads(metadata(data, 0, syntax, "x").json),
        ):
            with contextlib.suppress(MalformedDataset, TooLarge):
                reading()
        try:
            attributes = decode(data, syntax)
        except (MalformedDataset, TooLarge):
            return
        orjson.loads(to_json([attributes]))
        to_xml(attributes)
        try:
            again = decode(encode(attributes, EXPLICIT_LITTLE), EXPLICIT_LITTLE)
        except MalformedDataset:
            return
        self.assertLessEqual(set(again), set(attributes) | {"00080005"})

    @bounded
    @given(damaged())
    def test_damaged_files(self, data: bytes) -> None:
        """Files with damage anywhere."""
        try:
            meta = file_meta(data)
        except MalformedDataset:
            return
        self.read(data[meta.dataset_offset :], meta.transfer_syntax_uid)

    @bounded
    @given(elements, st.sampled_from(SYNTAXES))
    def test_structure(self, data: bytes, syntax: str) -> None:
        """Delimiters, lengths and tags in any order."""
        self.read(data, syntax)

    @bounded
    @given(st.binary(max_size=300), st.sampled_from(SYNTAXES))
    def test_noise(self, data: bytes, syntax: str) -> None:
        """Any bytes at all."""
        self.read(data, syntax)

    json_values = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["vr", "Value", "InlineBinary", "Alphabetic", "00080060", "00081110"]), inner, max_size=4
            ),
        ),
        max_leaves=12,
    )

    @bounded
    @given(
        st.dictionaries(st.sampled_from(["00080060", "00280010", "0009A001", "00081110", "7FE00010"]), json_values, max_size=4)
    )
    def test_json(self, item: dict) -> None:
        """JSON of any shape is refused, or can be encoded or is refused then."""
        try:
            (attributes,) = from_json(orjson.dumps(item))
            encode(attributes, EXPLICIT_LITTLE)
            from_xml(to_xml(attributes))
        except (MalformedDataset, orjson.JSONEncodeError, TypeError) as error:
            self.assertTrue(isinstance(error, MalformedDataset) or "Integer" in str(error), repr(error))

    @bounded
    @given(st.binary(max_size=200))
    def test_xml(self, noise: bytes) -> None:
        """XML with anything inside."""
        for data in (noise, b"<NativeDicomModel>" + noise + b"</NativeDicomModel>"):
            with contextlib.suppress(MalformedDataset):
                from_xml(data)

    @bounded
    @given(
        st.text(max_size=20), st.sampled_from(["ISO_IR 192", "GB18030", "\\ISO 2022 IR 87\\ISO 2022 IR 149", "ISO 2022 IR 13"])
    )
    def test_text(self, text: str, terms: str) -> None:
        """What a character set can hold comes back the same."""
        codecs = codecs_of(terms)
        try:
            raw = encode_text(text, codecs)
        except UnicodeEncodeError:
            return
        if "\x1b" not in text:
            self.assertEqual(decode_text(raw, codecs), text)
