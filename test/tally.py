"""The end that checks in Python share: a line for each case, and last "N passed, N failed"."""
import argparse
import tempfile


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


def run_in_folder(checks, about):
    """The same of a script whose groups are those of a class, made of a build and a folder that goes at the end."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(checks(args.build, folder).groups())
