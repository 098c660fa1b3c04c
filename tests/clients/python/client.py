"""Runs one client: `client.py NAME`. Prints what it reports as one line of JSON on the last line of its output."""

import importlib
import json
import pathlib
import sys
import traceback

sys.path[0] = str(pathlib.Path(__file__).parent)


def main(name):
    found = {}
    try:
        importlib.import_module(name).run(found.__setitem__)
    except BaseException:
        found["failed"] = traceback.format_exc()[-2_000:]
    print("\n" + json.dumps(found))


main(sys.argv[1])
