"""How searches match, order and answer, in words: where the standard leaves a choice, this is the one made here.

Shown on the conformance page; the rules themselves are in `key_values`, `kinds`, `names`, `matching` and in the index.
"""

from .kinds import MOST_WILDCARDS

RULES: tuple[tuple[str, str], ...] = (
    (
        "Order",
        "Newest study first (date, then time, descending), then UID; series by number; instances by number; patients by ID. "
        "On the web, orderby=StudyDate,-PatientName (an extension) puts other attributes before that: those kept in columns, "
        "single-valued, of the level or above, - for descending, without a value first; any other is refused.",
    ),
    (
        "Text",
        "Exact and case-sensitive; surrounding spaces do not count. Wildcards * and ? where the standard allows them.",
    ),
    (
        "Names, literally",
        "Case does not count, accents do; trailing ^ and = do not count. A key of one component group is compared "
        "with each group of the stored name, a key of several groups with the group in the same place.",
    ),
    (
        "Names, fuzzily",
        "Each word of the key must meet a word of the name, in any order and component group: begin it, sound like it "
        "(equal Metaphone codes, inner y as i), fit it as a wildcard pattern, or, in scripts without spaces, be "
        "contained in it. Case, diacritics, width and the difference of hiragana and katakana do not count. What "
        "matches literally matches fuzzily too.",
    ),
    (
        "Numbers",
        "IS, DS and binary numbers are compared as numbers.",
    ),
    (
        "Dates and times",
        "By meaning, in ranges with both ends. A single value is the instant at which the period it names begins, since "
        "single values match exactly (PS3.4 C.2.2.2.1): all of a year is the range 2025-2025. A less precise upper bound "
        "includes the period it names: -10 ends at 10:59:59.999999. Date and time ranges of one form are one interval: "
        "always on the web, by DIMSE when negotiated.",
    ),
    (
        "Time zone",
        "With TimezoneOffsetFromUTC in the query, dates and times of keys and answers are on that clock; entities "
        "that do not state their offset are taken to be on it.",
    ),
    (
        "Unknown values",
        "An entity without a value for a required key of the Query/Retrieve tables matches whatever is asked (PS3.4 "
        "C.2.2.1.2); without a value for another key it does not. In worklists and non-patient instances it never "
        "does.",
    ),
    (
        "Several values",
        "One of the stored values suffices; of several values in a key one suffices, unless all are asked for.",
    ),
    (
        "Sequences",
        "All keys of a sequence hold within one item.",
    ),
    (
        "Keys of other levels",
        "A key of a higher level is asked of the entity above; a study or series has a key of a lower level when one "
        "instance in it satisfies all such keys together. Attributes of lower levels are not returned: a Warning, or "
        "FF01, says so.",
    ),
    (
        "Any attribute",
        "Keys without a column are answered from the stored metadata, within [store] query_timeout.",
    ),
    (
        "Refused",
        f"Malformed values, reversed ranges, more than {MOST_WILDCARDS} wildcards in a key: 400 or A900, with name and value.",
    ),
)
