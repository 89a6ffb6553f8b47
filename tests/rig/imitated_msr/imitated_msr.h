/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The registers of imitated_msr.ko, for drivers that include redirect_msr.h. */
#ifndef IMITATED_MSR_H
#define IMITATED_MSR_H

#include <linux/types.h>

/* -EIO: this CPU has no such register (a processor would raise #GP). */
int imitated_read(unsigned int cpu, u32 msr, u64 *value);
int imitated_write(unsigned int cpu, u32 msr, u64 value);

/* Whether the imitated processor has this X86_FEATURE_ flag. */
bool imitated_has(int feature);

/* The frequency of the time stamp counter, which is the nominal one. */
unsigned int imitated_nominal_khz(void);

#endif
