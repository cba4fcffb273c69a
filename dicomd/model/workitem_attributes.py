"""The attributes of a Unified Procedure Step and what each operation demands of them (PS3.4 Table CC.2.5-3), as data.

Columns, SCU/SCP where two are given: C for N-CREATE, S for N-SET, F for the final states, M for matching keys and R for
return keys. Types as in PS3.5 7.4; `NA` not allowed, `e` to be sent empty. Final state: R for both, RC if the condition
holds, P for COMPLETED only, X for CANCELED only, O optional. M: R required, O optional, U unique, - none.
A sequence of codes is marked `SQ*`: its items keep the code sequence macro (PS3.3 Table 8.8-1).
"""

from collections.abc import Iterator, Mapping

from attrs import frozen

TRANSACTION_UID = "00081195"
SOP_CLASS_UID = "00080016"
SOP_INSTANCE_UID = "00080018"
STATE = "00741000"
PRIORITY = "00741200"
LABEL = "00741204"
WORKLIST_LABEL = "00741202"
MODIFICATION_DATE_TIME = "00404010"
START_DATE_TIME = "00404005"
READINESS = "00404041"
STATION_NAME = "00404025"
HUMAN_PERFORMERS = "00404034"
PERFORMER_CODE = "00404009"
PERFORMER_ORGANIZATION = "00404036"
PROGRESS_INFORMATION = "00741002"
PROGRESS = "00741004"
PROGRESS_DESCRIPTION = "00741006"
PROGRESS_PARAMETERS = "00741007"
COMMUNICATIONS = "00741008"
CONTACT_URI = "0074100A"
CONTACT_NAME = "0074100C"
CANCELLATION_DATE_TIME = "00404052"
CANCELLATION_REASON = "00741238"
DISCONTINUATION_REASON = "0074100E"
PERFORMED_PROCEDURE = "00741216"

UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
UPS_WATCH = "1.2.840.10008.5.1.4.34.6.2"
UPS_PULL = "1.2.840.10008.5.1.4.34.6.3"
UPS_EVENT = "1.2.840.10008.5.1.4.34.6.4"
UPS_QUERY = "1.2.840.10008.5.1.4.34.6.5"
GLOBAL_SUBSCRIPTION = "1.2.840.10008.5.1.4.34.5"
FILTERED_SUBSCRIPTION = "1.2.840.10008.5.1.4.34.5.1"

# depth and tag   VR   C      S      F   M  R
_TABLE = """
00081195          UI   2/2e   NA     O   -  -
00080005          CS   1C/1C  1C/1C  RC  -  1C
00080016          UI   -/1    NA     R   O  1
00080018          UI   -/1    NA     R   U  1
00741200          CS   1/1    3/1    R   R  1
00404010          DT   -/1    -/1    R   O  3
00741204          LO   1/1    3/1    O   R  1
00741202          LO   2/1    3/1    O   R  1
00741210          SQ   2/2    3/2    O   -  2
00404025          SQ*  2/2    3/2    O   R  2
00404026          SQ*  2/2    3/2    O   R  2
00404027          SQ*  2/2    3/2    O   R  2
00404034          SQ   2C/2C  3/2    O   R  2
>00404009         SQ*  1/1    1/1    O   R  1
>00404037         PN   1/1    1/1    O   O  3
>00404036         LO   1/1    1/1    O   O  3
00404005          DT   1/1    3/1    R   R  1
00404011          DT   3/1    3/1    O   R  3
00404008          DT   3/3    3/3    O   O  3
00404018          SQ*  2/2    3/1    O   R  2
00400400          LT   2/2    3/1    O   O  3
00404041          CS   1/1    3/1    R   R  1
00404021          SQ   2/2    3/2    O   O  2
0020000D          UI   1C/2   3/2    O   O  2
00404070          SQ   3/3    3/3    O   O  3
00100010          PN   2/2    NA     O   R  2
00100020          LO   1C/2   NA     O   R  2
00100021          LO   2/2    NA     O   R  2
00100024          SQ   2/2    NA     O   O  2
00101002          SQ   2/2    3/3    O   O  2
>00100020         LO   1/1    1/1    O   O  1
>00100022         CS   3/3    3/3    O   O  3
00101100          SQ   3/3    3/3    O   -  3
00100030          DA   2/2    NA     O   R  2
00100040          CS   2/2    NA     O   R  2
00380010          LO   2/2    NA     O   R  2
00380014          SQ   2/2    NA     O   R  2
00081080          LO   2/2    NA     O   O  2
00081084          SQ*  2/2    NA     O   O  2
0040A370          SQ   2/2    NA     O   R  2
>0020000D         UI   1/1    NA     O   O  1
>00080050         SH   2/2    NA     O   R  2
>00080051         SQ   2/2    NA     O   R  2
>00402016         LO   3/1    NA     O   O  1C
>00400026         SQ   2/2    NA     O   O  2
>00402017         LO   3/1    NA     O   O  1C
>00400027         SQ   2/2    NA     O   O  2
>00401001         SH   2/2    NA     O   R  2
>00321060         LO   2/2    NA     O   O  2
>00321064         SQ*  2/2    NA     O   O  2
>00401002         LO   3/3    3/3    O   O  3
>0040100A         SQ*  3/3    3/3    O   O  3
>00401400         LT   3/3    3/3    O   O  1C
>00401008         LO   3/3    3/3    O   O  3
>00401010         PN   3/3    3/3    O   O  3
>00402400         LT   3/3    3/3    O   O  3
>00402004         DA   3/3    3/3    O   O  3
>00402005         TM   3/3    3/3    O   O  3
>00321032         PN   3/3    3/3    O   O  3
>00321033         LO   3/1    3/1    O   R  3
>00321034         SQ*  3/3    3/3    O   O  3
>00080090         PN   3/3    3/3    O   O  3
00741224          SQ   1C/1C  NA     O   R  3
>00081150         UI   1/1    NA     O   O  1
>00081155         UI   1/1    NA     O   O  1
00102000          LO   3/2    3/2    O   O  2C
001021C0          US   3/2    3/2    O   O  2C
00380050          LO   3/2    3/2    O   O  2C
00741000          CS   1/1    NA     R   R  1
00741002          SQ   2/2e   3/2    X   -  2
>00741004         DS   NA     3/1    O   -  -
>00741006         ST   NA     3/1    O   -  -
>00741007         SQ   NA     3/3    O   -  -
>00741008         SQ   NA     3/1    O   -  -
>>0074100A        UR   NA     1/1    O   -  -
>>0074100C        LO   NA     3/3    O   -  -
>00404052         DT   NA     3/1    X   -  -
>00741238         LT   NA     3/1    O   -  -
>0074100E         SQ*  NA     3/1    X   -  -
00741216          SQ   2/2e   3/2    P   -  -
>00404035         SQ   NA     3/1    RC  O  1C
>>00404009        SQ*  NA     3/1    RC  -  -
>>00404037        PN   NA     3/1    RC  -  -
>>00404036        LO   NA     3/1    O   -  -
>00404028         SQ*  NA     3/2    P   O  3
>00404029         SQ*  NA     3/2    O   -  -
>00404030         SQ*  NA     3/2    O   -  -
>00404050         DT   NA     3/1    P   -  -
>00400254         LO   NA     3/1    O   -  -
>00400280         ST   NA     3/1    O   -  -
>00404019         SQ*  NA     3/1    P   -  -
>00741212         SQ   NA     3/1    O   -  -
>00404051         DT   NA     3/1    P   O  1C
>00404033         SQ   NA     2/2    P2  -  -
"""


@frozen
class Requirement:
    """One row. `create` and `update` are pairs of SCU and SCP types; `rows` are those of the items, by tag."""

    tag: str
    vr: str
    is_code: bool
    create: tuple[str, str]
    update: tuple[str, str]
    final: str
    match: str
    returned: str
    rows: "Mapping[str, Requirement]"


def _pair(cell: str) -> tuple[str, str]:
    scu, _, scp = cell.partition("/")
    return scu, scp or scu


def _requirement(line: str, rows: "Mapping[str, Requirement]") -> Requirement:
    tag, vr, create, update, final, match, returned = line.lstrip(">").split()
    return Requirement(tag, vr.rstrip("*"), vr.endswith("*"), _pair(create), _pair(update), final, match, returned, rows)


def _rows(lines: list[str], depth: int) -> "Iterator[tuple[str, Requirement]]":
    while lines and lines[0].startswith(">" * depth):
        line = lines.pop(0)
        requirement = _requirement(line, dict(_rows(lines, depth + 1)) if lines else {})
        yield requirement.tag, requirement


REQUIREMENTS: dict[str, Requirement] = dict(_rows(_TABLE.strip().splitlines(), 0))

# PS3.3 C.30.2 and C.30.1; UNREADY is what PS3.18 and older editions call UNAVAILABLE.
ENUMERATED: dict[str, frozenset[str]] = {
    PRIORITY: frozenset({"HIGH", "MEDIUM", "LOW"}),
    READINESS: frozenset({"READY", "INCOMPLETE", "UNAVAILABLE", "UNREADY"}),
}

# Return keys that every search answer holds (types 1 and 2), whatever was asked.
ALWAYS_RETURNED: tuple[str, ...] = tuple(row.tag for row in REQUIREMENTS.values() if row.returned in ("1", "2"))
