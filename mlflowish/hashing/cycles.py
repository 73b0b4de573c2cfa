"""Values that contain themselves: the whole graph at once, one strongly connected component after the other.

A component has no first member to start from, and how it was entered must not matter. So its members are told apart
by partition refinement (Hopcroft, "An n log n algorithm for minimizing states in a finite automaton", 1971, in its
simple rounds): each gets a colour from its own head and the colours of its children, until the number of colours
stands still. Members of one colour cannot be told apart by any path, so they are the same value. What is hashed is
the graph of colours, sorted, and the place in it: two values digest alike exactly if their unfoldings are equal.
"""

from __future__ import annotations

from typing import Any

from mlflowish.hashing.plain import plain_digest
from mlflowish.hashing.tree import MAX_DEPTH, CodeHook, Walk
from mlflowish.hashing.writer import CYCLE, Done, Label, Node, digest_of

# Rounds times edges: a knot of equal members as long as this allows takes about a minute.
MAX_WORK = 50_000_000


def digest_cyclic(root: Any, code: CodeHook, path: str) -> bytes:
    """The digest of a value that contains itself somewhere."""
    graph = _Graph(code, path)
    start = graph.read(root)
    for members in _components(graph.vertices):
        if len(members) == 1 and members[0] not in graph.vertices[members[0]].edges:
            graph.close(members[0])
        else:
            graph.close_knot(members)
    return graph.digest_at(start)


class _Vertex:
    """One value of the graph: its node, its children as digests or as numbers of vertices, and how it was reached."""

    __slots__ = ("children", "depth", "digest", "edges", "index", "label", "node", "parent", "value")

    def __init__(self, value: Any, parent: _Vertex | None, index: int) -> None:
        self.value = value
        self.parent = parent
        self.index = index
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.node: Node | None = None
        self.children: list[int | bytes] = []
        self.edges: list[int] = []
        self.label: Label | None = None
        self.digest: bytes | None = None


class _Graph(Walk):
    """Reads the values that can be reached from one, each once."""

    def __init__(self, code: CodeHook, path: str) -> None:
        super().__init__(code, path)
        self.vertices: list[_Vertex] = []
        self._numbers: dict[int, int] = {}
        self._turns: dict[tuple[bytes, tuple[bytes, ...]], bytes] = {}
        self._current: _Vertex | None = None

    @property
    def path(self) -> str:
        steps: list[str] = []
        vertex = self._current
        while vertex is not None and vertex.parent is not None:
            label = vertex.parent.label
            steps.append("" if label is None else label(vertex.index))
            vertex = vertex.parent
        return self.base_path + "".join(reversed(steps))

    def read(self, root: Any) -> int:
        """Make the graph below `root`; the number of its vertex."""
        pending = [self._number(root, None, 0)]
        while pending:
            vertex = self.vertices[pending.pop()]
            self._current = vertex
            shape = vertex.value if type(vertex.value) is Node else self.expand(vertex.value)
            if isinstance(shape, Done):
                vertex.digest = shape
                continue
            vertex.node, vertex.label = shape, shape.label
            known = len(self.vertices)
            for index, child in enumerate(shape.children):
                done = child if type(child) is Done else plain_digest(child)
                vertex.children.append(self._number(child, vertex, index) if done is None else done)
            vertex.edges = [child for child in vertex.children if isinstance(child, int)]
            pending.extend(range(len(self.vertices) - 1, known - 1, -1))
        return 0

    def _number(self, value: Any, parent: _Vertex | None, index: int) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.vertices)
            self.vertices.append(_Vertex(value, parent, index))
            if self.vertices[number].depth > MAX_DEPTH:
                self.refuse_endless()
        return number

    def digest_at(self, number: int) -> bytes:
        digest = self.vertices[number].digest
        assert digest is not None, "a component was closed before the ones below it"
        return digest

    def close(self, number: int) -> None:
        """Digest a vertex that is in no cycle: the same as in a value without any."""
        vertex = self.vertices[number]
        if vertex.node is not None:
            below = self._below(vertex)
            # A step into a cycle that is like the cycle's own steps is the cycle, one turn longer.
            vertex.digest = self._turns.get((vertex.node.head, tuple(below))) or vertex.node.close(below)

    def _below(self, vertex: _Vertex) -> list[bytes]:
        """The digests of a vertex's children, sorted where they have no order."""
        assert vertex.node is not None, "what has no node has no children"
        digests = [bytes(child) if isinstance(child, bytes) else self.digest_at(child) for child in vertex.children]
        return sorted(digests) if vertex.node.unordered else digests

    def close_knot(self, members: list[int]) -> None:
        """Digest the members of one component."""
        colours = self._stable_colours(members)
        places = {colour: place for place, colour in enumerate(sorted(set(colours.values())))}
        one_of = {colour: number for number, colour in colours.items()}
        tokens = {number: places[colour].to_bytes(8, "little") for number, colour in colours.items()}
        whole = digest_of(CYCLE + b"".join(self._record(one_of[colour], tokens) for colour in places))
        for number in members:
            self.vertices[number].digest = digest_of(CYCLE + whole + tokens[number])
        for number in one_of.values():
            vertex = self.vertices[number]
            assert vertex.node is not None, "what has no node is in no cycle"
            assert vertex.digest is not None, "it was digested just now"
            self._turns[vertex.node.head, tuple(self._below(vertex))] = vertex.digest

    def _stable_colours(self, members: list[int]) -> dict[int, bytes]:
        colours = dict.fromkeys(members, b"")
        edges = sum(len(self.vertices[number].children) for number in members) + len(members)
        work = count = 0
        while True:
            colours = {number: digest_of(CYCLE + self._record(number, colours)) for number in members}
            previous, count = count, len(set(colours.values()))
            if count == previous:
                return colours
            work += edges
            if work > MAX_WORK:
                self._current = self.vertices[members[0]]
                self.refuse(self._current.value, "it is a knot of references too large and too uniform to tell apart")

    def _record(self, number: int, tokens: dict[int, bytes]) -> bytes:
        """A member's own part, and its children: `e` and a digest outside of the component, `i` and a token inside."""
        vertex = self.vertices[number]
        assert vertex.node is not None, "what has no children is in no cycle"
        parts = [
            b"e" + child
            if isinstance(child, bytes)
            else b"i" + tokens[child]
            if child in tokens
            else b"e" + self.digest_at(child)
            for child in vertex.children
        ]
        parts = [len(part).to_bytes(1, "little") + part for part in parts]
        if vertex.node.unordered:
            parts.sort()
        head = vertex.node.head
        return b"".join([len(head).to_bytes(8, "little"), head, len(parts).to_bytes(8, "little"), *parts])


def _components(vertices: list[_Vertex]) -> list[list[int]]:
    """Strongly connected components, those below before those above (Tarjan 1972, on a stack of its own)."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: set[int] = set()
    stack: list[int] = []
    found: list[list[int]] = []
    for root in range(len(vertices)):
        if root in order:
            continue
        work = [(root, 0)]
        while work:
            number, position = work.pop()
            if position == 0:
                order[number] = low[number] = len(order)
                stack.append(number)
                on_stack.add(number)
            edges = vertices[number].edges
            for position in range(position, len(edges)):  # noqa: B020  # goes on where it stopped
                child = edges[position]
                if child not in order:
                    work.append((number, position + 1))
                    work.append((child, 0))
                    break
                if child in on_stack:
                    low[number] = min(low[number], order[child])
            else:
                if low[number] == order[number]:
                    members: list[int] = []
                    while not members or members[-1] != number:
                        members.append(stack.pop())
                        on_stack.discard(members[-1])
                    found.append(members)
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[number])
    return found
