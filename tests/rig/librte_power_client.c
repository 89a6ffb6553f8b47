/* A guest application of DPDK's power library: six calls on lcore 0, spaced in time.
 *
 * The calls and their order are those of DPDK's power_kvm_vm_autotest, so the units on
 * the wire are 5, 6, 1, 2, 4, 3. The environment variable "spacing" says how many
 * milliseconds lie between two calls (default 100), "rounds" how often all six are
 * made (default 1). One line per call goes to standard output.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_power.h>

#define LCORE 0

struct call {
	const char *name;
	int unit;
	int (*make)(unsigned int lcore);
};

static int enable_turbo(unsigned int lcore)
{
	return rte_power_freq_enable_turbo(lcore);
}

static int disable_turbo(unsigned int lcore)
{
	return rte_power_freq_disable_turbo(lcore);
}

static int scale_up(unsigned int lcore)
{
	return rte_power_freq_up(lcore);
}

static int scale_down(unsigned int lcore)
{
	return rte_power_freq_down(lcore);
}

static int scale_min(unsigned int lcore)
{
	return rte_power_freq_min(lcore);
}

static int scale_max(unsigned int lcore)
{
	return rte_power_freq_max(lcore);
}

static const struct call calls[] = {
	{ "enable_turbo", 5, enable_turbo }, { "disable_turbo", 6, disable_turbo },
	{ "freq_up", 1, scale_up },	     { "freq_down", 2, scale_down },
	{ "freq_min", 4, scale_min },	     { "freq_max", 3, scale_max },
};

static unsigned int number_from(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);
	return text && *text ? (unsigned int)atoi(text) : otherwise;
}

int main(int argc, char **argv)
{
	unsigned int spacing_ms = number_from("spacing", 100);
	unsigned int rounds = number_from("rounds", 1);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (rte_eal_init(argc, argv) < 0)
		return 2;
	if (rte_power_set_env(PM_ENV_KVM_VM) != 0 || rte_power_init(LCORE) != 0) {
		printf("client: no host\n");
		return 1;
	}
	printf("client: connected\n");
	for (unsigned int round = 0; round < rounds; round++)
		for (size_t i = 0; i < RTE_DIM(calls); i++) {
			rte_delay_us_sleep(spacing_ms * 1000);
			int result = calls[i].make(LCORE);
			printf("client: %s unit=%d result=%d\n", calls[i].name,
			       calls[i].unit, result);
		}
	rte_delay_us_sleep(spacing_ms * 1000);
	printf("client: exit result=%d\n", rte_power_exit(LCORE));
	return 0;
}
