"""Runs a page of the documentation as its reader would, block by block, in a folder of its own.

A fenced block with a title is a file: it is written. A block of `bash` is run, all of a page in one shell; one that is
titled "In a second terminal" goes on in the background until something listens at port 8090 (which is another one
here). A block of `text` after it is what was printed, where `...` stands for anything. Blocks of `sh` are for machines
with things of their own, and are not run.

Models are played (`played_providers`), and say what the page's comment `<!-- models say: {"sky": "..."} -->` tells.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
REPLIES = re.compile(r"<!-- models say: (\{.*?\}) -->", re.DOTALL)
BACKGROUND = "In a second terminal"
PORT = "8090"
END = "-- end of block --"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title (of none: empty), and what stands in it."""

    language: str
    title: str
    text: str


def read_blocks(page: Path, port: int) -> tuple[list[Block], dict[str, str]]:
    """The blocks of a page in order, and what the models say on it."""
    text = page.read_text(encoding="utf-8")
    replies: dict[str, str] = {}
    for found in REPLIES.finditer(text):
        replies |= json.loads(found[1])
    return [Block(b[1], b[2] or "", b[3].replace(PORT, str(port))) for b in BLOCK.finditer(text)], replies


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def follow(page: Path, folder: Path, played_url: str, port: int, variables: Mapping[str, str] | None = None) -> None:
    """Does what the page says; raises `AssertionError` with the block that failed, or printed something else."""
    blocks, _ = read_blocks(page, port)
    with _shell(folder, {"STAND_IN_URL": played_url, **(variables or {})}) as shell:
        printed = ""
        for block in blocks:
            match block:
                case Block("text", "", text):
                    assert _fits(text, printed), f"{text}\n--- but:\n{printed}"
                case Block("bash", title, text) if title in ("", BACKGROUND):
                    printed = shell.background(text, port) if title else shell.run(text)
                case Block("python", "", text):
                    printed = shell.python(text)
                case Block(_, title, text) if title:
                    (folder / title).parent.mkdir(parents=True, exist_ok=True)
                    (folder / title).write_text(text, encoding="utf-8")


def _fits(expected: str, printed: str) -> bool:
    """Whether that was printed: blanks and ends of lines are alike, `...` stands for anything."""
    parts = (re.escape(" ".join(part.split())) for part in expected.split("..."))
    return re.fullmatch(r"\s*.*?\s*".join(parts), " ".join(printed.split())) is not None


class _Shell:
    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._servers: list[subprocess.Popen[bytes]] = []
        self._bash = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, text: str) -> str:
        """What a block printed."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {text}\n}} < /dev/null\necho '{END}'\n")
        self._bash.stdin.flush()
        printed = ""
        for line in self._bash.stdout:
            if line.rstrip("\n").endswith(END):
                return printed + line.rstrip("\n").removesuffix(END)
            printed += line
        raise AssertionError(f"{text}\n--- ended with {self._bash.wait(10)}:\n{printed}")

    def python(self, text: str) -> str:
        (self._folder / ".block.py").write_text(text, encoding="utf-8")
        return self.run("python .block.py")

    def background(self, text: str, port: int) -> str:
        """Begins what goes on, and waits for it; what it printed until then."""
        log = self._folder / f".server-{len(self._servers)}.log"
        with log.open("wb") as out:
            command = ["bash", "-c", text.replace("orchestrator serve", "exec orchestrator serve")]
            begun = subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self._servers.append(begun)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return log.read_text(encoding="utf-8")
            assert begun.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        raise AssertionError(f"nothing listens after a minute: {log.read_text(encoding='utf-8')}")

    def close(self) -> None:
        for process in (self._bash, *self._servers):
            process.terminate()
            process.wait(30)
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _shell(folder: Path, variables: Mapping[str, str]) -> Iterator[_Shell]:
    begin = folder / ".begin"  # also where pip installs what a page makes
    begin.mkdir()
    (begin / "sitecustomize.py").write_text("import tests.support.stand_in\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{begin}{os.pathsep}{ROOT}",
        "PIP_TARGET": str(begin),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # means: no isolation
        "NO_COLOR": "1",
        "COLUMNS": "110",
        **variables,
    }
    with _Shell(folder, environment) as shell:
        yield shell
