"""Placeholders: a picture of the wanted size, not blank, one for each modality."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import Viewport
from dicomd.pixels.placeholder import placeholder


class PlaceholderTests(SynchronousTestCase):
    def test_size(self) -> None:
        """200 pixels unless a viewport is smaller or larger."""
        self.assertEqual(placeholder("SR").size, (200, 200))
        self.assertEqual(placeholder("SR", Viewport(64, 80)).size, (64, 64))

    def test_modalities_differ(self) -> None:
        """The modality is written on it, also a long or an empty one."""
        pictures = [placeholder(modality).tobytes() for modality in ("SR", "KO", "RTSTRUCT", "", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")]
        self.assertEqual(len(set(pictures)), 5)

    def test_kind(self) -> None:
        """The word below can be given."""
        self.assertNotEqual(placeholder("XC").tobytes(), placeholder("XC", kind="Video").tobytes())
