"""Of an address only what is not secret is shown, however it is written."""

import pytest

from pibuild.urls import NOWHERE, Address, Webhook, host, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a/b", "https://host/a/b"),
        ("https://me:secret@host:8443/a", "https://host:8443/a"),
        ("https://token@host/a", "https://host/a"),
        ("https://me:se/cr?e#t@host/a", "https://host/a"),
        ("https://me:s@cret@host/a", "https://host/a"),
        ("https://host/a?sig=secret", "https://host/a?…"),
        ("https://host/a#secret", "https://host/a#…"),
        ("https://host/b7Kq9ZxT0kenXyzabc9/{owner}/{name}", "https://host/…/{owner}/{name}"),
        ("https://registry/@types/node", "https://registry/@types/node"),
        ("ssh://git@host/a", "ssh://git@host/a"),
        ("ssh://git:secret@host/a", "ssh://host/a"),
        ("http://[::1", "http://[::1"),
        ("git@host:a/b", "git@host:a/b"),
        ("/srv/git/{owner}+{name}", "/srv/git/{owner}+{name}"),
        ("cloud:bucket/a", "cloud:bucket/a"),
        (":webdav,url='https://host/dav/':a", ":webdav,url='https://host/dav/':a"),
        (":webdav,url='https://host/?sig=secret':a", ":webdav,…:a"),
        (":webdav,url='https://host/',pass=secret:a", ":webdav,…:a"),
        (":webdav,url='https://host/',headers=\"Cookie,secret\":a", ":webdav,…:a"),
        ("cloud,bearer_token=secret:a", "cloud,…:a"),
        (":webdav,url='https://host,pass=secret", ":webdav,…"),
    ],
)
def test_an_address_is_shown_without_its_secrets(text, shown):
    assert str(Address(text)) == shown
    assert repr(Address(text)) == f"Address({shown!r})"
    assert f"{Address(text)}" == shown
    assert Address(text).reveal() == text
    assert Address(text).has_secret == (shown != text)


def test_of_a_webhook_only_the_server_is_shown():
    webhook = Webhook("https://hooks.example.org/services/T00/B00/word?x=1")

    assert str(webhook) == "https://hooks.example.org/…?…"
    assert webhook.censored("no /services/T00/B00/word here") == "no /…/…/…/… here"


def test_foreign_texts_lose_the_secrets_of_an_address_in_each_spelling():
    address = Address("https://me:p%40ss+word@host/a?sig=ab%2Fcd")
    text = "p%40ss+word p@ss+word bWU6cEBzcyt3b3Jk ab%2Fcd ab/cd"

    assert address.censored(text) == "… … … … …"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('Get "https://me:secret@host/x?sig=1": refused', 'Get "https://host/x?…": refused'),
        ("see (http://host/a), or http://b.", "see (http://host/a), or http://b."),
        ("https://a/x,https://me:secret@b/y", "https://b/y"),
        ("Authorization: Basic bWU6c2VjcmV0c2VjcmV0", "Authorization: Basic …"),
        ("GET /x?token=secret&n=1", "GET /x?token=…&n=1"),
        ("sha256=0123 and tokens = 3", "sha256=0123 and tokens = 3"),
    ],
)
def test_urls_and_headers_in_a_text_lose_their_secrets(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize("unit", ["a", "a://", "a=", "token", "Basic ", "http://,", "://"])
def test_a_long_text_takes_time_in_proportion_to_its_length(unit):
    text = f"{unit * 200_000}://x"  # of the square, it would take hours
    assert len(redacted(text)) <= len(text)


def test_a_path_is_put_before_the_query():
    assert Address("https://host/c?sig=1").below("a/b.json").reveal() == "https://host/c/a/b.json?sig=1"
    assert Address("cloud:").below("a").reveal() == "cloud:a"
    assert Address("/srv/a/").below("b").reveal() == "/srv/a/b"


def test_credentials_are_decoded_and_taken_out():
    address = Address("https://me:p%40ss@host:1/a")

    assert address.credentials == ("me", "p@ss")
    assert address.without_credentials.reveal() == "https://host:1/a"
    assert Address("ssh://git:secret@host/a").without_credentials.reveal() == "ssh://git@host/a"
    assert Address("git@host:a").credentials is None


def test_hosts_are_those_of_urls():
    assert [host(url) for url in ("https://me:x@Host:1/a", "http://[::1]:80/", "/srv", "git@host:a")] == [
        *("host", "::1", "", "")
    ]
    assert not NOWHERE
