"""Runs the steps of deploy/Dockerfile where there is no container engine: `python -m scripts.try_dockerfile`.

ENV, COPY, RUN, ENTRYPOINT and HEALTHCHECK are done in an empty folder that stands for the image's root, with a virtual
environment of this Python for the image's. What only a container has is left out: the base image, the user, the volume.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from storygen.app_process import free_port

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PORT, PATIENCE = 7860, 120
ONLY_IN_A_CONTAINER = ("useradd", "install")
"""Commands that change the machine: in the folder they do nothing."""


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction with its arguments, lines joined, remarks left out."""
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    steps = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [tuple(step.split(None, 1)) for step in steps if step.strip()]


def build(image: Path, environment: dict[str, str]) -> tuple[list[str], list[str]]:
    """Does the steps that make the image in a folder; the commands that start the server and that look after it."""
    work, entry, check = image, [], []
    for name, arguments in instructions(DOCKERFILE):
        moved = re.sub(r"(?<![\w.])/(app|data)\b", rf"{image}/\1", arguments)
        match name:
            case "ENV":
                environment |= dict(pair.split("=", 1) for pair in shlex.split(moved))
            case "ARG":
                environment.setdefault(*shlex.split(arguments)[0].split("=", 1))
            case "WORKDIR":
                work = Path(moved)
                work.mkdir(parents=True)
            case "COPY":
                source, target = arguments.split()
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, work / target)
            case "RUN":
                print(f"RUN {arguments}", flush=True)
                subprocess.run(["/bin/sh", "-ec", moved], cwd=work, env=environment, check=True)
            case "ENTRYPOINT":
                entry = json.loads(arguments)
            case "HEALTHCHECK":
                check = json.loads(arguments.split("CMD", 1)[1])
    return entry, check


def main() -> None:
    """Builds, starts, waits until the health check is content, and stops it as an engine does."""
    with tempfile.TemporaryDirectory() as folder:
        image, port = Path(folder).resolve(), free_port()
        venv.create(image / "usr", with_pip=True)
        (image / "stubs").mkdir()
        for name in ONLY_IN_A_CONTAINER:
            (image / "stubs" / name).write_text("#!/bin/sh\n")
            (image / "stubs" / name).chmod(0o755)
        paths = (image / "usr" / "bin", image / "stubs", "/usr/local/bin", "/usr/bin", "/bin")
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # where it finds packages
        environment = {**pip, "PATH": os.pathsep.join(map(str, paths)), "HOME": folder}
        entry, check = build(image, environment)
        check = [argument.replace(f":{PORT}/", f":{port}/") for argument in check]
        started = time.monotonic()
        server = subprocess.Popen([*entry, "--port", str(port)], cwd=image / "app", env=environment)
        try:
            while subprocess.run(check, env=environment, stderr=subprocess.DEVNULL).returncode:
                if server.poll() is not None or time.monotonic() > started + PATIENCE:
                    sys.exit("the server does not come up")
                time.sleep(0.5)
            print(f"healthy after {time.monotonic() - started:.1f} s")
        finally:
            server.terminate()
            code = server.wait(30)
        print(f"stopped with exit code {code}")


if __name__ == "__main__":
    main()
