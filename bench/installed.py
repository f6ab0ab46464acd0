"""What can be measured on this machine: programs that are built, packages that are there or that npm installs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from processes import Failed

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parent

CACHE = Path.home() / ".cache" / "hatchery-bench"
"""Where npm installs peers, unless told otherwise."""

NPM_PATIENCE = 300
"""Seconds that the installation of a peer may take."""

PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "node": "nodejs", "npm": "npm"}
"""Debian's package of a program, where it has another name or must be there."""


def tool(name):
    """The path of a program; servers are often outside the PATH of a plain user."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def check_tools(*names):
    if missing := [PACKAGES.get(name, name) for name in names if not tool(name)]:
        raise Failed(f"install what is missing: apt-get install {' '.join(missing)}")


def build():
    """Builds the template and the small peers for release; the folder of the programs."""
    if not shutil.which("cargo"):
        raise Failed("cargo is missing: install Rust")
    command = ["cargo", "build", "--release", "--locked", "-p", "app-template", "-p", "hatchery-bench"]
    if subprocess.run(command, cwd=REPOSITORY).returncode != 0:
        raise Failed("the build failed")
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    answer = subprocess.run(metadata, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    return Path(json.loads(answer.stdout)["target_directory"]) / "release"


def node_modules(name, cache):
    """The folder of the packages of the peer in the folder `name`, installed below `cache` if they are not there."""
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(BENCH / name / "package.json", folder)
    wanted = json.loads((folder / "package.json").read_text())["dependencies"][name]
    installed = folder / "node_modules" / name / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != wanted:
        install(folder)
    return folder / "node_modules"


def install(folder):
    check_tools("npm")
    command = [tool("npm"), "install", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"npm took more than {NPM_PATIENCE} s to install into {folder}") from error
    if done.returncode != 0:
        raise Failed(f"npm could not install into {folder}: {done.stderr.strip()[-300:]}")


def available(needs, cache):
    """What the starts of the servers want to know, for those that can be measured here; says which are left out.
    `needs` has for each server its program, None if it is built, and the folder of its npm packages, None if it has
    none.
    """
    found = {}
    for name, (program, packages) in needs.items():
        try:
            if program:
                check_tools(program)
            found[name] = [node_modules(packages, cache)] if packages else []
        except (Failed, OSError) as failure:
            print(f"left out: {name}: {failure}", file=sys.stderr)
    return found
