"""Rendering parameters: what is taken, and that what is refused is named."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import (
    Region,
    RenderingParameters,
    Viewport,
    Window,
    from_query,
    from_uri_query,
    thumbnail_from_query,
)
from dicomd.model.status import InvalidRequest

REFUSED = [
    ("annotation", ""),
    ("annotation", "patient,"),
    ("annotation", "1"),
    ("quality", ""),
    ("quality", "0"),
    ("quality", "101"),
    ("quality", "9.5"),
    ("quality", "high"),
    ("viewport", ""),
    ("viewport", "512"),
    ("viewport", "0,512"),
    ("viewport", "-5,512"),
    ("viewport", "512.5,512"),
    ("viewport", "512,512,1,1,1,1,1"),
    ("viewport", "512,512,a"),
    ("viewport", "512,512,0,0,0,5"),
    ("viewport", "512,512,-1,0"),
    ("window", ""),
    ("window", "40,400"),
    ("window", "40,400,cubic"),
    ("window", "40,x,linear"),
    ("window", "nan,400,linear"),
    ("window", "40,0.5,linear"),
    ("window", "40,0,sigmoid"),
    ("window", "40,-1,linear-exact"),
    ("iccprofile", ""),
    ("iccprofile", "cmyk"),
    ("presentationUID", "x"),
]
REFUSED_BY_URI = [
    ("frameNumber", "0"),
    ("frameNumber", "a"),
    ("imageQuality", "0"),
    ("rows", "0"),
    ("columns", "1e3"),
    ("region", "0,0,1"),
    ("region", "0.5,0,0.4,1"),
    ("region", "0,0,1.1,1"),
    ("windowCenter", "40"),
    ("windowWidth", "400"),
    ("imageAnnotation", ""),
    ("presentationUID", "1.2.3"),
    ("presentationSeriesUID", "1.2.3"),
]


class QueryTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        """Without parameters nothing is asked; other names are none of ours."""
        self.assertEqual(from_query([("accept", "image/png"), ("x", "")]), RenderingParameters())

    def test_all(self) -> None:
        """Every parameter in its full form."""
        given = from_query(
            [
                ("annotation", "technique,patient"),
                ("quality", "75"),
                ("viewport", "512,256,10,20.5,-100,50"),
                ("window", "40,400,linear-exact"),
                ("iccprofile", "srgb"),
            ]
        )
        self.assertEqual(given.annotation, ("patient", "technique"))
        self.assertEqual(given.quality, 75)
        self.assertEqual(given.viewport, Viewport(512, 256))
        self.assertEqual(given.region, Region(10, 20.5, -100, 50))
        self.assertEqual(given.window, Window(40, 400, "LINEAR_EXACT"))
        self.assertEqual(given.icc_profile, "srgb")

    def test_elided_viewport(self) -> None:
        """Inner values may be left out, trailing ones with their commas (8.3.5.1.3)."""
        self.assertEqual(from_query([("viewport", "512,512,,,256,256")]).region, Region(0, 0, 256, 256))
        self.assertEqual(from_query([("viewport", "512,512,5")]).region, Region(5, 0, None, None))
        self.assertIsNone(from_query([("viewport", "512,512")]).region)

    def test_refusals_name_the_parameter(self) -> None:
        """A wrong value is refused with the name of its parameter."""
        for name, value in REFUSED:
            error = self.assertRaises(InvalidRequest, from_query, [(name, value)])
            self.assertTrue(error.comment.startswith(name), (name, value, error.comment))

    def test_twice(self) -> None:
        """A parameter may be given once."""
        self.assertRaises(InvalidRequest, from_query, [("quality", "5"), ("quality", "5")])

    def test_unknown_annotation(self) -> None:
        """Keywords that are not known are ignored and listed (8.3.5.1.1)."""
        given = from_query([("annotation", "patient,weather")])
        self.assertEqual((given.annotation, given.unsupported), (("patient",), ("weather",)))

    def test_window_with_presentation_state(self) -> None:
        """A presentation state has its own window."""
        pairs = [("presentationUID", "1.2.3"), ("window", "1,2,linear")]
        error = self.assertRaises(InvalidRequest, from_query, pairs)
        self.assertIn("window", error.comment)

    def test_thumbnail(self) -> None:
        """A thumbnail takes a viewport without source region."""
        self.assertEqual(thumbnail_from_query([("viewport", "64,64")]).viewport, Viewport(64, 64))
        self.assertRaises(InvalidRequest, thumbnail_from_query, [("viewport", "64,64,1,1")])
        self.assertEqual(thumbnail_from_query([("window", "x")]), RenderingParameters())

    def test_huge_viewport(self) -> None:
        """A viewport of a billion by a billion pixels is refused by name."""
        for text in ("1000000000,1000000000", "2147483647,1"):
            given = from_query([("viewport", text)])
            error = self.assertRaises(InvalidRequest, given.require_pixels, 1_000_000)
            self.assertIn("viewport", error.comment)
        from_query([("viewport", "1000,1000")]).require_pixels(1_000_000)


class UriTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Every parameter of WADO-URI."""
        pairs = [
            ("imageAnnotation", "patient"),
            ("imageQuality", "20"),
            ("rows", "100"),
            ("region", "0.25,0,1,0.5"),
            ("windowCenter", "40"),
            ("windowWidth", "400"),
            ("frameNumber", "3"),
        ]
        given, frame = from_uri_query(pairs)
        self.assertEqual(frame, 3)
        self.assertEqual(given.viewport, Viewport(None, 100))
        self.assertEqual(given.region, Region(0.25, 0, 0.75, 0.5, relative=True))
        self.assertEqual(given.window, Window(40, 400))
        self.assertEqual((given.quality, given.annotation), (20, ("patient",)))

    def test_refusals(self) -> None:
        """Each wrong value, and each half of a pair, is refused."""
        for name, value in REFUSED_BY_URI:
            self.assertRaises(InvalidRequest, from_uri_query, [(name, value)])

    def test_presentation_state(self) -> None:
        """Both UIDs together, and neither window nor frame beside them (9.5.1.2.4)."""
        both = [("presentationSeriesUID", "1.2"), ("presentationUID", "1.2.3")]
        self.assertEqual(from_uri_query(both)[0].presentation_uid, "1.2.3")
        for more in ([("windowCenter", "1"), ("windowWidth", "2")], [("frameNumber", "1")]):
            self.assertRaises(InvalidRequest, from_uri_query, both + more)
