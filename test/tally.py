"""The end that checks in Python share: a line for each case, and last "N passed, N failed"."""


def run(groups):
    """`groups`: pairs of a name, which may be empty, and a function that yields (what was checked, whether it holds). The
    exit status."""
    counts = {True: 0, False: 0}
    for name, checks in groups:
        label = f"{name}: " if name else ""
        try:
            for what, holds in checks():
                counts[bool(holds)] += 1
                print(f"{'pass' if holds else 'FAIL'}  {label}{what}", flush=True)
        except Exception as error:  # one group's failure must not hide the others
            counts[False] += 1
            print(f"FAIL  {label}{error!r}", flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed")
    return counts[False] > 0 or not counts[True]
