"""What the reference has to have: each public name of the package, and each field and method of a class."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from types import ModuleType
from typing import Any, get_origin

PACKAGE = "resilient_transport"
#: The modules that users import from; where one has no `__all__`, what it defines without an underscore.
MODULES = ("", ".events", ".testing", ".otel", ".dask", ".redis", ".waterfall.chart")
#: Classes that nobody imports: functions of the public ones return their values.
RETURNED = (
    ".events.attempt.Attempts",
    ".events.attempt.Warmed",
    ".installation.Installation",
    ".pool.registry.Registry",
    ".telemetry.counters.Counts",
    ".telemetry.counters.Durations",
    ".telemetry.stats.ClientCertificate",
    ".telemetry.stats.OriginStats",
    ".telemetry.stats.Stats",
    ".waterfall.Recording",
)
#: What has no underscore because several modules of the package use it, and is not for users.
INTERNAL = {
    "Installation.differs_in",
    "Installation.settings",
    "Installation.stand_in",
    "Providers",
    "RedisLimits.circuit",
    "RedisLimits.quota",
    "ResilientAdapter.pool_read_since",
    "Registry.after_fork",
    "Registry.after_fork_in_parent",
    "Registry.before_fork",
    "Registry.certificates",
    "Registry.contexts",
    "Registry.generation",
    "Registry.idle",
    "Registry.lease",
    "Registry.look",
    "Registry.reaper",
    "Registry.retire",
    "RetryPolicy.has_counts",
    "RetryPolicy.in_force",
    "RetryPolicy.paces_by_default",
    "RetryPolicy.raises_at",
    "RetryPolicy.repeats_connects",
    "RetryPolicy.shares_cold_start",
    "RetryPolicy.spends_less_early",
    "anybody",
    "overview_of",
}
#: Methods of requests' own adapter that do here what requests says of them.
AS_IN_REQUESTS = {
    "ResilientAdapter.build_connection_pool_key_attributes",
    "ResilientAdapter.build_response",
    "ResilientAdapter.cert_verify",
    "ResilientAdapter.get_connection_with_tls_context",
    "ResilientAdapter.init_poolmanager",
    "ResilientAdapter.proxy_manager_for",
    "ResilientAdapter.request_url",
}


def is_shown(name: str) -> bool:
    """Tell whether the reference has a name: that of a module's member, or `Class.member`."""
    last = name.rpartition(".")[2]
    return not last.startswith("_") and name not in INTERNAL | AS_IN_REQUESTS


@functools.cache
def public_names() -> frozenset[str]:
    """Return the full name of all that the reference has to have."""
    found: set[str] = set()
    for place in MODULES:
        found |= names_in(import_module(PACKAGE + place))
    for place in RETURNED:
        module, _, name = (PACKAGE + place).rpartition(".")
        found |= set(with_members(module, name))
    return frozenset(found)


def names_in(module: ModuleType) -> set[str]:
    """Return the full names of a module's public names, and of what their classes have."""
    names = getattr(module, "__all__", None) or [name for name in defined_in(module) if is_shown(name)]
    return {full for name in names for full in with_members(module.__name__, name)}


def defined_in(module: ModuleType) -> Iterator[str]:
    """Yield the names of the classes, functions and values that a module defines."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):
                yield target.id


def with_members(module: str, name: str) -> Iterator[str]:
    """Yield the full name of what a module has, and of the members that it has if it is a class."""
    value = getattr(import_module(module), name)
    yield f"{module}.{name}"
    if isinstance(value, type) and not get_origin(value):  # before Python 3.11 an alias is one, too
        yield from (
            f"{module}.{name}.{member}" for member in members_of(value) if is_shown(f"{name}.{member}")
        )


def members_of(kind: type) -> set[str]:
    """Return the names of the fields, attributes and methods that a class itself has."""
    if hasattr(kind, "__required_keys__"):
        return set()  # the keys of a TypedDict are arguments of something else
    own = {name for name, value in vars(kind).items() if is_member(kind, value)}
    own |= {*vars(kind).get("__annotations__", ()), *getattr(kind, "_fields", ())}
    return own | set(assigned_in(vars(kind).get("__init__"), kind))


def assigned_in(function: Any, kind: type) -> Iterator[str]:
    """Yield the attributes that a class's own `__init__` gives to its values."""
    is_own = getattr(function, "__qualname__", "") == f"{kind.__qualname__}.__init__"
    if is_own and not function.__code__.co_filename.startswith("<"):  # that of a dataclass has no source
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield from [node.attr] * (ast.unparse(node.value) == "self")


def is_member(kind: type, value: Any) -> bool:
    """Tell whether this is of the class, and not what Python or `Enum` has put there."""
    return (
        isinstance(value, kind)
        or not issubclass(kind, Enum)
        or inspect.isroutine(value)
        or is_property(value)
    )


def is_property(value: Any) -> bool:
    """Tell whether this computes an attribute."""
    return isinstance(value, (property, functools.cached_property))
