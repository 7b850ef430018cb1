"""Registering an image: on every node first, in the API servers then, each step seen to be true before the next."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.containers import Container, running
from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia import api
from fimg_pipeline.kuscia.deployment import Deployment
from fimg_pipeline.kuscia.importing import import_image
from fimg_pipeline.kuscia.node import Held, Node
from fimg_pipeline.kuscia.reference import Reference, parse
from fimg_pipeline.ship.bundle import Content
from fimg_pipeline.ship.collect import collect
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.ship.saved import SavedImage

#: Questions to nodes at a time.
_AT_ONCE: Final = 8
_ANY_ID: Final = f"sha256:{'0' * 64}"

Log = Callable[[str], None]
T = TypeVar("T")
U = TypeVar("U")


class RegistrationError(FimgError):
    """Not every node has what it should."""


@dataclass
class Result:
    """What a node has now. ``image``: ``None`` where none belongs, or none is; ``app_image`` likewise.

    ``earlier``: it had an AppImage of that name before. ``sent``: it was sent one, and has it ("otherwise") or may have
    it ("unseen").
    """

    node: str
    image: Literal["imported", "there"] | None = None
    app_image: str | None = None
    problem: str | None = None
    earlier: bool = False
    sent: Literal["otherwise", "unseen"] | None = None


@dataclass(frozen=True)
class Nodes:
    """The nodes of a deployment, all of them running, of one platform."""

    images: Sequence[Node]
    servers: Sequence[Container]
    platform: Platform


@dataclass(frozen=True)
class Wanted:
    """What is to be registered: the image ``engine_id`` of the engine, as ``reference``, by the AppImage ``document``.

    ``pinned``: the AppImage names the image's id, too, and nodes refuse another one of that name.
    """

    reference: Reference
    engine_id: str
    document: Mapping[str, Any]
    pinned: bool = False


@dataclass(frozen=True)
class Registration:
    """What is registered: the image of ``image_id`` as ``reference`` on nodes ``images``, ``document`` on ``servers``.

    ``results``: what that took, a node each.
    """

    reference: str
    image_id: str
    document: Mapping[str, Any]
    images: Sequence[str]
    servers: Sequence[str]
    results: Sequence[Result] = ()

    @property
    def name(self) -> str:
        """The AppImage's."""
        return str(self.document["metadata"]["name"])


def find_nodes(engine: Engine, deployment: Deployment) -> Nodes:
    """The nodes of ``deployment``; :class:`RegistrationError` naming all that are not there or can't be used."""
    names = dict.fromkeys((*deployment.image_nodes, *deployment.api_nodes))
    containers = _each({name: name for name in names}, lambda name: running(engine, name))
    nodes = {name: Node(containers[name]) for name in deployment.image_nodes}
    platforms = _each(nodes, Node.platform)
    if len(set(platforms.values())) > 1:
        listed = ", ".join(f"{name} {platform}" for name, platform in platforms.items())
        raise RegistrationError(
            f"the nodes are of several architectures, and an image is of one: {listed}",
            hint="register an image for each architecture, under names of their own",
        )
    platform = next(iter(platforms.values()))
    return Nodes(list(nodes.values()), [containers[name] for name in deployment.api_nodes], platform)


def register(engine: Engine, store: LayerStore, nodes: Nodes, wanted: Wanted, say: Log) -> Registration:
    """Brings the image to all nodes that lack it, and then the AppImage to every API server.

    What is there already stays, so that running it again after a failure completes it. Raises
    :class:`RegistrationError` saying which node failed at what, and what is where.
    """
    # Its id is known once it has been read; servers of Kuscia before 0.6 want one.
    tried = _pinned(wanted.document, _ANY_ID) if wanted.pinned else wanted.document
    earlier = _each({server.name: server for server in nodes.servers}, lambda server: api.try_out(server, tried))
    image = collect(engine, store, [wanted.engine_id], say)[wanted.engine_id]
    document = _pinned(wanted.document, image.image_id) if wanted.pinned else wanted.document
    _require_id(document, image.image_id)
    results = {name: Result(name) for name in (*(n.name for n in nodes.images), *(s.name for s in nodes.servers))}
    for name, there in earlier.items():
        results[name].earlier = there
    _import(nodes.images, image, wanted.reference, store, results, say)
    _require(results, wanted)

    def apply(server: Container) -> str:
        answer = api.apply(server, document)
        say(f"{server.name}: AppImage {answer}")
        return answer

    for name, answer in _answers({server.name: server for server in nodes.servers}, apply).items():
        if isinstance(answer, FimgError):
            results[name].problem = _said(name, answer)
            if isinstance(answer, (api.OtherwiseError, api.UnseenError)):
                results[name].sent = "unseen" if isinstance(answer, api.UnseenError) else "otherwise"
        else:
            results[name].app_image = answer
    _require(results, wanted)
    return Registration(
        str(wanted.reference),
        image.image_id,
        document,
        [node.name for node in nodes.images],
        [server.name for server in nodes.servers],
        list(results.values()),
    )


def deviations(engine: Engine, registered: Registration) -> dict[str, str]:
    """What is not as it was registered, by node: the image is another or not whole, the AppImage changed or gone."""

    def problem(name: str) -> str | None:
        try:
            container = running(engine, name)
            if name in registered.images:
                held = Node(container).held(parse(registered.reference))
                if held is None:
                    return f"it has no {registered.reference}"
                if held.image_id != registered.image_id:
                    return f"{registered.reference} is {_short(held.image_id) or 'damaged'} there"
                if not held.complete:
                    return f"{registered.reference} is not complete there"
            if name in registered.servers:
                changed = api.deviations(container, registered.document)
                if changed:
                    what = "is not there" if changed == [""] else f"was changed: {', '.join(changed)}"
                    return f"AppImage {registered.name} {what}"
        except FimgError as error:
            return _said(name, error)
        return None

    nodes = {name: name for name in (*registered.images, *registered.servers)}
    return {name: found for name, found in _each(nodes, problem).items() if found is not None}


def _import(
    nodes: Sequence[Node],
    image: SavedImage,
    reference: Reference,
    store: LayerStore,
    results: Mapping[str, Result],
    say: Log,
) -> None:
    """Sees which nodes lack ``image``, imports it there, and sees that they have it."""
    goal = Held(image.image_id, complete=True)
    before = _each({node.name: node for node in nodes}, lambda node: node.held(reference))
    lacking = []
    for node in nodes:
        held = before[node.name]
        if held == goal:
            results[node.name].image = "there"
            say(f"{node.name}: has {_short(image.image_id)}")
            continue
        lacking.append(node)
        if held is not None and not held.complete:
            say(f"{node.name}: has a part of it, or of another image under that name, which is replaced")
        elif held is not None and held.image_id != image.image_id:
            say(f"{node.name}: has another image under that name, {_short(held.image_id)}, which is replaced")
    if not lacking:
        return
    say(f"importing {_short(image.image_id)} into {len(lacking)} nodes")
    commands = _each({node.name: node for node in lacking}, Node.import_command)
    feeds = [(node.container, commands[node.name]) for node in lacking]
    ended = import_image(feeds, Content({str(reference): image}), store, say)
    well = {node.name: node for node in lacking if ended[node.name].problem is None}
    after = _answers(well, lambda node: node.held(reference))
    for node in lacking:
        result, end = results[node.name], ended[node.name]
        if end.problem is not None:
            left = node.copy_left(commands[node.name])
            result.problem = f"import: {end.problem}" + (f" ({left})" if left else "")
            continue
        answer = after[node.name]
        if isinstance(answer, FimgError):
            result.problem = f"after the import: {_said(node.name, answer)}"
        elif answer == goal:
            result.image = "imported"
            say(f"{node.name}: imported {_short(image.image_id)}")
        elif answer is None:
            result.problem = f"the import ended well, and there is no such image: {end.said}"
        elif answer.image_id == image.image_id:
            result.problem = "the import ended well, and the image is not complete"
        else:
            result.problem = f"the import ended well, and {_short(answer.image_id)} is there instead"


def _require(results: Mapping[str, Result], wanted: Wanted) -> None:
    """:class:`RegistrationError` when a node has a problem."""
    failed = [result for result in results.values() if result.problem]
    if not failed:
        return
    name = wanted.document["metadata"]["name"]
    having = [result.node for result in results.values() if result.image]
    applied = [result.node for result in results.values() if result.app_image]
    otherwise = [result.node for result in results.values() if result.sent == "otherwise"]
    perhaps = [result.node for result in results.values() if result.sent == "unseen"]
    lines = [f"{wanted.reference} is not registered as {name}: {len(failed)} of {len(results)} nodes failed"]
    lines += [f"  {result.node}: {result.problem}" for result in failed]
    where = f"  the image is now in {', '.join(having) or 'none'}; the AppImage in {', '.join(applied) or 'none'}"
    where += f", otherwise than it should be in {', '.join(otherwise)}" if otherwise else ""
    lines.append(where + (f", and perhaps in {', '.join(perhaps)}" if perhaps else ""))
    earlier = [result.node for result in results.values() if result.earlier and not (result.app_image or result.sent)]
    if earlier:
        lines.append(
            f"  an earlier AppImage {name} is still in {', '.join(earlier)}: its tasks run on what nodes have now"
        )
    raise RegistrationError("\n".join(lines), hint="mend that and run it again: what is there is not done twice")


def _require_id(document: Mapping[str, Any], image_id: str) -> None:
    """:class:`RegistrationError` when the AppImage names another image's id: nodes would start nothing."""
    named = str(document["spec"]["image"].get("id") or "")
    # Kuscia compares those, and takes no notice of others.
    if named.startswith("sha256:") and named != image_id:
        raise RegistrationError(
            f"spec.image.id is {named}, and the image is {image_id}: no node would start it",
            hint="leave spec.image.id out of the template, or have it set: --pin",
        )


def _pinned(document: Mapping[str, Any], image_id: str) -> Mapping[str, Any]:
    changed = copy.deepcopy(dict(document))
    changed["spec"]["image"]["id"] = image_id
    return changed


def _short(image_id: str) -> str:
    return image_id[:19]


def _said(name: str, error: FimgError) -> str:
    """What an error says of the node ``name``, behind its name."""
    return error.message.removeprefix(name).lstrip(": ")


def combined(problems: Sequence[FimgError]) -> RegistrationError:
    """One error that says what all of ``problems`` say."""
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    told = dict.fromkeys(problem.message for problem in problems)
    return RegistrationError("\n".join(told), hint="; ".join(hints) or None)


def _each(items: Mapping[str, U], ask: Callable[[U], T]) -> dict[str, T]:
    """What ``ask`` answers for every item, by name; one error that has all that went wrong."""
    answers = _answers(items, ask)
    problems = [answer for answer in answers.values() if isinstance(answer, FimgError)]
    if problems:
        raise combined(problems)
    return {name: answer for name, answer in answers.items() if not isinstance(answer, FimgError)}


def _answers(items: Mapping[str, U], ask: Callable[[U], T]) -> dict[str, T | FimgError]:
    """What ``ask`` answers for every item, or what went wrong, by name; several are asked at a time."""

    def answer(item: U) -> T | FimgError:
        try:
            return ask(item)
        except FimgError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(items, pool.map(answer, items.values()), strict=True))
