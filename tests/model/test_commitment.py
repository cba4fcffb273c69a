"""Storage commitment requests and results as data sets."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.commitment import Checked, Reference, event, read, result
from dicomd.model.status import InvalidRequest, Status

MR = "1.2.840.10008.5.1.4.1.1.4"


def sequence(*items: Attributes) -> dict[str, object]:
    return attribute("SQ", *items)


def instance(uid: str, **more: object) -> Attributes:
    return {"00081155": attribute("UI", uid), **{tag[1:]: value for tag, value in more.items()}}  # type: ignore[dict-item]


def flat(*uids: str, sop_class: str = MR) -> Attributes:
    items = [{"00081150": attribute("UI", sop_class), "00081155": attribute("UI", uid)} for uid in uids]
    return {"00081199": sequence(*items)}


def nested(study: str, series: str, *uids: str) -> Attributes:
    by_class = {"00081150": attribute("UI", MR), "0008114A": sequence(*(instance(uid) for uid in uids))}
    of_series = {"0020000E": attribute("UI", series), "00081112": sequence(by_class)}
    return {"00081110": sequence({"0020000D": attribute("UI", study), "00081115": sequence(of_series)})}


class ReadTests(SynchronousTestCase):
    def refused(self, *requests: Attributes) -> InvalidRequest:
        error = self.assertRaises(InvalidRequest, read, requests)
        self.assertEqual(error.status, Status.INVALID_ARGUMENT_VALUE)
        return error

    def test_flat(self) -> None:
        """Referenced SOP Sequence."""
        self.assertEqual(read([flat("1.1", "1.2")]), [Reference(MR, "1.1"), Reference(MR, "1.2")])

    def test_nested(self) -> None:
        """Referenced Study Sequence, one study a data set or several in one (PS3.18 B.29)."""
        found = read([nested("1", "1.8", "1.1"), nested("2", "2.8", "2.1")])
        self.assertEqual(found, [Reference(MR, "1.1", "1", "1.8"), Reference(MR, "2.1", "2", "2.8")])

    def test_exactly_one_form(self) -> None:
        """Neither none nor both."""
        self.refused({})
        self.refused(flat())
        self.refused({**flat("1.1"), **nested("1", "1.8", "1.2")})

    def test_each_instance_once(self) -> None:
        """PS3.18 Table 13.4.1-2."""
        self.refused(flat("1.1", "1.1"))

    def test_uids(self) -> None:
        """Missing or wrong ones."""
        self.refused(flat("hello"))
        self.refused({"00081199": sequence(instance("1.1"))})

    def test_all_levels(self) -> None:
        """A whole study cannot be asked for without its instances."""
        self.refused({"00081110": sequence({"0020000D": attribute("UI", "1")})})
        self.refused(nested("1", "1.8"))


class ResultTests(SynchronousTestCase):
    def test_flat(self) -> None:
        """Committed and failed instances in their sequences; an empty sequence is left out."""
        good, bad = Checked(Reference(MR, "1.1")), Checked(Reference(MR, "1.2"), Status.NO_SUCH_SOP_INSTANCE)
        found = result([good, bad])
        self.assertEqual(found["00081199"], flat("1.1")["00081199"])
        (failed,) = found["00081198"]["Value"]
        self.assertEqual(failed["00081197"], {"vr": "US", "Value": [0x0112]})
        self.assertEqual(set(result([good])), {"00081199"})
        self.assertEqual(set(result([bad])), {"00081198"})

    def test_nested(self) -> None:
        """The form of the request comes back."""
        for request in (nested("1", "1.8", "1.1", "1.2"),):
            checked = [Checked(one) for one in read([request])]
            self.assertEqual(result(checked), request)
        checked = [Checked(Reference(MR, "1.1", "1", "1.8"), Status.PROCESSING_FAILURE)]
        (study,) = result(checked)["0008119B"]["Value"]
        (series,) = study["00081115"]["Value"]
        (by_class,) = series["00081112"]["Value"]
        (failed,) = by_class["0008114A"]["Value"]
        self.assertEqual(failed["00081197"]["Value"], [0x0110])

    def test_event_type(self) -> None:
        """1 when all is committed, else 2 (PS3.4 J.3.3)."""
        good, bad = Checked(Reference(MR, "1.1")), Checked(Reference(MR, "1.2"), Status.NO_SUCH_SOP_INSTANCE)
        self.assertEqual(event("1.9", result([good]))[0], 1)
        kind, information = event("1.9", result([good, bad]))
        self.assertEqual((kind, information["00081195"]["Value"]), (2, ["1.9"]))

    def test_event_of_the_nested_form(self) -> None:
        """An event report is flat whatever the request was, and tells of failures."""
        good, bad = Reference(MR, "1.1", "1", "1.8"), Reference(MR, "1.2", "1", "1.8")
        kind, information = event("1.9", result([Checked(good), Checked(bad, Status.NO_SUCH_SOP_INSTANCE)]))
        self.assertEqual((kind, set(information)), (2, {"00081195", "00081198", "00081199"}))
        self.assertEqual(information["00081199"], flat("1.1")["00081199"])
        failed = flat("1.2")["00081199"]["Value"][0] | {"00081197": attribute("US", 0x0112)}
        self.assertEqual(information["00081198"], sequence(failed))
        self.assertEqual(event("1.9", result([Checked(good)]))[0], 1)
