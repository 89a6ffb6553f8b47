# SPDX-License-Identifier: Apache-2.0
"""The files of the page: small, complete, and without others' hosts."""

from __future__ import annotations

import json
import re

from tests.cockpit.web_service import PAGE

MAX_BYTES = 60_000
_REFERENCE = re.compile(r"""(?:from|src=|href=)\s*"([\w./-]+\.(?:js|css))\"""")
_COCKPITS = {"../base1/cockpit.js", "../manifests.js"}


def test_all_together_are_small() -> None:
    assert 0 < sum(file.stat().st_size for file in PAGE.iterdir()) <= MAX_BYTES


def test_each_file_is_used_and_each_used_file_exists() -> None:
    texts = {it.name: it.read_text(encoding="utf-8") for it in PAGE.iterdir()}
    references = {name for text in texts.values() for name in _REFERENCE.findall(text)}
    used = {name.removeprefix("./") for name in references - _COCKPITS}
    assert used | {"index.html", "manifest.json"} == set(texts)


def test_each_file_names_its_license() -> None:
    for file in PAGE.iterdir():
        if file.suffix != ".json":  # which has no comments
            start = file.read_text(encoding="utf-8")[:200]
            assert "SPDX-License-Identifier: Apache-2.0" in start, file


def test_nothing_is_loaded_from_other_hosts() -> None:
    for file in PAGE.iterdir():
        assert not re.search(r"(https?:|['\"])//", file.read_text("utf-8")), file


def test_the_manifest_names_the_directory_of_the_daemon() -> None:
    manifest = json.loads((PAGE / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["config"] == {"run_dir": "/run/vmpower"}
    assert "index" in manifest["tools"]
