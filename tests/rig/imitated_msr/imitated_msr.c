// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Model-specific registers for each CPU that QEMU's TCG lacks: those with which
 * intel_pstate and intel_uncore_frequency set an Intel processor. A read returns what was
 * written. APERF and MPERF count the frequency that the other registers request.
 *
 * /sys/kernel/debug/imitated_msr/cpuN shows the registers of a CPU, one "NAME 0xVALUE" in
 * each line. A write of "NAME=VALUE" sets one, as firmware would.
 */
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/tick.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/msr-index.h>
#include "imitated_msr.h"

static bool hwp = true;
module_param(hwp, bool, 0444);
MODULE_PARM_DESC(hwp, "the processor chooses frequencies itself (hardware P-states)");

/* In units of 100 MHz. */
static unsigned int nominal_ratio = 24, min_ratio = 8, turbo_ratio = 36;
module_param(nominal_ratio, uint, 0444);
module_param(min_ratio, uint, 0444);
module_param(turbo_ratio, uint, 0444);

static unsigned int energy_unit = 14;
module_param(energy_unit, uint, 0444);
MODULE_PARM_DESC(energy_unit, "energy is counted in 2^-N J, in 32 bits: 14 wraps at 262 kJ");
static unsigned int static_mw = 10000;
module_param(static_mw, uint, 0444);
MODULE_PARM_DESC(static_mw, "what the package draws with all cores idle, cores aside");

#define RATIO_MHZ 100
#define IDLE_CORE_MW 150
#define MSR_UNCORE_RATIO_LIMIT 0x620
#define MSR_UNCORE_PERF_STATUS 0x621

enum scope { CORE, PACKAGE };

static const struct {
	u32 msr;
	const char *name;
	enum scope scope;
} registers[] = {
	{ MSR_PLATFORM_INFO, "PLATFORM_INFO", PACKAGE },
	{ MSR_TURBO_RATIO_LIMIT, "TURBO_RATIO_LIMIT", PACKAGE },
	{ MSR_IA32_MISC_ENABLE, "MISC_ENABLE", CORE },
	{ MSR_MISC_PWR_MGMT, "MISC_PWR_MGMT", PACKAGE },
	{ MSR_IA32_POWER_CTL, "POWER_CTL", PACKAGE },
	{ MSR_IA32_ENERGY_PERF_BIAS, "ENERGY_PERF_BIAS", CORE },
	{ MSR_IA32_PERF_CTL, "PERF_CTL", CORE },
	{ MSR_PM_ENABLE, "PM_ENABLE", PACKAGE },
	{ MSR_HWP_CAPABILITIES, "HWP_CAPABILITIES", CORE },
	{ MSR_HWP_REQUEST, "HWP_REQUEST", CORE },
	{ MSR_HWP_INTERRUPT, "HWP_INTERRUPT", CORE },
	{ MSR_HWP_STATUS, "HWP_STATUS", CORE },
	{ MSR_IA32_APERF, "APERF", CORE },
	{ MSR_IA32_MPERF, "MPERF", CORE },
	{ MSR_UNCORE_RATIO_LIMIT, "UNCORE_RATIO_LIMIT", PACKAGE },
	{ MSR_UNCORE_PERF_STATUS, "UNCORE_PERF_STATUS", PACKAGE },
	{ MSR_RAPL_POWER_UNIT, "RAPL_POWER_UNIT", PACKAGE },
	{ MSR_PKG_POWER_LIMIT, "PKG_POWER_LIMIT", PACKAGE },
	{ MSR_PKG_POWER_INFO, "PKG_POWER_INFO", PACKAGE },
	{ MSR_PKG_ENERGY_STATUS, "PKG_ENERGY_STATUS", PACKAGE },
	{ MSR_PKG_PERF_STATUS, "PKG_PERF_STATUS", PACKAGE },
};

struct bank {
	raw_spinlock_t lock;
	u64 counted_ns; /* when its counters were last brought up to date */
	u64 idle_us;
	u64 busy_nj, idle_nj; /* what its core drew */
	unsigned int cpu;
	u64 value[ARRAY_SIZE(registers)];
};
static DEFINE_PER_CPU(struct bank, banks);
static u64 loaded_ns;
static struct dentry *directory;

static int find(u32 msr)
{
	int index;

	for (index = 0; index < ARRAY_SIZE(registers); index++)
		if (registers[index].msr == msr)
			return index;
	return -EIO;
}

/* Registers of the package are in the bank of CPU 0: there is one package. */
static struct bank *bank_of(unsigned int cpu, int index)
{
	return &per_cpu(banks, registers[index].scope == PACKAGE ? 0 : cpu);
}

static u64 *cell(struct bank *bank, u32 msr)
{
	return &bank->value[find(msr)];
}

/* The ratio at which a busy CPU runs by its registers. */
static unsigned int requested_ratio(struct bank *bank)
{
	unsigned int ratio;

	if (*cell(&per_cpu(banks, 0), MSR_PM_ENABLE) & 1) {
		u64 request = *cell(bank, MSR_HWP_REQUEST);
		unsigned int desired = (request >> 16) & 0xff;

		/* Zero leaves the choice to the processor: the highest that is allowed. */
		ratio = desired ? desired : (request >> 8) & 0xff;
	} else {
		ratio = (*cell(bank, MSR_IA32_PERF_CTL) >> 8) & 0xff;
	}
	ratio = clamp(ratio, min_ratio, turbo_ratio);
	if (*cell(bank, MSR_IA32_MISC_ENABLE) & MSR_IA32_MISC_ENABLE_TURBO_DISABLE)
		ratio = min(ratio, nominal_ratio);
	return ratio;
}

/* A busy core draws 300 mW, and 1 W at 1 GHz, which grows with the square. */
static void count_energy(struct bank *bank, u64 us)
{
	u64 mhz = requested_ratio(bank) * RATIO_MHZ, unused;
	u64 idle_us = get_cpu_idle_time_us(bank->cpu, &unused);
	u64 asleep_us = idle_us > bank->idle_us ? idle_us - bank->idle_us : 0;

	asleep_us = min(asleep_us, us);
	bank->idle_us = idle_us;
	bank->busy_nj += (us - asleep_us) * (300 + mhz * mhz / 1000);
	bank->idle_nj += asleep_us * IDLE_CORE_MW;
}

static void count(struct bank *bank)
{
	u64 now_ns = ktime_get_mono_fast_ns();
	u64 us = (now_ns - bank->counted_ns) / NSEC_PER_USEC;

	bank->counted_ns += us * NSEC_PER_USEC;
	count_energy(bank, us);
	*cell(bank, MSR_IA32_APERF) += us * requested_ratio(bank) * RATIO_MHZ;
	*cell(bank, MSR_IA32_MPERF) += us * nominal_ratio * RATIO_MHZ;
}

/* What the package has drawn since this module was loaded. */
static u64 package_nj(void)
{
	u64 us = (ktime_get_mono_fast_ns() - loaded_ns) / NSEC_PER_USEC;
	u64 nj = us * static_mw;
	int cpu;

	for_each_online_cpu(cpu) {
		struct bank *bank = &per_cpu(banks, cpu);
		unsigned long flags;

		raw_spin_lock_irqsave(&bank->lock, flags);
		count(bank);
		nj += bank->busy_nj + bank->idle_nj;
		raw_spin_unlock_irqrestore(&bank->lock, flags);
	}
	return nj;
}

int imitated_read(unsigned int cpu, u32 msr, u64 *value)
{
	int index = find(msr);
	unsigned long flags;
	struct bank *bank;

	*value = 0;
	if (index < 0)
		return index;
	if (msr == MSR_PKG_ENERGY_STATUS) {
		*value = (u32)mul_u64_u64_div_u64(package_nj(), 1ULL << energy_unit,
						  NSEC_PER_SEC);
		return 0;
	}
	bank = bank_of(cpu, index);
	raw_spin_lock_irqsave(&bank->lock, flags);
	count(bank);
	*value = bank->value[index];
	raw_spin_unlock_irqrestore(&bank->lock, flags);
	if (msr == MSR_UNCORE_PERF_STATUS) {
		/* It runs at the highest ratio that is allowed. */
		imitated_read(cpu, MSR_UNCORE_RATIO_LIMIT, value);
		*value &= 0x7f;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(imitated_read);

int imitated_write(unsigned int cpu, u32 msr, u64 value)
{
	int index = find(msr);
	unsigned long flags;
	struct bank *bank;

	if (index < 0)
		return index;
	bank = bank_of(cpu, index);
	raw_spin_lock_irqsave(&bank->lock, flags);
	count(bank);
	bank->value[index] = value;
	raw_spin_unlock_irqrestore(&bank->lock, flags);
	return 0;
}
EXPORT_SYMBOL_GPL(imitated_write);

bool imitated_has(int feature)
{
	switch (feature) {
	case X86_FEATURE_HWP:
	case X86_FEATURE_HWP_EPP:
		return hwp;
	case X86_FEATURE_APERFMPERF:
	case X86_FEATURE_EPB:
	case X86_FEATURE_IDA:
		return true;
	case X86_FEATURE_HYPERVISOR:
		return false;
	default:
		return test_bit(feature, (unsigned long *)boot_cpu_data.x86_capability);
	}
}
EXPORT_SYMBOL_GPL(imitated_has);

unsigned int imitated_nominal_khz(void)
{
	return nominal_ratio * RATIO_MHZ * 1000;
}
EXPORT_SYMBOL_GPL(imitated_nominal_khz);

static int show(struct seq_file *file, void *unused)
{
	unsigned int cpu = (unsigned long)file->private;
	int index;

	for (index = 0; index < ARRAY_SIZE(registers); index++) {
		u64 value;

		imitated_read(cpu, registers[index].msr, &value);
		seq_printf(file, "%s 0x%llx\n", registers[index].name, value);
	}
	/* The truth, which no processor shows. */
	seq_printf(file, "package_nj %llu\n", package_nj());
	seq_printf(file, "busy_nj %llu\n", per_cpu(banks, cpu).busy_nj);
	return 0;
}

static int open_bank(struct inode *inode, struct file *file)
{
	return single_open(file, show, inode->i_private);
}

static ssize_t write_bank(struct file *file, const char __user *from, size_t size,
			  loff_t *position)
{
	unsigned int cpu = (unsigned long)((struct seq_file *)file->private_data)->private;
	char text[64], *value = text, *name;
	u64 number;
	int index, error;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, size))
		return -EFAULT;
	text[size] = '\0';
	name = strsep(&value, "=");
	if (!value)
		return -EINVAL;
	error = kstrtou64(strim(value), 0, &number);
	if (error)
		return error;
	for (index = 0; index < ARRAY_SIZE(registers); index++)
		if (!strcmp(registers[index].name, name))
			return imitated_write(cpu, registers[index].msr, number) ?: size;
	return -EINVAL;
}

static const struct file_operations bank_operations = {
	.owner = THIS_MODULE,
	.open = open_bank,
	.read = seq_read,
	.write = write_bank,
	.llseek = seq_lseek,
	.release = single_release,
};

/* What firmware leaves in the registers. */
static void reset(struct bank *bank, unsigned int cpu)
{
	u64 unused;

	raw_spin_lock_init(&bank->lock);
	bank->cpu = cpu;
	bank->idle_us = get_cpu_idle_time_us(cpu, &unused);
	bank->counted_ns = ktime_get_mono_fast_ns();
	*cell(bank, MSR_PLATFORM_INFO) = (u64)nominal_ratio << 8 | (u64)min_ratio << 40;
	/* One limit for each count of active cores. */
	*cell(bank, MSR_TURBO_RATIO_LIMIT) = turbo_ratio * 0x0101010101010101ULL;
	*cell(bank, MSR_IA32_ENERGY_PERF_BIAS) = 6; /* balanced */
	*cell(bank, MSR_IA32_PERF_CTL) = nominal_ratio << 8;
	/* Highest, guaranteed, most efficient and lowest performance. */
	*cell(bank, MSR_HWP_CAPABILITIES) =
		turbo_ratio | nominal_ratio << 8 | 12 << 16 | min_ratio << 24;
	/* Lowest, highest and desired performance, and a balanced preference. */
	*cell(bank, MSR_HWP_REQUEST) = min_ratio | turbo_ratio << 8 | 0x80u << 24;
	*cell(bank, MSR_UNCORE_RATIO_LIMIT) = 24 | 8 << 8;
	/* Units of power (1/8 W), energy and time; limits that limit nothing. */
	*cell(bank, MSR_RAPL_POWER_UNIT) = 3 | energy_unit << 8 | 10 << 16;
	*cell(bank, MSR_PKG_POWER_LIMIT) = 0x00428320001a8320ULL & ~0xffffULL;
	*cell(bank, MSR_PKG_POWER_INFO) = 40 * 8 | 10 * 8 << 16 | 80ULL * 8 << 32;
}

static int __init imitated_init(void)
{
	unsigned long cpu;

	loaded_ns = ktime_get_mono_fast_ns();
	directory = debugfs_create_dir("imitated_msr", NULL);
	for_each_possible_cpu(cpu) {
		char name[16];

		reset(&per_cpu(banks, cpu), cpu);
		snprintf(name, sizeof(name), "cpu%lu", cpu);
		debugfs_create_file(name, 0600, directory, (void *)cpu, &bank_operations);
	}
	return 0;
}
module_init(imitated_init);

static void __exit imitated_exit(void)
{
	debugfs_remove(directory);
}
module_exit(imitated_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Imitated model-specific registers of an Intel processor");
