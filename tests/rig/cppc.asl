/* SPDX-License-Identifier: Apache-2.0 */
    // One CPU's CPPC registers, revision 3. They are cells of memory: a read returns what
    // was written.
    External ($device, DeviceObj)
    Scope ($device)
    {
        Name (_CPC, Package ()
        {
            // entries, revision; performance: highest, nominal, lowest nonlinear, lowest,
            // guaranteed
            23, 3, $highest, $nominal, $nonlinear, $lowest, $highest,
$registers
            // performance of the reference counter, MHz of the lowest and of the nominal
            $nominal, $lowest_mhz, $nominal_mhz
        })
        // entries, revision, domain, coordination, CPUs
        Name (_PSD, Package () { Package () { 5, 0, $domain, $coordination, $count } })
    }
