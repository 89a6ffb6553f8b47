/* SPDX-License-Identifier: Apache-2.0 */
    // One CPU's idle states. HLT enters each of them (type 1, FFixedHW without MWAIT), so
    // that an emulated CPU really sleeps; they differ in the latency that they declare.
    External ($device, DeviceObj)
    Scope ($device)
    {
        Name (_CST, Package ()
        {
            $count,
$states
        })
    }
