"""What the server says of itself is what it does."""

from typing import Any

from lxml import etree
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from dicomd.config import Config, DimseConfig, StoreConfig
from dicomd.model.offerings import DIMSE_SERVICES, HTTP_SERVICES
from dicomd.tap import Server
from dicomd.web.capabilities import Capabilities, Table
from dicomd.web.openapi import operation_id, plain_path
from dicomd.web.responses import Response
from dicomd.web.routes import ARGUMENTS, Parameter, Route
from dicomd.wire.sop_classes import VERIFICATION

from .harness import Answer, ask, make_door

WADL = "{http://wadl.dev.java.net/2009/02}"


async def nothing(request: Any, **_: str) -> Response:
    return Response(204)


ROWS = [
    Route("/studies", ("GET", "POST"), nothing, "Search & <store>", service="search", produces=("application/dicom+json",)),
    Route(
        "/studies/{study}/bulkdata/{path...}",
        ("GET",),
        nothing,
        "One value",
        service="retrieve",
        parameters=(Parameter("limit", "at most", "integer"),),
    ),
    Route("/health", ("GET",), nothing, "Ready", rooted=False),
]


class CapabilitiesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.open()

    def open(self, *off: str) -> None:
        capabilities = Capabilities("1.0", lambda: [Table("SOP classes", ("UID",), [("1.2.3",)])])
        self.door = make_door([*ROWS, *capabilities.routes()], off=off, capabilities=capabilities)

    def ask(self, method: str, path: str, accept: str = "*/*", **headers: str) -> Answer:
        return ask(self.door, method, f"/dicom-web{path}", None, [("Accept", accept), *headers.items()])


class OptionsTests(CapabilitiesTestCase):
    def test_root(self) -> None:
        """OPTIONS at the root describes every resource, as WADL by default (PS3.18 8.9)."""
        answer = self.ask("OPTIONS", "/")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/vnd.sun.wadl+xml"))
        root = etree.fromstring(answer.body)
        (resources,) = root
        self.assertEqual(resources.get("base"), "http://dicom.test/dicom-web")
        self.assertEqual(len(root.findall(f".//{WADL}method[@id='getStudiesStudyBulkdataPath']")), 1)

    def test_json(self) -> None:
        """The same as JSON: attributes with @, arrays where elements may repeat (PS3.18 H)."""
        document = self.ask("OPTIONS", "/", "application/json").json
        (studies,) = [one for one in document["application"]["resources"]["resource"] if one["@path"] == "studies"]
        self.assertEqual([method["@name"] for method in studies["method"]], ["GET", "POST"])
        self.assertEqual(studies["resource"][0]["@path"], "{study}")
        self.assertIsInstance(studies["method"][0]["request"], dict)

    def test_one_resource(self) -> None:
        """OPTIONS on a resource describes that one, and tells its methods."""
        answer = self.ask("OPTIONS", "/studies", "application/vnd.oai.openapi+json")
        self.assertEqual(list(answer.json["paths"]), ["/dicom-web/studies"])
        self.assertEqual(answer.headers["allow"], "GET, POST, HEAD, OPTIONS")

    def test_conditional(self) -> None:
        """304 when nothing has changed."""
        etag = self.ask("OPTIONS", "/").headers["etag"]
        self.assertEqual(self.ask("OPTIONS", "/", **{"If-None-Match": etag}).status, 304)

    def test_not_acceptable(self) -> None:
        """406 names what a description can be."""
        answer = self.ask("OPTIONS", "/", "image/png")
        self.assertEqual(answer.status, 406)
        self.assertIn("wadl", answer.json["detail"])

    def test_off(self) -> None:
        """What is off does not exist and is not announced; without capabilities OPTIONS tells the methods alone."""
        self.open("retrieve")
        self.assertEqual(self.ask("GET", "/studies/1.2/bulkdata/7FE00010").status, 404)
        self.assertNotIn(b"bulkdata", self.ask("OPTIONS", "/").body + self.ask("GET", "/conformance").body)
        self.open("capabilities")
        answer = self.ask("OPTIONS", "/studies")
        self.assertEqual((answer.status, answer.headers["allow"]), (204, "GET, POST, HEAD, OPTIONS"))


class DocumentTests(CapabilitiesTestCase):
    def test_openapi(self) -> None:
        """Paths, arguments and parameters as the rows have them."""
        document = self.ask("GET", "/openapi.json").json
        operation = document["paths"]["/dicom-web/studies/{study}/bulkdata/{path}"]["get"]
        self.assertEqual([one["name"] for one in operation["parameters"]], ["study", "path", "limit"])
        self.assertIn("/health", document["paths"])
        self.assertEqual(document["servers"], [{"url": "http://dicom.test"}])

    def test_page(self) -> None:
        """The page has the resources, the keys and the other door's tables, and no markup of the texts."""
        page = self.ask("GET", "/conformance").body.decode()
        for text in ("Search &amp; &lt;store&gt;", "PatientName", "1.2.840.10008.1.2.4.90", "SOP classes", "1.2.3"):
            self.assertIn(text, page)

    def test_welcome(self) -> None:
        """Who knows only host and port is shown the way."""
        answer = ask(self.door, "GET", "/")
        self.assertEqual((answer.status, answer.headers["location"]), (303, "http://dicom.test/dicom-web/conformance"))


class WholeServerTests(SynchronousTestCase):
    """The route table of the server as it is."""

    def setUp(self) -> None:
        self.server = Server(Config(store=StoreConfig(path=self.mktemp())), reactor)
        self.door = self.server.web

    def test_every_row_is_documented(self) -> None:
        """Each row and method has an operation of its own, a summary, known arguments and a service that can be off."""
        document = ask(self.door, "GET", "/dicom-web/openapi.json").json
        seen: set[str] = set()
        for row in self.door.table.rows:
            self.assertTrue(row.summary)
            self.assertTrue(row.service == "" or row.service in HTTP_SERVICES, row.path)
            self.assertEqual([name for name in row.names if name not in ARGUMENTS], [], row.path)
            for method in row.methods:
                operation = document["paths"][plain_path(row, "/dicom-web")][method.lower()]
                self.assertNotIn(operation["operationId"], seen)
                seen.add(operation_id(row, method))

    def test_every_sop_class_is_on_the_page(self) -> None:
        """The other door's rows are there too, each with a name under which it can be off."""
        page = ask(self.door, "GET", "/dicom-web/conformance").body.decode()
        for row in self.server._dimse_services():
            self.assertTrue(row.name in DIMSE_SERVICES or VERIFICATION in row.sop_class_uids, row.sop_class_uids)
            for uid in row.sop_class_uids or ("1.2.840.10008.5.1.4.1.1.4",):
                self.assertIn(f"<td>{uid}</td>", page)

    def test_keys_of_every_service(self) -> None:
        """Workitems, the worklist and non-patient instances have keys of their own."""
        page = ask(self.door, "GET", "/dicom-web/conformance").body.decode()
        for text in ("0072000C", "HangingProtocolName", "ScheduledStationNameCodeSequence.CodeValue", "00400100.00400001"):
            self.assertIn(f"<td>{text}</td>", page)

    def test_off(self) -> None:
        """What is off at the DIMSE door is not announced."""
        config = Config(store=StoreConfig(path=self.mktemp()), dimse=DimseConfig(off=("worklist", "store")))
        page = ask(Server(config, reactor).web, "GET", "/dicom-web/conformance").body.decode()
        self.assertNotIn("<td>1.2.840.10008.5.1.4.1.1.4</td>", page)
        self.assertNotIn("<td>1.2.840.10008.5.1.4.31</td>", page)

    def test_every_row_is_on_the_page_and_in_the_wadl(self) -> None:
        """So it is in the other forms."""
        page = ask(self.door, "GET", "/dicom-web/conformance").body.decode()
        wadl = ask(self.door, "OPTIONS", "/dicom-web/").body.decode()
        for row in self.door.table.rows:
            self.assertIn(row.path.split("{")[0], page)
            for method in row.methods if row.rooted else ():
                self.assertIn(f'id="{operation_id(row, method)}"', wadl)
