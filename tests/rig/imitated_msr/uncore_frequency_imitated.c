// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Linux's uncore-frequency.c, unchanged, on imitated registers. */
#include <linux/bitfield.h>
#include <linux/cpu.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <asm/intel-family.h>
#include "redirect_msr.h"

#include "uncore-frequency.c"
