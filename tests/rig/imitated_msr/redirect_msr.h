/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Included after the kernel's headers and before the unchanged source of a driver: its
 * accesses to model-specific registers, and its questions about the processor, go to
 * imitated_msr.ko.
 */
#ifndef REDIRECT_MSR_H
#define REDIRECT_MSR_H

#include <linux/kprobes.h>
#include <linux/smp.h>
#include <asm/cpu_device_id.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/tsc.h>
#include "imitated_msr.h"

/* One access, which the CPU carries out itself: -ENXIO while it is offline. */
struct access {
	u32 msr;
	bool is_write;
	u64 value;
	int error;
};

static void access_here(void *data)
{
	struct access *access = data;
	unsigned int cpu = raw_smp_processor_id();

	if (access->is_write)
		access->error = imitated_write(cpu, access->msr, access->value);
	else
		access->error = imitated_read(cpu, access->msr, &access->value);
}

static int __maybe_unused read_on(unsigned int cpu, u32 msr, u64 *value)
{
	struct access access = { .msr = msr };
	int error = smp_call_function_single(cpu, access_here, &access, true);

	*value = access.value;
	return error ?: access.error;
}

static int __maybe_unused write_on(unsigned int cpu, u32 msr, u64 value)
{
	struct access access = { .msr = msr, .is_write = true, .value = value };
	int error = smp_call_function_single(cpu, access_here, &access, true);

	return error ?: access.error;
}

/* Assigns what `read` stores in value_ to a variable of any integer type. */
#define READ_INTO(variable, read) ({ \
	u64 value_; \
	int error_ = (read); \
	(variable) = value_; \
	error_; \
})
#define HERE raw_smp_processor_id()

#undef rdmsrl
#undef rdmsrl_safe
#undef wrmsrl
#undef wrmsrl_safe
#define rdmsrl(msr, variable) \
	((void)READ_INTO(variable, imitated_read(HERE, msr, &value_)))
#define rdmsrl_safe(msr, pointer) \
	READ_INTO(*(pointer), imitated_read(HERE, msr, &value_))
#define wrmsrl(msr, value) ((void)imitated_write(HERE, msr, value))
#define wrmsrl_safe(msr, value) imitated_write(HERE, msr, value)
#define rdmsrl_on_cpu(cpu, msr, pointer) \
	READ_INTO(*(pointer), read_on(cpu, msr, &value_))
#define rdmsrl_safe_on_cpu(cpu, msr, pointer) \
	READ_INTO(*(pointer), read_on(cpu, msr, &value_))
#define wrmsrl_on_cpu(cpu, msr, value) write_on(cpu, msr, value)
#define wrmsrl_safe_on_cpu(cpu, msr, value) write_on(cpu, msr, value)

#undef boot_cpu_has
#undef this_cpu_has
#undef static_cpu_has
#undef cpu_feature_enabled
#define boot_cpu_has(feature) imitated_has(feature)
#define this_cpu_has(feature) imitated_has(feature)
#define static_cpu_has(feature) imitated_has(feature)
#define cpu_feature_enabled(feature) imitated_has(feature)

#undef cpu_khz
#undef tsc_khz
#define cpu_khz imitated_nominal_khz()
#define tsc_khz imitated_nominal_khz()

static bool is_this_processor(const struct x86_cpu_id *id)
{
	const struct cpuinfo_x86 *cpu = &boot_cpu_data;
	bool is_model = id->model == X86_MODEL_ANY || id->model == cpu->x86_model;
	bool is_family = id->family == X86_FAMILY_ANY || id->family == cpu->x86;
	bool is_vendor = id->vendor == X86_VENDOR_ANY || id->vendor == cpu->x86_vendor;
	bool is_stepping = id->steppings == X86_STEPPING_ANY ||
			   id->steppings & BIT(cpu->x86_stepping);
	bool has_feature = id->feature == X86_FEATURE_ANY || imitated_has(id->feature);

	return is_vendor && is_family && is_model && is_stepping && has_feature;
}

/* A list ends with an entry of zeros. */
static const struct x86_cpu_id *__maybe_unused find_processor(const struct x86_cpu_id *id)
{
	while (id->vendor || id->family || id->model || id->steppings || id->feature) {
		if (is_this_processor(id))
			return id;
		id++;
	}
	return NULL;
}
#define x86_match_cpu(list) find_processor(list)

/* Returns the address of a function that the kernel does not export to modules. */
static void *__maybe_unused find_function(const char *name)
{
	struct kprobe probe = { .symbol_name = name };

	if (register_kprobe(&probe))
		return NULL;
	unregister_kprobe(&probe);
	return probe.addr;
}

#endif
