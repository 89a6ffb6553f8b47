# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain add --p-states`: adds P-states to the XML of a new domain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cli.commands.domain_p_states import describe_lacking, read_configuration

if TYPE_CHECKING:
    from cli.commands.domain_add_options import AddOptions
    from cli.output.echo import Hints
    from orchestrator.hypervisor.p_states import PStateDefinition


def with_p_states(
    uri: str, xml: str, options: AddOptions, hints: Hints
) -> tuple[str, PStateDefinition | None]:
    """Add P-states to the XML of a new domain, if the options say so.

    Args:
        uri: of libvirt, whose release decides how the table is given to QEMU.
        xml: of the domain.
        options: where its limits and its CPUs are described.
        hints: gets which vCPUs have no P-states, and what the guest may refuse.

    Returns:
        The XML, and its P-states; None: they are not wanted.

    Raises:
        ConfigError: the configuration is invalid.
        HypervisorError: libvirt is not running, or no vCPU can have P-states.
        DomainXmlError: the domain cannot have P-states.
        SysfsError: not a CPU tree.
    """
    from orchestrator.config import Config
    from orchestrator.domain_xml.identity import indented, with_uuid
    from orchestrator.hypervisor.operator import OperatorConnection
    from orchestrator.hypervisor.p_states import make_definition

    if not options.p_states:
        return xml, None
    config = read_configuration(options.configuration)
    if options.sysfs_root != Config().sysfs_root:
        config = replace(config, sysfs_root=options.sysfs_root)
    with OperatorConnection(uri) as connection:
        has_table_element = connection.has_table_element
    made = make_definition(with_uuid(xml), config, has_table_element=has_table_element)
    for line in (*describe_lacking(made.lacking), *made.warnings):
        hints.add(line)
    if not options.is_defining and not options.dry_run:
        hints.add(
            f"the ACPI table {made.path} is written with --define or --start; without"
            " it, the domain does not start"
        )
    return indented(made.xml), made
