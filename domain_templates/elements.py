# SPDX-License-Identifier: Apache-2.0
"""Removes elements of a domain, by path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml import etree


def drop(element: etree._Element | None) -> None:
    """Remove an element, if there is one, from its parent."""
    parent = None if element is None else element.getparent()
    if parent is not None and element is not None:
        parent.remove(element)


def drop_all(root: etree._Element, path: str) -> None:
    """Remove every element at a path."""
    for element in root.findall(path):
        drop(element)


def drop_empty(root: etree._Element, path: str) -> None:
    """Remove the elements at a path that have no attribute, child or text."""
    for element in root.findall(path):
        is_bare = not len(element) and not element.attrib
        if is_bare and not (element.text or "").strip():
            drop(element)
