"""Configuration is checked completely, and the commented example names every key with its default."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dicomd import config

EXAMPLE = Path(__file__).parent.parent / "etc" / "dicomd.toml"


def keys(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, default) of every scalar key with a default, section by section."""
    hints = {item.name: item for item in attrs.fields(cls)}
    for name, item in hints.items():
        if attrs.has(type(item.default)):
            yield from keys(type(item.default), f"{prefix}{name}.")
        elif item.default is not attrs.NOTHING and item.default != ():
            yield f"{prefix}{name}", item.default


def lookup(table: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        table = table[part]
    return table


class ExampleTests(SynchronousTestCase):
    def test_loads(self) -> None:
        """The example is a valid configuration and equals the defaults."""
        self.assertEqual(config.load(str(EXAMPLE)), config.Config())

    def test_names_every_key(self) -> None:
        """Every key stands in the example with its default; an empty default may stand in a comment."""
        text = EXAMPLE.read_text()
        table = tomllib.loads(text)
        for key, default in keys(config.Config):
            if default is None:
                self.assertRegex(text, rf"(?m)^#? ?{re.escape(key.rsplit('.', 1)[-1])} = ")
            else:
                self.assertEqual(lookup(table, key), list(default) if isinstance(default, tuple) else default, key)

    def test_names_the_remote_keys(self) -> None:
        """The repeated table is shown in a comment, with all its keys."""
        text = EXAMPLE.read_text()
        for item in attrs.fields(config.RemoteAE):
            self.assertRegex(text, rf"(?m)^# {item.name} = ")


class RefusalTests(SynchronousTestCase):
    def refused(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        message = str(self.assertRaises(config.ConfigError, config.load, str(path)))
        self.assertTrue(message.startswith(f"{path}: "), message)
        self.assertNotIn("\n", message)
        return message.removeprefix(f"{path}: ")

    def test_unknown_key(self) -> None:
        self.assertIn("http.prot: unknown key", self.refused("[http]\nprot = 1\n"))

    def test_unknown_section(self) -> None:
        self.assertIn("htpt: unknown key", self.refused("[htpt]\n"))

    def test_wrong_type(self) -> None:
        self.assertIn("http.public_url: expected empty, or http(s)", self.refused("[http]\npublic_url = 3\n"))

    def test_wrong_type_of_a_string(self) -> None:
        self.assertIn("worklist.path: expected a string", self.refused("[worklist]\npath = 3\n"))

    def test_boolean_is_no_number(self) -> None:
        self.assertIn("http.max_results: expected a whole number of at least 1", self.refused("[http]\nmax_results = true\n"))

    def test_wrong_choice(self) -> None:
        self.assertIn(
            'store.duplicates: expected one of "replace", "keep", "reject"', self.refused('[store]\nduplicates = "x"\n')
        )

    def test_wrong_ae_title(self) -> None:
        self.assertIn("dimse.ae_title: expected an AE title", self.refused('[dimse]\nae_title = "SEVENTEEN LETTERS"\n'))

    def test_missing_key(self) -> None:
        self.assertIn("remote_aes[0].port: missing", self.refused('[[remote_aes]]\nae_title = "A"\nhost = "b"\n'))

    def test_no_toml(self) -> None:
        self.assertIn("is not TOML", self.refused("store = \n"))

    def test_section_that_is_no_table(self) -> None:
        self.assertIn("[http]: expected a table", self.refused("http = 1\n"))

    def test_missing_file(self) -> None:
        self.assertIn("cannot be read", str(self.assertRaises(config.ConfigError, config.load, "/nonexistent.toml")))

    def test_not_finite(self) -> None:
        """TOML knows infinity; a timer does not."""
        self.assertIn("http.idle_timeout: expected a number of at least 1", self.refused("[http]\nidle_timeout = inf\n"))

    def test_empty(self) -> None:
        """An empty path would be the working directory."""
        self.assertIn("store.path: expected the path of a folder", self.refused('[store]\npath = ""\n'))
        self.assertIn("dimse.endpoint: expected", self.refused('[dimse]\nendpoint = " "\n'))
        self.assertIn("remote_aes[0].host", self.refused('[[remote_aes]]\nae_title = "A"\nhost = ""\nport = 104\n'))

    def test_root(self) -> None:
        for root in ("/", "x", "/a/", "//", "/a b", "/a{b}"):
            self.assertIn("http.root: expected a path", self.refused(f'[http]\nroot = "{root}"\n'))

    def test_remote_aes(self) -> None:
        """A title stands for one peer, and who is told of performed steps is a peer."""
        peer = '[[remote_aes]]\nae_title = "A"\nhost = "b"\nport = 104\n'
        self.assertIn("remote_aes[1].ae_title: A is there already", self.refused(peer + peer))
        self.assertIn("mpps.notify[0]: expected an AE title of the remote_aes", self.refused(f'[mpps]\nnotify = ["B"]\n{peer}'))
        path = Path(self.mktemp())
        path.write_text(f'[mpps]\nforward_to = ["A"]\n{peer}')
        self.assertEqual(config.load(str(path)).mpps.forward_to, ("A",))
