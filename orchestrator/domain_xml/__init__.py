"""Domain XML: parse, build, edit; text in, values or text out, no I/O.

Source: libvirt's formatdomain, "Channel" and "Controllers".
"""
