"""The page that people open: static files made of a set and its nights; whole without JavaScript, handier with it."""

from pibuild.publishing.page.page import render

__all__ = ["render"]
