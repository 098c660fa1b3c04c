"""What a server sent, in one line for a message: pages of proxies above all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.text.excerpt import excerpt

NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>"
CLOUDFLARE = (
    b'<!DOCTYPE html>\n<!--[if lt IE 7]> <html class="no-js ie6 oldie" lang="en-US"> <![endif]-->\n'
    b'<html class="no-js" lang="en-US"> <!--<![endif]-->\n<head>\n<title>models.example.com | 524: A timeout occurred'
    b'</title>\n<meta charset="UTF-8" />\n<style>body{margin:0;padding:0}</style>' + b"x" * 6000
)
ENVOY = b"upstream connect error or disconnect/reset before headers. reset reason:\n connection failure"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (NGINX, 'an HTML page, "502 Bad Gateway"'),
        (CLOUDFLARE, 'an HTML page, "models.example.com | 524: A timeout occurred"'),
        (b"<html><body><h1>Forbidden</h1>\n<p>Ann &amp; Bob</p></body></html>", 'an HTML page, "Forbidden Ann & Bob"'),
        (b"<!-- a proxy --><html><script>steal()</script><style>b{}</style>", "an HTML page"),
        (ENVOY, "upstream connect error or disconnect/reset before headers. reset reason: connection failure"),
        (b'{"error": 1}', '{"error": 1}'),
        (b"", ""),
    ],
)
def test_a_page_is_told_by_its_title_and_anything_else_as_it_is(content: bytes, told: str) -> None:
    assert excerpt(content) == told


@given(st.binary(max_size=3000) | st.text(max_size=3000).map(lambda text: f"<html>{text}".encode("utf-8", "replace")))
def test_whatever_it_is_it_is_one_short_line(content: bytes) -> None:
    told = excerpt(content, 100)
    assert len(told) <= 100 + len('an HTML page, " ..."')
    assert len(told.splitlines()) <= 1


def test_what_is_cut_says_so() -> None:
    assert excerpt(b"a" * 1000) == "a" * 200 + " ..."
    assert excerpt("é".encode() * 300) == "é" * 200 + " ..."
