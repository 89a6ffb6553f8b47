/* SPDX-License-Identifier: Apache-2.0 */
    // One CPU's performance states. The control and status registers are bytes of
    // pc-testdev's latch at port 0xE0: a read returns what was written.
    External ($device, DeviceObj)
    Scope ($device)
    {
        Name (_PCT, Package ()
        {
            ResourceTemplate () { Register (SystemIO, 8, 0, $port) },
            ResourceTemplate () { Register (SystemIO, 8, 0, $port) }
        })
        // MHz, mW, latency and bus master latency in us, control, status
        Name (_PSS, Package ()
        {
$states
        })
        Method (_PPC, 0, NotSerialized) { Return (0) }
        // entries, revision, domain, coordination (0xFC: by software, all CPUs), CPUs
        Name (_PSD, Package () { Package () { 5, 0, $domain, 0xFC, $count } })
    }
