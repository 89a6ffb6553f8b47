# SPDX-License-Identifier: Apache-2.0
"""What libvirt reports about its host."""

from __future__ import annotations

import pytest

from orchestrator.domain_xml.capabilities import read_security_models
from orchestrator.errors import DomainXmlError

MODEL = "<secmodel><model>{}</model><doi>0</doi></secmodel>"


def test_models_are_read_and_empty_ones_left_out() -> None:
    models = "".join(map(MODEL.format, ("apparmor", "dac", "")))
    xml = f"<capabilities><host>{models}</host></capabilities>"
    assert read_security_models(xml) == {"apparmor", "dac"}


def test_other_documents_are_refused() -> None:
    with pytest.raises(DomainXmlError):
        read_security_models("<domain/>")
