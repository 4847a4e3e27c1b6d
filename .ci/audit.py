"""Known vulnerabilities of installed packages, by pip-audit: `audit.py PIP_AUDIT FOLDER`.

Fails for those that a newer version mends. Where the data can't be reached, it says so and passes.
"""

import json
import subprocess
import sys


def main() -> int:
    """The exit code."""
    command = [sys.argv[1], "--path", sys.argv[2], "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    found = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(found.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages = []
    known = [package for package in packages if "vulns" in package]  # the others have a "skip_reason"
    if not known:
        print("audit skipped: the data on vulnerabilities can't be reached from here")
        return 0
    mended = False
    for package in known:
        for each in package["vulns"]:
            mended = mended or bool(each["fix_versions"])
            versions = ", ".join(each["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {each['id']}, mended in {versions}")
    print(f"audit: {len(known)} of {len(packages)} packages looked up")
    return int(mended)


if __name__ == "__main__":
    sys.exit(main())
