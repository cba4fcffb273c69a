"""The table of the non-patient information models."""

from pydicom.datadict import dictionary_VR
from pydicom.uid import UID
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.non_patient import MODELS, RESOURCES, SOP_CLASSES, fields_of, keys_of


class TableTests(SynchronousTestCase):
    def test_uids_are_the_standards(self) -> None:
        """Every UID is in PS3.6 under the name of its model; FIND, MOVE and GET are what they are called."""
        for model in MODELS:
            for uid, verb in ((model.find, "FIND"), (model.move, "MOVE"), (model.get, "GET")):
                name = UID(uid).name
                self.assertTrue(name.startswith(model.name) and name.endswith(f" - {verb}"), name)
            for uid in model.storage:
                self.assertIn(model.name.split()[-1], UID(uid).name)
                self.assertTrue(UID(uid).name.endswith("Storage"), uid)

    def test_keys_are_attributes(self) -> None:
        for resource in RESOURCES:
            for tag, vr in keys_of(resource):
                self.assertIn(vr, dictionary_VR(int(tag, 16)))
            for fields in fields_of(resource).values():
                self.assertLessEqual({"00080016", "00080018"}, set(fields))

    def test_each_class_has_one_resource(self) -> None:
        listed = [uid for uids in RESOURCES.values() for uid in uids]
        self.assertEqual((len(listed), set(listed)), (len(SOP_CLASSES), set(SOP_CLASSES)))
