// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Linux's intel_pstate.c, unchanged, on imitated registers. The driver that is built into
 * the kernel gives up at boot, because the processor lacks them. This module is never
 * unloaded: the driver is written to stay.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
/* All that the driver includes: the redirections must not change the kernel's headers. */
#include <linux/acpi.h>
#include <linux/bitfield.h>
#include <linux/cpu.h>
#include <linux/cpufreq.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/kernel_stat.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/pm_qos.h>
#include <linux/sched/cpufreq.h>
#include <linux/sched/smt.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/tick.h>
#include <linux/types.h>
#include <linux/vmalloc.h>
#include <trace/events/power.h>
#include <asm/cpu.h>
#include <asm/div64.h>
#include <asm/intel-family.h>
#include <acpi/cppc_acpi.h>
#include <acpi/processor.h>
#include "redirect_msr.h"

/* Not exported to modules, and without effect on frequencies. */
#define acpi_processor_pstate_control() do { } while (0)
#define arch_enable_hybrid_capacity_scale() false
#define arch_rebuild_sched_domains() do { } while (0)
#define arch_set_cpu_capacity(...) do { } while (0)
#define arch_set_max_freq_ratio(is_turbo_disabled) do { } while (0)
#define arch_set_max_freq_scale(...) do { } while (0)
#define freq_invariance_set_perf_ratio(...) do { } while (0)
#define get_this_hybrid_cpu_type() 0
#define sched_clear_itmt_support() do { } while (0)
#define sched_set_itmt_core_prio(...) do { } while (0)
#define sched_set_itmt_support() do { } while (0)
#define trace_pstate_sample(...) do { } while (0)
#define trace_pstate_sample_enabled() false

/* Not exported either, and necessary: found at run time. */
static typeof(&cpufreq_cpu_acquire) acquire_policy;
static typeof(&cpufreq_cpu_release) release_policy;
static typeof(&cpufreq_start_governor) start_governor;
static typeof(&cpufreq_stop_governor) stop_governor;
#define cpufreq_cpu_acquire(cpu) acquire_policy(cpu)
#define cpufreq_cpu_release(policy) release_policy(policy)
#define cpufreq_start_governor(policy) start_governor(policy)
#define cpufreq_stop_governor(policy) stop_governor(policy)

/* How a built-in driver registers its start and its kernel parameter. */
#undef device_initcall
#define device_initcall(function) static int (*const start)(void) = function
#define early_param(name, function) static int (*const set_mode)(char *) = function

static char *mode = "";
module_param(mode, charp, 0444);
MODULE_PARM_DESC(mode, "what intel_pstate= is on the kernel's command line");

#include "intel_pstate.c"

static int __init find_functions(void)
{
	acquire_policy = find_function("cpufreq_cpu_acquire");
	release_policy = find_function("cpufreq_cpu_release");
	start_governor = find_function("cpufreq_start_governor");
	stop_governor = find_function("cpufreq_stop_governor");
	if (!acquire_policy || !release_policy || !start_governor || !stop_governor)
		return -ENOENT;
	return 0;
}

static int __init start_driver(void)
{
	int error = find_functions();

	if (error)
		return error;
	if (*mode)
		set_mode(mode);
	return start();
}
module_init(start_driver);

MODULE_LICENSE("GPL");
