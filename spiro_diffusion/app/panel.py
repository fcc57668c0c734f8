"""The interface of a panel of the page."""

from collections.abc import Callable
from typing import NamedTuple

from dash import Dash
from dash.development.base_component import Component

from spiro_diffusion.app.requests import Drawer


class Panel(NamedTuple):
    """A function of the page, in a section under its title.

    `layout` makes its components, whose ids begin with `key` and a hyphen, `connect` registers its callbacks.
    """

    key: str
    title: str
    layout: Callable[[Drawer], Component]
    connect: Callable[[Dash, Drawer], None]
