"""URLs as they may be shown."""

from urllib.parse import urlsplit


def without_password(url: str) -> str:
    """Give a URL without the user and password that it may hold; anything else as it is."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url
