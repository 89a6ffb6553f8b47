// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Linux's intel_rapl_msr.c, unchanged, on imitated registers; on intel_rapl_common.ko. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/intel_rapl.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/powercap.h>
#include <linux/processor.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <linux/sysfs.h>
#include <asm/intel-family.h>
#include <asm/iosf_mbi.h>
#include "redirect_msr.h"

#include "intel_rapl_msr.c"
