"""bench/gpu's goals: a network's are those of the product for any extents as well as of the one for some; and what is kept
in bench/results is what the recorded run gives."""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench", "gpu"))
import goals  # noqa: E402
import table  # noqa: E402


def resnet(ms, fixed):
    row = {"name": "resnet50", "sizes": {"N": 256}, **ms, "fixed": fixed}
    report = {"machine": {"device": "NVIDIA H200"}, "kernels": [], "models": [row], "copy_gb_s": None}
    return [goal["met"] for goal in goals.all_goals(report) if goal["what"].startswith("ResNet-50")]


FAST, SLOW, FAILED = {"ms": 7}, {"ms": 12}, {"failed": "no time left"}
assert resnet(SLOW, FAST) == [False, True]
assert resnet(FAST, SLOW) == [True, False]
assert resnet(FAILED, FAST) == [None, True]

with open(os.path.join(ROOT, "bench", "results", "gpu_h200.json")) as file:
    recorded = json.load(file)
assert list(goals.all_goals(recorded)) == recorded["goals"]
with open(os.path.join(ROOT, "bench", "results", "gpu_h200.txt")) as file:
    text = file.read().splitlines()
for line in [*map(goals.line, recorded["goals"]), *map(table.model_line, recorded["models"])]:
    assert line in text, line
print("as they should be")
