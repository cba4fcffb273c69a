"""What the server offers through its doors, by the names under which a site can switch it off."""

HTTP_SERVICES = {
    "search": "Studies: search (PS3.18 10.6)",
    "retrieve": "Studies: retrieve instances, metadata, frames and bulk data (PS3.18 10.4)",
    "rendered": "Studies: rendered resources and thumbnails (PS3.18 10.4)",
    "uri": "URI service (PS3.18 9)",
    "store": "Studies: store (PS3.18 10.5)",
    "delete": "Studies: delete (not of the standard)",
    "workitems": "Worklist service, unified procedure steps (PS3.18 11)",
    "non-patient": "Non-Patient Instance service (PS3.18 12)",
    "commitment": "Storage Commitment service (PS3.18 13)",
    "worklist": "Modality Worklist service (PS3.18 14)",
    "performed-steps": "Modality Performed Procedure Step service (PS3.18 15)",
    "capabilities": "Capabilities (PS3.18 8.9), OpenAPI and this page",
}

DIMSE_SERVICES = {
    "store": "Storage (PS3.4 B); C-GET needs its contexts too",
    "find": "Query/Retrieve, C-FIND (PS3.4 C)",
    "move": "Query/Retrieve, C-MOVE (PS3.4 C)",
    "get": "Query/Retrieve, C-GET (PS3.4 C)",
    "workitems": "Unified procedure steps (PS3.4 CC)",
    "non-patient": "Non-patient object storage: query and retrieve (PS3.4 GG and others)",
    "commitment": "Storage commitment (PS3.4 J)",
    "worklist": "Modality worklist (PS3.4 K)",
    "performed-steps": "Modality performed procedure step (PS3.4 F)",
}
