"""The page that people open: static files made of a set and its nights. It works without JavaScript."""

from pibuild.publishing.page.rendering import render

__all__ = ["render"]
