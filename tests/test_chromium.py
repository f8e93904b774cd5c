"""Which browser the browser tests use, and what is said where there is none."""

from __future__ import annotations

import chromium
import pytest


def program(folder, name, status=0):
    """A program that ends with a status, whatever it is asked."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


def test_the_variable_comes_before_the_path(tmp_path):
    program(tmp_path, "chromium")
    mine = program(tmp_path, "mine")
    assert chromium.find({"PATH": str(tmp_path), "CHROMIUM": mine}) == mine
    assert chromium.find({"PATH": str(tmp_path), "CHROMIUM": "mine"}) == mine


def test_a_variable_that_names_no_program_is_an_error_and_not_passed_over(tmp_path):
    program(tmp_path, "chromium")
    with pytest.raises(chromium.NoChromiumError, match="CHROMIUM=absent"):
        chromium.find({"PATH": str(tmp_path), "CHROMIUM": "absent"})


def test_a_program_that_only_says_how_to_install_it_is_passed_over(tmp_path):
    program(tmp_path, "chromium", status=1)
    chrome = program(tmp_path, "google-chrome")
    assert chromium.find({"PATH": str(tmp_path)}) == chrome


def test_without_any_the_error_says_how_to_get_one_and_how_to_do_without(tmp_path, monkeypatch):
    from playwright.sync_api import sync_playwright

    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert chromium.find() is None
    with (
        sync_playwright() as playwright,
        pytest.raises(chromium.NoChromiumError) as raised,
    ):
        chromium.launch(playwright, tmp_path / "profile")
    assert "apt install chromium" in str(raised.value)
    assert "make test BROWSER=no" in str(raised.value)
