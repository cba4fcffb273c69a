"""Dates, times and date-times (PS3.5 6.2)."""

from datetime import datetime

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model import times


class DateTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Eight digits, or the dots of old equipment."""
        self.assertEqual(times.read_date("20240229"), "20240229")
        self.assertEqual(times.read_date("2024.02.29 "), "20240229")

    def test_no_dates(self) -> None:
        """What the calendar does not have."""
        for text in ("2024", "20230229", "20241301", "2024-02-29", "٢٠٢٤٠١٠١", "", "00000101"):
            self.assertRaises(ValueError, times.read_date, text)


class TimeTests(SynchronousTestCase):
    def test_lower_precision_is_its_start_or_its_end(self) -> None:
        """A lower bound begins the period that is named, an upper bound ends it."""
        self.assertEqual(times.read_time("10"), "100000.000000")
        self.assertEqual(times.read_time("2230"), times.read_time("223000"))
        self.assertEqual(times.read_time("10", end=True), "105959.999999")
        self.assertEqual(times.read_time("1030", end=True), "103059.999999")
        self.assertEqual(times.read_time("103015.5", end=True), "103015.599999")
        self.assertEqual(times.read_time("10:30:15.25"), "103015.250000")

    def test_no_times(self) -> None:
        """Outside of a day, or not a time."""
        for text in ("", "1", "24", "1060", "103061", "103015.", "103015.1234567", "ab"):
            self.assertRaises(ValueError, times.read_time, text)

    def test_text_order_is_time_order(self) -> None:
        """The canonical form can be compared as text."""
        given = ["00", "0000.", "000000.000001", "0959", "10", "100000.5", "1001", "235960"]
        read = [times.read_time(text) for text in given if not text.endswith(".")]
        self.assertEqual(read, sorted(read))


class OffsetTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """Minutes east of UTC."""
        for text, minutes in (("+0000", 0), ("+0530", 330), ("-0800", -480), ("+1400", 840)):
            self.assertEqual(times.read_offset(text), minutes)
            self.assertEqual(times.write_offset(minutes), text)

    def test_none(self) -> None:
        """Not an offset."""
        for text in ("0100", "+01", "+1500", "+0160", "UTC"):
            self.assertRaises(ValueError, times.read_offset, text)


class DateTimeTests(SynchronousTestCase):
    def test_precision_is_a_period(self) -> None:
        """From a year to a fraction of a second."""
        for text, last in (
            ("2024", datetime(2024, 12, 31, 23, 59, 59, 999999)),
            ("202402", datetime(2024, 2, 29, 23, 59, 59, 999999)),
            ("202412", datetime(2024, 12, 31, 23, 59, 59, 999999)),
            ("20240101", datetime(2024, 1, 1, 23, 59, 59, 999999)),
            ("2024010110", datetime(2024, 1, 1, 10, 59, 59, 999999)),
            ("202401011030", datetime(2024, 1, 1, 10, 30, 59, 999999)),
            ("20240101103015", datetime(2024, 1, 1, 10, 30, 15, 999999)),
            ("20240101103015.25", datetime(2024, 1, 1, 10, 30, 15, 259999)),
            ("20240101103015.123456", datetime(2024, 1, 1, 10, 30, 15, 123456)),
        ):
            self.assertEqual(times.read_date_time(text).last, last, text)

    def test_offset(self) -> None:
        """A stated offset leads to UTC; an assumed one only where none is stated."""
        self.assertEqual(times.read_date_time("2024010110+0200").start(60), datetime(2024, 1, 1, 8))
        self.assertEqual(times.read_date_time("2024010110").start(60), datetime(2024, 1, 1, 9))
        self.assertEqual(times.read_date_time("2024010110").start(), datetime(2024, 1, 1, 10))

    def test_none(self) -> None:
        """Not a date-time."""
        for text in ("", "24", "20241301", "2024010110+1500", "2024-01-01", "20240101T10"):
            self.assertRaises(ValueError, times.read_date_time, text)


class ShiftTests(SynchronousTestCase):
    def test_across_midnight(self) -> None:
        """The day goes with the time."""
        self.assertEqual(times.shift("20240229", "233000.500000", 60), ("20240301", "003000.500000"))
        self.assertEqual(times.shift("20240301", "003000.000000", -60), ("20240229", "233000.000000"))
