# SPDX-License-Identifier: Apache-2.0
"""The RELAX NG schema of a domain's settings in its metadata, from their table.

A domain carries at most one such element::

    <metadata>
      <vmpower:policy xmlns:vmpower="urn:vmpower:domain:1" max="2.4GHz" turbo="no"/>
    </metadata>

Everything is an attribute, so that `virsh metadata` can write it with one element.
Elements of other namespaces inside are ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from orchestrator.values.domain_settings import DomainSettings, Form, settings_of
from orchestrator.values.energy_preference import WORDS

if TYPE_CHECKING:
    from orchestrator.values.domain_settings import Setting

_RNG = "http://relaxng.org/ns/structure/1.0"
_FREQUENCY = (
    r"\s*(0*[1-9][0-9]{0,9}(\s*[kK][hH][zZ])?"
    r"|[0-9]{1,10}(\.[0-9]{1,9})?\s*[mMgG][hH][zZ])\s*"
)
_FRAME = f"""<grammar xmlns="{_RNG}" ns="urn:vmpower:domain:1"
  datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <start>
    <element name="policy">
      <zeroOrMore><ref name="foreign"/></zeroOrMore>
    </element>
  </start>
  <define name="foreign">
    <element>
      <anyName><except><nsName/><nsName ns=""/></except></anyName>
      <ref name="anything"/>
    </element>
  </define>
  <define name="anything">
    <zeroOrMore>
      <choice>
        <attribute><anyName/></attribute>
        <text/>
        <element><anyName/><ref name="anything"/></element>
      </choice>
    </zeroOrMore>
  </define>
</grammar>"""


def build_schema(cls: type[DomainSettings] = DomainSettings) -> str:
    """Return the schema.

    Args:
        cls: the table of settings.
    """
    root = etree.fromstring(_FRAME)
    (element,) = root.iterfind("{*}start/{*}element")
    for index, setting in enumerate(settings_of(cls).values()):
        optional = etree.Element(f"{{{_RNG}}}optional")
        optional.append(etree.Comment(f" {setting.doc} ".replace("--", "- -")))
        attribute = etree.SubElement(
            optional, f"{{{_RNG}}}attribute", name=setting.attribute, ns=""
        )
        attribute.append(_values(setting))
        element.insert(index, optional)
    etree.indent(root)
    return etree.tostring(root, encoding="unicode")


def _values(setting: Setting) -> etree._Element:
    match setting.form:
        case Form.FREQUENCY:
            return _text("pattern", _FREQUENCY)
        case Form.POLICIES:
            return _text("maxLength", "4096")
        case Form.YES_NO:
            return _choice("yes", "no")
        case Form.CHOICE:
            return _choice(*setting.choices)
        case Form.LATENCY:
            return _text("pattern", "[0-9]{1,7}")
        case Form.PREFERENCE:
            return _text("pattern", "|".join((*WORDS, "[0-9]{1,3}")))


def _text(parameter: str, value: str) -> etree._Element:
    data = etree.Element(f"{{{_RNG}}}data", type="string")
    etree.SubElement(data, f"{{{_RNG}}}param", name=parameter).text = value
    return data


def _choice(*words: str) -> etree._Element:
    choice = etree.Element(f"{{{_RNG}}}choice")
    for word in words:
        etree.SubElement(choice, f"{{{_RNG}}}value").text = word
    return choice
