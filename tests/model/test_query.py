"""From URIs and Identifiers to queries."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import attribute
from dicomd.model.keys import Level
from dicomd.model.kinds import FuzzyName, Interval, Single, UidList
from dicomd.model.query import Items, Key, Options, Query, from_identifier, from_parameters
from dicomd.model.status import InvalidRequest, Status

STUDY_ROOT = (Level.STUDY, Level.SERIES, Level.IMAGE)


class ParameterTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Keywords, tags and paths of either."""
        query = from_parameters([("PatientID", "A"), ("00080060", "CT"), ("00400275.ScheduledProcedureStepID", "S")])
        self.assertEqual(
            query.keys,
            (
                Key("00100020", "LO", Single("A")),
                Key("00080060", "CS", Single("CT")),
                Key("00400275", "SQ", Items((Key("00400009", "SH", Single("S")),))),
            ),
        )
        self.assertEqual(query.fields, {"00100020": None, "00080060": None, "00400275": {"00400009": None}})

    def test_universal_keys_are_only_returned(self) -> None:
        """An empty value asks for nothing."""
        self.assertEqual(
            from_parameters([("PatientID", ""), ("PatientName", "*")]), Query(fields={"00100020": None, "00100010": None})
        )

    def test_unknown_names_are_ignored_and_named(self) -> None:
        """Also the keyword that belongs to content items only, and group lengths."""
        query = from_parameters(
            [("PersonName", "*x*"), ("Foo", "1"), ("00100000", "1"), ("PatientID.Foo", ""), ("includefield", "Bar")]
        )
        self.assertEqual((query.keys, query.fields), ((), {}))
        for name, warning in zip(("PersonName", "Foo", "00100000", "PatientID.Foo", "Bar"), query.warnings, strict=True):
            self.assertIn(name, warning)

    def test_page(self) -> None:
        """Limit and offset are unsigned numbers; a maximum number of records is a limit."""
        query = from_parameters([("limit", "5"), ("offset", "10")])
        self.assertEqual((query.limit, query.offset), (5, 10))
        self.assertEqual(from_parameters([("MaximumNumberOfRecords", "3"), ("limit", "5")]).limit, 5)
        self.assertEqual(from_parameters([("limit", "9" * 60)]).limit, 1 << 62)
        for value in ("-1", "1.5", "x", "", "٣", "+1"):
            error = self.assertRaises(InvalidRequest, from_parameters, [("limit", value)])
            self.assertIn("limit", error.comment)

    def test_options(self) -> None:
        """They hold wherever they stand; they are true or false."""
        query = from_parameters([("PatientName", "X"), ("fuzzymatching", "true")])
        self.assertIsInstance(query.keys[0].match, FuzzyName)
        self.assertIn("PatientName", query.warnings[0])
        self.assertRaises(InvalidRequest, from_parameters, [("fuzzymatching", "maybe")])

    def test_include_fields(self) -> None:
        """Repeated and in lists; of a sequence, parts or all."""
        query = from_parameters([("includefield", "PatientID,00400275.00400009"), ("includefield", "00400275.00401001")])
        self.assertEqual(query.fields, {"00100020": None, "00400275": {"00400009": None, "00401001": None}})
        self.assertEqual(from_parameters([("includefield", "00400275.00400009,00400275")]).fields, {"00400275": None})
        self.assertEqual(from_parameters([("includefield", "00400275,00400275.00400009")]).fields, {"00400275": None})
        self.assertTrue(from_parameters([("includefield", "all")]).all_fields)

    def test_path_of_the_resource(self) -> None:
        """UIDs of the path are keys, and must be UIDs."""
        query = from_parameters([], level=Level.SERIES, fixed={"0020000D": "1.2"})
        self.assertEqual(query.keys, (Key("0020000D", "UI", Single("1.2")),))
        self.assertRaises(InvalidRequest, from_parameters, [], fixed={"0020000D": "x"})

    def test_each_attribute_once(self) -> None:
        """Twice is a contradiction, unless it is the same."""
        self.assertRaises(InvalidRequest, from_parameters, [("PatientID", "A"), ("00100020", "B")])
        self.assertEqual(len(from_parameters([("PatientID", "A"), ("00100020", "A")]).keys), 1)

    def test_lists_of_uids(self) -> None:
        """By comma or backslash."""
        for value in ("1.2,1.3", "1.2\\1.3"):
            self.assertEqual(from_parameters([("StudyInstanceUID", value)]).keys[0].match, UidList(frozenset({"1.2", "1.3"})))

    def test_commas_are_text_elsewhere(self) -> None:
        """A description may hold a comma."""
        self.assertEqual(from_parameters([("StudyDescription", "A, B")]).keys[0].match, Single("A, B"))

    def test_combined_ranges(self) -> None:
        """Always on the web."""
        query = from_parameters([("StudyDate", "20060705-20060707"), ("StudyTime", "1000-1800")])
        self.assertEqual(
            query.keys,
            (Key("00080020", "DA", Interval("00080030", ("20060705", "100000.000000"), ("20060707", "180059.999999"))),),
        )

    def test_reversed_ranges(self) -> None:
        """Refused, except the times of a combined range."""
        from_parameters([("StudyDate", "20060705-20060707"), ("StudyTime", "1800-1000")])
        for name, value in (("StudyDate", "20060707-20060705"), ("StudyTime", "1800-1000")):
            error = self.assertRaises(InvalidRequest, from_parameters, [(name, value)])
            self.assertIn(name, error.comment)
            self.assertIn(value, error.comment)


class IdentifierTests(SynchronousTestCase):
    def test_keys_and_fields(self) -> None:
        """Values are keys; everything is returned; the character set, the level and group lengths are neither."""
        query = from_identifier(
            {
                "00080005": attribute("CS", "ISO_IR 100"),
                "00080052": attribute("CS", "STUDY"),
                "00100000": attribute("UL", 10),
                "00100010": attribute("PN", "X*"),
                "0020000D": attribute("UI"),
            },
            levels=STUDY_ROOT,
        )
        self.assertEqual(query.level, Level.STUDY)
        self.assertEqual([key.tag for key in query.keys], ["00100010"])
        self.assertEqual(list(query.fields), ["00100010", "0020000D"])

    def test_level(self) -> None:
        """Missing, unknown or not of the model: A900."""
        for content in (attribute("CS"), attribute("CS", "FRAME"), attribute("CS", "PATIENT")):
            error = self.assertRaises(InvalidRequest, from_identifier, {"00080052": content}, levels=STUDY_ROOT)
            self.assertEqual(error.status, Status.IDENTIFIER_MISMATCH)
        self.assertRaises(InvalidRequest, from_identifier, {}, levels=STUDY_ROOT)

    def test_hierarchy(self) -> None:
        """A single unique key for each higher level, unless queries are relational."""
        series = attribute("CS", "SERIES")
        for study in ({}, {"0020000D": attribute("UI")}, {"0020000D": attribute("UI", "1.2", "1.3")}):
            identifier = {"00080052": series, **study}
            error = self.assertRaises(InvalidRequest, from_identifier, identifier, levels=STUDY_ROOT)
            self.assertEqual(error.offending, (0x0020000D,))
            from_identifier(identifier, levels=STUDY_ROOT, options=Options(relational=True))
        from_identifier({"00080052": series, "0020000D": attribute("UI", "1.2")}, levels=STUDY_ROOT)

    def test_models_without_levels(self) -> None:
        """Worklists and non-patient instances."""
        query = from_identifier(
            {"00400100": attribute("SQ", {"00080060": attribute("CS", "CT"), "00400002": attribute("DA", "20240101-20240102")})}
        )
        self.assertIsNone(query.level)
        inner = query.keys[0].match
        assert isinstance(inner, Items)
        self.assertEqual([key.tag for key in inner.keys], ["00080060", "00400002"])
        self.assertEqual(query.fields, {"00400100": {"00080060": None, "00400002": None}})

    def test_combined_only_when_negotiated(self) -> None:
        """Otherwise each dimension matches alone."""
        keys = {"00080020": attribute("DA", "20060705-20060707"), "00080030": attribute("TM", "1000-1800")}
        self.assertEqual(len(from_identifier(keys).keys), 2)
        self.assertEqual(len(from_identifier(keys, options=Options(combined=True)).keys), 1)
