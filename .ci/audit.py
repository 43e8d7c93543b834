"""Are there known vulnerabilities in the packages that production installs?

Exit code 1 if there are, or if it cannot be told. Where the service that knows them cannot be
reached, or knows none of the packages, a line says that they were not looked for, and the check
goes on.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"
LONGEST_SECONDS = 60
# How pip-audit ends when it cannot reach the service. The names of packages are in what it says of
# other faults, so that single words tell nothing.
UNREACHED = re.compile(
    r"^requests\.exceptions\.(ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError): "
    r"|^ERROR:pip_audit\._cli:Could not connect to PyPI's vulnerability feed$",
    re.M,
)


def main() -> int:
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(REQUIREMENTS)),
        *("--disable-pip", "--no-deps", "--require-hashes", "--progress-spinner", "off"),
        *("--format", "json", "--timeout", "5"),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
        )
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return left_out(f"it took more than {LONGEST_SECONDS} seconds")
    except (ValueError, KeyError, TypeError):
        why = done.stderr.strip() or "pip-audit said nothing"
        if UNREACHED.search(why):
            return left_out(why.splitlines()[-1])
        print(f"The packages could not be audited. {why}")
        return 1
    return judge(packages)


def judge(packages: list[dict]) -> int:
    vulnerable = [package for package in packages if package.get("vulns")]
    for package in vulnerable:
        for vulnerability in package["vulns"]:
            fixed = ", ".join(vulnerability.get("fix_versions") or []) or "no version yet"
            print(
                f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}."
            )
    if vulnerable:
        print("Raise these packages in pyproject.toml, and run `make lock`.")
        return 1
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if not packages:
        print(f"{REQUIREMENTS.name} names no packages: run `make lock`.")
        return 1
    # Some networks' stand-ins for PyPI have packages, but not what is known about them.
    if len(skipped) == len(packages):
        return left_out(f"none of the {len(packages)} packages could be looked up")
    if skipped:
        print(f"These packages could not be looked up: {', '.join(skipped)}.")
        return 1
    print(f"No known vulnerability in {len(packages)} packages.")
    return 0


def left_out(why: str) -> int:
    print(f"The audit of the packages was left out: {why}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
