"""Configuration: a TOML file -> `Config`, frozen and checked completely before anything listens.

Every key is an attribute of one of the section classes below, with its type, default and, where the type does not say it,
a check. `etc/dicomd.toml` shows every key with a comment; a test keeps the two alike.
"""

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import field, fields, frozen

from .model.identifiers import is_ae_title, is_uid
from .model.offerings import DIMSE_SERVICES, HTTP_SERVICES

Check = Callable[[Any], bool]


class ConfigError(Exception):
    """One line that names the file, the key and what was expected."""


def _checked(default: Any, expected: str, check: Check) -> Any:
    return field(default=default, metadata={"expected": expected, "check": check})


def _at_least(default: float, least: float) -> Any:
    kind = "whole number" if type(default) is int else "number"
    return _checked(default, f"a {kind} of at least {least}", lambda value: value >= least and math.isfinite(value))


def _given(default: Any, what: str) -> Any:
    return _checked(default, f"{what}, not empty", lambda value: bool(value.strip()))


def _ae(default: Any = attrs.NOTHING) -> Any:
    return _checked(default, "an AE title: 1 to 16 characters without backslash", is_ae_title)


def _path(default: str) -> Any:
    expected = "a path that starts with / and does not end with /, of letters, digits and - . _ ~"
    return _checked(default, expected, lambda v: _PATH.fullmatch(v) is not None)


def _each(default: tuple[str, ...], expected: str, check: Check) -> Any:
    return field(default=default, metadata={"expected": expected, "check": check})


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


_ENDPOINT = "a Twisted server endpoint string"
_LEAVE = "COMPLETED DISCONTINUED"
_AES = "an AE title of the remote_aes"
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


@frozen
class StoreConfig:
    """`[store]`: where instances are kept and what is taken in."""

    path: str = _given("./dicomd-data", "the path of a folder")
    duplicates: Literal["replace", "keep", "reject"] = "replace"
    sop_classes: tuple[str, ...] = _checked((), "a list of SOP Class UIDs", is_uid)
    validation: Literal["lenient", "strict"] = "lenient"
    max_instance_bytes: int = _at_least(0, 0)
    max_request_bytes: int = _at_least(0, 0)
    min_free_bytes: int = _at_least(1 << 28, 0)
    inline_threshold: int = _at_least(1024, 0)
    query_timeout: float = _at_least(30.0, 0.1)


@frozen
class HttpConfig:
    """`[http]`: the DICOMweb door."""

    endpoint: str = _given("tcp:8989:interface=127.0.0.1", _ENDPOINT)
    root: str = _path("/dicom-web")
    max_results: int = _at_least(100, 1)
    public_url: str = _checked("", "empty, or http(s)://host[:port][/path]", lambda v: not v or _URL.fullmatch(v) is not None)
    trusted_proxies: tuple[str, ...] = _each((), "an IP address or network", _is_network)
    cors_origins: tuple[str, ...] = ("http://localhost:*", "http://127.0.0.1:*")
    max_body: int = _at_least(64 << 20, 1024)
    max_connections: int = _at_least(1000, 1)
    idle_timeout: float = _at_least(60.0, 1)
    access_log: bool = True
    allow_delete: bool = False
    off: tuple[str, ...] = _each((), f"one of {', '.join(HTTP_SERVICES)}", lambda v: v in HTTP_SERVICES)


@frozen
class DimseConfig:
    """`[dimse]`: the association door."""

    endpoint: str = _given("tcp:11112:interface=127.0.0.1", _ENDPOINT)
    ae_title: str = _ae("DICOMD")
    require_called_ae_title: bool = False
    max_associations: int = _at_least(200, 1)
    accept_unknown_storage: bool = True
    move_associations: int = _at_least(2, 1)
    artim_timeout: float = _at_least(30.0, 1)
    idle_timeout: float = _at_least(600.0, 1)
    response_timeout: float = _at_least(60.0, 1)
    off: tuple[str, ...] = _each((), f"one of {', '.join(DIMSE_SERVICES)}", lambda v: v in DIMSE_SERVICES)
    max_pdu: int = _checked(131072, "0 (no limit) or 4096 to 1073741824 bytes", lambda v: v == 0 or 4096 <= v <= 1 << 30)


@frozen
class WorklistConfig:
    """`[worklist]`: the modality worklist, how entries come in and when they leave."""

    path: str = ""
    mllp_endpoint: str = ""
    leave_when: tuple[str, ...] = _each(("COMPLETED", "DISCONTINUED"), "COMPLETED or DISCONTINUED", lambda v: v in _LEAVE.split())
    keep_days: int = _at_least(30, 0)


@frozen
class MppsConfig:
    """`[mpps]`: modality performed procedure steps, and who is told of them."""

    validation: Literal["strict", "lenient"] = "strict"
    forward_to: tuple[str, ...] = _each((), _AES, is_ae_title)
    notify: tuple[str, ...] = _each((), _AES, is_ae_title)
    keep_hours: int = _at_least(72, 1)


@frozen
class CommitmentConfig:
    """`[commitment]`: storage commitment."""

    keep_days: int = _at_least(30, 1)
    report_hours: int = _at_least(72, 1)


@frozen
class UpsConfig:
    """`[ups]`: Unified Procedure Steps."""

    retention: float = _at_least(86400.0, 0)
    remember_deleted: float = _at_least(2592000.0, 0)
    event_backlog: int = _at_least(10000, 1)
    status_change_ae_titles: tuple[str, ...] = _each((), _AES, is_ae_title)
    known_subscribers_only: bool = False


@frozen
class RenderingConfig:
    """`[rendering]`: pictures of instances."""

    max_samples: int = _at_least(100_000_000, 1)
    cache_bytes: int = _at_least(64 << 20, 0)
    thumbnail_bytes: int = _at_least(256 << 20, 0)


@frozen
class RemoteAE:
    """`[[remote_aes]]`: a peer that this server may call."""

    host: str = _given(attrs.NOTHING, "a host name or address")
    ae_title: str = _ae()
    port: int = _checked(attrs.NOTHING, "a TCP port, 1 to 65535", lambda v: 1 <= v <= 65535)


@frozen
class Config:
    """The whole configuration."""

    store: StoreConfig = StoreConfig()
    http: HttpConfig = HttpConfig()
    dimse: DimseConfig = DimseConfig()
    worklist: WorklistConfig = WorklistConfig()
    mpps: MppsConfig = MppsConfig()
    commitment: CommitmentConfig = CommitmentConfig()
    ups: UpsConfig = UpsConfig()
    rendering: RenderingConfig = RenderingConfig()
    remote_aes: tuple[RemoteAE, ...] = ()


def load(path: str | None) -> Config:
    """The configuration in the file at `path`, or all defaults; raises `ConfigError`."""
    if path is None:
        return Config()
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        config: Config = _section(Config, table, "")
        _check_remote_aes(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def _check_remote_aes(config: Config) -> None:
    """Each peer is named once, and who is to be told something is a peer."""
    titles = [remote.ae_title.strip() for remote in config.remote_aes]
    for number, title in enumerate(titles):
        if title in titles[:number]:
            raise ConfigError(f"remote_aes[{number}].ae_title: {title} is there already, expected each AE title once")
    for name in ("forward_to", "notify"):
        for number, title in enumerate(getattr(config.mpps, name)):
            if title.strip() not in titles:
                raise ConfigError(f"mpps.{name}[{number}]: expected {_AES}")


def _section(cls: type[Any], table: Any, prefix: str) -> Any:
    if not isinstance(table, Mapping):
        raise ConfigError(f"[{prefix.rstrip('.')}]: expected a table")
    known, hints = {item.name: item for item in fields(cls)}, get_type_hints(cls)
    for name in table:
        if name not in known:
            raise ConfigError(f"{prefix}{name}: unknown key, expected one of {', '.join(sorted(known))}")
    missing = [name for name, item in known.items() if item.default is attrs.NOTHING and name not in table]
    if missing:
        raise ConfigError(f"{prefix}{missing[0]}: missing, expected {_describe(known[missing[0]], hints[missing[0]])}")
    return cls(**{name: _value(known[name], hints[name], value, f"{prefix}{name}") for name, value in table.items()})


def _value(item: "attrs.Attribute[Any]", kind: Any, value: Any, key: str) -> Any:
    if attrs.has(kind):
        return _section(kind, value, f"{key}.")
    if get_origin(kind) is tuple:
        return _items(item, get_args(kind)[0], value, key)
    check = item.metadata.get("check")
    value = float(value) if kind is float and type(value) is int else value
    if not _fits(kind, value) or (check is not None and not check(value)):
        raise ConfigError(f"{key}: expected {_describe(item, kind)}")
    return value


def _items(item: "attrs.Attribute[Any]", kind: Any, value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}: expected a list")
    if attrs.has(kind):
        return tuple(_section(kind, entry, f"{key}[{number}].") for number, entry in enumerate(value))
    check = item.metadata.get("check")
    for number, entry in enumerate(value):
        if not _fits(kind, entry) or (check is not None and not check(entry)):
            raise ConfigError(f"{key}[{number}]: expected {_describe(item, kind)}")
    return tuple(value)


def _fits(kind: Any, value: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(choice, value) for choice in get_args(kind) if choice is not type(None))
    return type(value) is kind


def _describe(item: "attrs.Attribute[Any]", kind: Any) -> str:
    if "expected" in item.metadata:
        return str(item.metadata["expected"])
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
    names = {str: "a string", int: "a whole number", bool: "true or false", float: "a number"}
    return names.get(kind, "a value of another type")
