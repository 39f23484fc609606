"""Templates to text: jinja2 over what the owner decided, nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.errors import ConfigError
from appliance.paths import Paths

if TYPE_CHECKING:
    import jinja2


class Action(StrEnum):
    """What a running unit needs when one of its files has changed."""

    RELOAD = "reload"
    RESTART = "restart"


@dataclass(frozen=True, kw_only=True)
class Template:
    """``source`` under Paths.templates becomes ``target`` under Paths.rendered.

    ``group`` is the only one besides root that may read the result.
    """

    source: str
    target: str
    group: str
    unit: str
    action: Action

    @property
    def place(self) -> str:
        """The directory of the program that reads it."""
        return self.target.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    template: Template
    text: str

    @property
    def target(self) -> str:
        return self.template.target

    @property
    def place(self) -> str:
        return self.template.place


def render_templates(
    paths: Paths, templates: Sequence[Template], values: Mapping[str, Any]
) -> tuple[Rendered, ...]:
    """Raises ConfigError naming template and line when one does not render."""
    import jinja2  # a quarter of the start of most verbs, and few of them render

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.templates),
        undefined=jinja2.StrictUndefined,
        # What we render is configuration, not HTML; YAML values go through the yaml filter.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["yaml"] = yaml_scalar
    return tuple(_render(environment, template, values) for template in templates)


def _render(
    environment: jinja2.Environment, template: Template, values: Mapping[str, Any]
) -> Rendered:
    import jinja2

    try:
        text = environment.get_template(template.source).render(values)
    except jinja2.TemplateSyntaxError as error:
        message = f"template {error.filename or template.source}, line {error.lineno}: {error}"
        raise ConfigError(message) from error
    except jinja2.TemplateError as error:
        message = f"template {template.source} does not render: {error}"
        raise ConfigError(message) from error
    return Rendered(template=template, text=text)


def yaml_scalar(value: Any) -> str:
    """A value as JSON, which is YAML too (YAML 1.2 section 1.3), so nothing can break out of it."""
    plain = str(value) if isinstance(value, Path) else value
    return json.dumps(plain)


def fingerprints(version: str, items: Sequence[Rendered]) -> dict[str, str]:
    """For each program a hash over slot version and its files: a new one needs checking.

    A program's files have a directory of their own, by which it is named here.
    """
    digests: dict[str, hashlib._Hash] = {}
    for item in items:
        digest = digests.setdefault(item.place, hashlib.sha256(version.encode()))
        for part in (item.target, item.text):
            digest.update(b"\0" + part.encode())
    return {place: digest.hexdigest() for place, digest in digests.items()}
