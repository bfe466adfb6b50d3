"""URLs as they may be shown."""

from urllib.parse import urlsplit


def without_password(url: str) -> str:
    """Return a URL without its user and password, and any other text unchanged."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url
