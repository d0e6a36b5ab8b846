#!/usr/bin/env python3
"""Prints "total failed skipped" of a lit run from its xUnit report; "1 1 0" when there is none."""
import sys
import xml.etree.ElementTree as tree

try:
    suites = tree.parse(sys.argv[1]).getroot().iter("testsuite")
    totals = [sum(int(s.get(key, 0)) for s in suites_) for suites_ in [list(suites)] for key in ("tests", "failures", "skipped")]
except (OSError, tree.ParseError):
    totals = [1, 1, 0]
print(*totals)
