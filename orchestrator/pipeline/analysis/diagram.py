"""A pipeline as a picture: Mermaid text, or an SVG that needs nothing else. Drawn here; nothing is sent anywhere.

The SVG is layered (Sugiyama, Tagawa & Toda 1981): a step stands below all that it waits for; within a layer, steps are
ordered by the mean position of those above them; steps within a step are drawn inside of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from orchestrator.pipeline.compiled import Block, CompiledPipeline, Node

CHAR_W, LINE_H, PAD, GAP_X, GAP_Y, TITLE_H, MIN_W = 7.5, 17.0, 12.0, 22.0, 40.0, 30.0, 110.0
_INKS = {
    "models": ("#e8f0fe", "#3559a8"),
    "memory": ("#e6f4ea", "#2b7a43"),
    "tools": ("#fdf0e1", "#a35a10"),
    "flow": ("#f4f5f7", "#69707d"),
    "check": ("#f3e8fd", "#7440a8"),
}
_KIND = {
    "search": "models", "ask": "models", "extract": "models", "classify": "models", "decide": "models",
    "memory": "memory", "tool": "tools", "verify": "check", "route": "check",
}  # fmt: skip


def mermaid(pipeline: CompiledPipeline) -> str:
    """The graph as a Mermaid flowchart."""
    lines = ["flowchart TD"]
    _mermaid(pipeline.block, "", lines, 1)
    return "\n".join(lines) + "\n"


def _mermaid(block: Block, prefix: str, lines: list[str], depth: int) -> None:
    space = "  " * depth
    for node in block.nodes:
        id_ = _id(prefix + node.name)
        if node.blocks:
            lines.append(f'{space}subgraph {id_}["{_quoted(_title(node))}"]')
            for inner in node.blocks.values():
                _mermaid(inner, f"{prefix}{node.name}.", lines, depth + 1)
            lines.append(f"{space}end")
        else:
            lines.append(f'{space}{id_}["{_quoted(_title(node))}"]')
    for index, node in enumerate(block.nodes):
        for other in block.next[index]:
            arrow = "-->" if other in block.needed else "-.->"
            lines.append(f"{space}{_id(prefix + node.name)} {arrow} {_id(prefix + block.nodes[other].name)}")


def _id(path: str) -> str:
    return "s_" + path.replace(".", "__")


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;")


def _title(node: Node) -> str:
    return f"{node.name} · {_verb(node)}"


def _verb(node: Node) -> str:
    step = node.step
    flavour = getattr(step, step.verb, None) if step.verb in ("memory", "search", "ask", "tool", "pipeline") else None
    return f"{step.verb} {flavour}" if isinstance(flavour, str) else step.verb


@dataclass
class _Box:
    """A step as it is drawn; `x` and `y` are those of its corner, within the box around it."""

    node: Node
    path: str
    w: float
    h: float
    inner: list[_Drawing]
    notes: tuple[str, ...] = ()
    x: float = 0.0
    y: float = 0.0


@dataclass
class _Drawing:
    boxes: list[_Box]
    block: Block
    w: float
    h: float


def svg(
    pipeline: CompiledPipeline,
    *,
    notes: Mapping[str, Sequence[str]] | None = None,
    critical: frozenset[str] = frozenset(),
) -> str:
    """The graph as SVG.

    `notes` are lines under the name of the step at a path, `critical` the paths that are drawn as such.
    """
    drawing = _layout(pipeline.block, "", notes or {})
    w, h = drawing.w + 2 * PAD, drawing.h + 2 * PAD + TITLE_H
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(pipeline.name)}</title>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path '
        'd="M0 0L8 4L0 8z" '
        'fill="#69707d"/></marker></defs>',
        f'<rect width="{w:.0f}" height="{h:.0f}" fill="#ffffff"/>',
        f'<text x="{PAD:.0f}" y="22" font-size="15" font-weight="600" fill="#1f2430">{escape(pipeline.name)}</text>',
    ]
    _draw(drawing, PAD, PAD + TITLE_H, parts, critical)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _layout(block: Block, prefix: str, notes: Mapping[str, Sequence[str]]) -> _Drawing:
    boxes = [_box(node, f"{prefix}{node.name}", notes) for node in block.nodes]
    layers = _layers(block)
    y, width = 0.0, max(sum(boxes[i].w for i in layer) + GAP_X * (len(layer) - 1) for layer in layers)
    for layer in layers:
        x = (width - sum(boxes[i].w for i in layer) - GAP_X * (len(layer) - 1)) / 2
        for index in layer:
            boxes[index].x, boxes[index].y = x, y
            x += boxes[index].w + GAP_X
        y += max(boxes[i].h for i in layer) + GAP_Y
    return _Drawing(boxes, block, width, y - GAP_Y)


def _layers(block: Block) -> list[list[int]]:
    """The steps by how many stand above them, each layer ordered by the mean place of those that its steps wait for."""
    depth = [0] * len(block.nodes)
    for index in range(len(depth)):
        depth[index] = max((depth[other] + 1 for other in block.before(index)), default=0)
    layers: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    place: dict[int, float] = {}
    for at, layer in enumerate(layers):
        members = [index for index in range(len(depth)) if depth[index] == at]

        def mean(index: int) -> float:
            above = [place[other] for other in block.before(index)]
            return sum(above) / len(above) if above else 0.5

        layer += sorted(members, key=mean)
        for rank, index in enumerate(layer):
            place[index] = (rank + 0.5) / len(layer)
    return layers


def _box(node: Node, path: str, notes: Mapping[str, Sequence[str]]) -> _Box:
    told = tuple(notes.get(path, ()))
    inner = [_layout(each, f"{path}.", notes) for each in node.blocks.values()]
    lines = [_verb(node), *told] if not inner else []
    w = max([MIN_W, len(node.name) * (CHAR_W + 1) + 2 * PAD, *(len(line) * CHAR_W + 2 * PAD for line in lines)])
    if inner:
        w = max(
            [len(_title(node)) * CHAR_W + 2 * PAD, sum(each.w for each in inner) + GAP_X * (len(inner) - 1) + 2 * PAD]
        )
        h = max(each.h for each in inner) + TITLE_H + PAD + LINE_H * len(told)
    else:
        h = 16.0 + LINE_H * (1 + len(lines))
    return _Box(node, path, w, h, inner, told)


def _draw(drawing: _Drawing, left: float, top: float, parts: list[str], critical: frozenset[str]) -> None:
    for index, box in enumerate(drawing.boxes):
        block = drawing.block
        parts += (_edge(box, drawing.boxes[other], left, top, other in block.needed) for other in block.next[index])
    for box in drawing.boxes:
        x, y = left + box.x, top + box.y
        fill, ink = _INKS[_KIND.get(box.node.step.verb, "flow")]
        stroke = ("#c2342b", 2) if box.path in critical else (ink, 1)
        dashes = ' stroke-dasharray="4 3"' if box.node.when is not None else ""
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{box.w:.1f}" height="{box.h:.1f}" rx="7" fill="{fill}" '
            f'stroke="{stroke[0]}" '
            f'stroke-width="{stroke[1]}"{dashes}/>'
        )
        if box.inner:
            _text(parts, x + PAD, y + 19, _title(box.node), ink, weight=600)
            for row, note in enumerate(box.notes):
                _text(parts, x + PAD, y + 19 + LINE_H * (row + 1), note, "#4a5160")
            at = x + PAD
            for each in box.inner:
                _draw(each, at, y + TITLE_H + LINE_H * len(box.notes), parts, critical)
                at += each.w + GAP_X
        else:
            _text(parts, x + PAD, y + 20, box.node.name, "#1f2430", weight=600)
            for row, line in enumerate([_verb(box.node), *box.notes]):
                _text(parts, x + PAD, y + 20 + LINE_H * (row + 1), line, ink if row == 0 else "#4a5160")


def _edge(box: _Box, other: _Box, left: float, top: float, is_needed: bool) -> str:
    x1, y1 = left + box.x + box.w / 2, top + box.y + box.h
    x2, y2 = left + other.x + other.w / 2, top + other.y
    bend = max((y2 - y1) / 2, 12)
    dashes = "" if is_needed else ' stroke-dasharray="4 3"'
    path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2 - 1:.1f}"
    return f'<path d="{path}" fill="none" stroke="#69707d"{dashes} marker-end="url(#a)"/>'


def _text(parts: list[str], x: float, y: float, text: str, ink: str, *, weight: int = 400) -> None:
    parts.append(f'<text x="{x:.1f}" y="{y:.1f}" fill="{ink}" font-weight="{weight}">{escape(text)}</text>')
