"""Pages of the site that are made from the code: a hook of mkdocs (see mkdocs.yml).

What stands beside docs/ (README, CHANGELOG, CONTRIBUTING, SECURITY, the list of examples) becomes a page, too; links to
files of the repository that are no pages become plain names.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import posixpath
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
BESIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
EXAMPLES = Path(__file__).with_name("reference_examples.yaml")
VERBS = ("get", "post", "put", "patch", "delete")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made."""
    pages = {
        "reference/python.md": python_page(),
        "reference/commands.md": commands_page(),
        "reference/fields.md": fields_page(),
        "reference/verbs.md": verbs_page(),
        "reference/pipeline-file.md": pipeline_file_page(),
        "reference/events.md": events_page(),
        "reference/http.md": http_page(),
        "reference/errors.md": errors_page(),
        "reference/metrics.md": metrics_page(),
        **{page: (ROOT / source).read_text(encoding="utf-8") for source, page in BESIDE.items()},
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links to what lies beside docs/ lead to its page, or are no links."""
    source = next((s for s, p in BESIDE.items() if p == page.file.src_uri), f"docs/{page.file.src_uri}")

    def linked(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        if "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        path, _, anchor = target.partition("#")
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) if path else source
        if whole == "docs/decisions":
            whole = "docs/decisions/README.md"
        if whole in ("examples", "examples/"):
            whole = "examples/README.md"
        within = BESIDE.get(whole) or whole.removeprefix("docs/")
        if whole not in BESIDE and (not whole.startswith("docs/") or files.get_file_from_path(within) is None):
            return text
        relative = posixpath.relpath(within, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{text}]({relative}{'#' + anchor if anchor else ''})"

    markdown = markdown.replace("](docs/fleet-gsm.png)", "](fleet-gsm.png)")
    if page.file.src_uri == "decisions/README.md":
        markdown += "\n" + "\n".join(decisions()) + "\n"
    return LINK.sub(linked, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Options without a default have none, which newer versions of click call by a name of their own."""
    return html.replace("Sentinel.UNSET", "")


def decisions() -> Iterator[str]:
    """A line for each decision."""
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        yield f"- [{title}]({path.name})"


def python_page() -> str:
    """Every name that `from orchestrator import ...` offers, from its docstring."""
    import orchestrator

    lines = ["# Python", "", "For whoever looks up a name: everything that `from orchestrator import ...` offers.", ""]
    for name in sorted(n for n in orchestrator.__all__ if not n.startswith("_")):
        found = getattr(orchestrator, name)
        module = getattr(found, "__module__", None)
        if isinstance(module, str) and hasattr(importlib.import_module(module), name):
            lines += [f"::: {module}.{name}", ""]
    return "\n".join(lines)


def commands_page() -> str:
    """Every command with its options."""
    head = "# Command line\n\nFor whoever looks up an option. What they are for: [the command line](../cli.md).\n\n"
    options = ("module: orchestrator.cli", "command: main", "prog_name: orchestrator", "depth: 1", "style: table")
    return "\n".join([f"{head}::: mkdocs-click", *(f"    :{option}" for option in options), ""])


def fields_page() -> str:
    """Every section and field of the configuration, each section with an example of all its fields."""
    from orchestrator.config import models

    examples = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["sections"]
    whole = (ROOT / "examples" / "orchestrator.yaml").read_text(encoding="utf-8")
    examples["Config"] = whole.split("\n", 1)[1]
    lines = ["# Every field of the configuration", "", "For whoever looks up a field of `orchestrator.yaml`.", ""]
    return "\n".join([*lines, *section_pages([("", models.Config)], examples)])


def pipeline_file_page() -> str:
    """Every section and field of a pipeline's file but its steps."""
    from orchestrator.pipeline.language.document import Document, Expected, StepBudget
    from orchestrator.pipeline.language.step import Retry

    examples = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["pipeline"]
    lines = [
        "# The file of a pipeline",
        "",
        "For whoever looks up a field of a pipeline's file. What they are for: [pipelines](../pipelines.md). The "
        "fields of steps: [verbs](verbs.md); those of tools: [the configuration](fields.md).",
        "",
    ]
    sections = [("", Document), ("tests.expect", Expected), ("a step's budget", StepBudget), ("a step's retry", Retry)]
    return "\n".join([*lines, *section_pages(sections, examples)])


def section_pages(wanted: list[tuple[str, type[BaseModel]]], examples: Mapping[str, str]) -> Iterator[str]:
    """The sections that are wanted, by where they stand, and all within them: meaning, fields, an example."""
    seen: set[type[BaseModel]] = set()
    wanted = list(wanted)
    while wanted:
        where, section = wanted.pop(0)
        if section in seen:
            continue
        seen.add(section)
        about = " ".join((section.__doc__ or "").split())
        yield from (f"## {where or 'the file'}", "", about, "", *field_rows(section, section.model_fields), "")
        yield from ("```yaml", textwrap.dedent(examples[section.__name__]).strip(), "```", "")
        for name, field in section.model_fields.items():
            wanted += [(f"{where}.{name}".lstrip("."), s) for s in sections_in(field.annotation)]


def field_rows(section: type[BaseModel], names: Iterable[str]) -> Iterator[str]:
    """The table of a section's fields, under the names that they have in a file."""
    told = attribute_docs(section)
    yield from ("| field | type | default | meaning |", "|---|---|---|---|")
    for name in names:
        field = section.model_fields[name]
        default = "required" if field.is_required() else cell(shown(field.get_default(call_default_factory=True)))
        kind = cell(kind_of(field.annotation))
        about = told.get(name) or field.description or ""
        yield f"| `{field.alias or name}` | {kind} | {default} | {cell(about)} |"


def verbs_page() -> str:
    """Every verb of pipelines with its fields and an example."""
    from orchestrator.pipeline.language.step import Step

    lines = [
        "# Verbs of pipelines",
        "",
        "For whoever looks up a step. What they are for: [pipelines](../pipelines.md). Where values are expected, an "
        "expression may stand, `${...}`. Each example stands under a step's name; `small` and `large` are names of "
        "models in your configuration.",
        "",
        "## On any step",
        "",
        *field_rows(Step, Step.model_fields),
        "",
    ]
    examples = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["verbs"]
    for verb, kind in step_kinds():
        own = [name for name in kind.model_fields if name not in Step.model_fields]
        about = " ".join((kind.__doc__ or "").split())
        lines += [f"## `{verb}`", "", about, "", *field_rows(kind, own), ""]
        lines += ["```yaml", examples[verb].strip(), "```", ""]
    return "\n".join(lines)


def step_kinds() -> Iterator[tuple[str, type[BaseModel]]]:
    """Each verb with its class; those of `memory` with what they do."""
    from orchestrator.pipeline.loading.step_registry import MEMORY, VERBS

    places = {
        **VERBS,
        **{f"memory {name}": f"memory:{kind}" for name, kind in MEMORY.items()},
    }
    for verb, place in places.items():
        module, _, name = place.partition(":")
        yield verb, getattr(importlib.import_module(f"orchestrator.pipeline.steps.{module}"), name)


def events_page() -> str:
    """Every kind of event, of searches, runs with tools and pipelines."""
    from orchestrator.trace import EVENTS

    lines = [
        "# Events",
        "",
        "For whoever shows progress: what `on_event`, `stream` and `Pipeline.stream` tell of (`event.kind`), with what "
        "stands in `event.detail`. At the gateway they are `event: orchestrator.progress` of a stream.",
        "",
        "| kind | when | detail |",
        "|---|---|---|",
        *(
            f"| `{kind}` | {cell(told.when)} | {', '.join(f'`{name}`' for name in told.detail)} |"
            for kind, told in EVENTS.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in sections_in(part)]


def kind_of(annotation: Any) -> str:
    """An annotation in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(parts[0])
    if origin is Literal:
        return ", ".join(map(str, parts)) if len(parts) <= 8 else "a name"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind_of(part) for part in parts))
    if origin is list or origin is tuple:
        return f"list of {kind_of(parts[0])}"
    if origin is dict:
        return f"mapping of {kind_of(parts[1])}"
    names = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true or false",
        "NoneType": "null",
        "Any": "any value",
    }
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, f"section ({name})" if sections_in(annotation) else name)


def shown(value: Any) -> str:
    """A default as YAML would have it."""
    if isinstance(value, BaseModel):
        return "its own defaults"
    if isinstance(value, dict) and any(isinstance(part, BaseModel) for part in value.values()):
        return ", ".join(value)
    return yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("...").strip()


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def attribute_docs(section: type) -> dict[str, str]:
    """The texts that stand under the fields of a class, and of those that it is made of."""
    found: dict[str, str] = {}
    for one in reversed(section.__mro__):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for statement, after in pairwise(body):
            match statement, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = text
    return found


def http_page() -> str:
    """Every operation of the gateway, from its OpenAPI document."""
    from orchestrator.gateway.api.endpoints import ENDPOINTS
    from orchestrator.gateway.api.openapi import document

    found = document(ENDPOINTS)
    lines = [
        "# HTTP",
        "",
        "For whoever calls the gateway: the operations of its OpenAPI document, which it serves at `/openapi.json` and "
        "checks every request against. Fields and examples stand there, and at `/docs` of a gateway.",
        "",
    ]
    for path, operations in sorted(found["paths"].items()):
        for verb in VERBS:
            if verb in operations:
                one = operations[verb]
                lines += [f"### `{verb.upper()} {path}`", "", one.get("summary", ""), ""]
                told = [p for p in one.get("parameters", ()) if "name" in p]
                if told:
                    lines += ["| parameter | in | meaning |", "|---|---|---|"]
                    lines += [f"| `{p['name']}` | {p['in']} | {cell(p.get('description', ''))} |" for p in told]
                    lines.append("")
    return "\n".join(lines)


def errors_page() -> str:
    """Every error by its code, and every diagnostic of a pipeline."""
    from orchestrator import errors

    lines = [
        "# Errors",
        "",
        "For whoever got one. Each has a code that stays, a message, and a remedy (`error.remedy`); the gateway and "
        "`--json` tell all three.",
        "",
        "| code | class | meaning |",
        "|---|---|---|",
    ]
    for module in ("memory", "pipeline", "plugins.entry_points", "router.learning.outcomes", "verifiers.sandbox"):
        importlib.import_module(f"orchestrator.{module}")
    kinds = [kind for kind in error_kinds(errors.OrchestratorError) if not kind.__name__.startswith("_")]
    lines += [
        f"| `{kind.code}` | `{kind.__name__}` | {cell(inspect.getdoc(kind) or '')} |"
        for kind in sorted(kinds, key=lambda k: k.code)
    ]
    lines += ["", "## Mistakes in pipelines", "", "`orchestrator explain CODE` says the same.", ""]
    codes = yaml.safe_load((ROOT / "orchestrator" / "pipeline" / "language" / "codes.yaml").read_text(encoding="utf-8"))
    for code, told in codes.items():
        lines += [f"### {code}: {told['title']}", "", str(told["about"]).strip(), ""]
    return "\n".join(lines)


def error_kinds(kind: type) -> list[Any]:
    """A class of errors and all that are made of it, in every package."""
    return [kind, *(each for below in kind.__subclasses__() for each in error_kinds(below))]


def metrics_page() -> str:
    """Every metric of the gateway."""
    from orchestrator.gateway.observability.metrics import Metrics

    lines = [
        "# Metrics",
        "",
        "For whoever watches a gateway: what `GET /metrics` gives (the operator's key; extra `gateway`).",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for one in Metrics(lambda: 0, lambda: 0.0)._registry._collector_to_names:
        if hasattr(one, "_labelnames"):
            for told in one.describe():
                labels = ", ".join(one._labelnames)
                name = f"{told.name}_total" if told.type == "counter" else told.name
                lines.append(f"| `{name}` | {told.type} | {cell(labels)} | {cell(told.documentation)} |")
    return "\n".join(lines) + "\n"
