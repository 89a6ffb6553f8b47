/* SPDX-License-Identifier: Apache-2.0 */
/* A guest application of DPDK's power library: six calls on lcore 0, spaced in time.
 *
 * The calls and their order are those of DPDK's power_kvm_vm_autotest, so the units on
 * the wire are 5, 6, 1, 2, 4, 3. The environment variable "spacing" is the pause
 * between two calls in milliseconds (default 100), "rounds" is how often all six are
 * made (default 1). One line per call is printed to standard output.
 *
 * Then it sends each message of the table below "dialogues" times (default 0), like
 * DPDK's own guest_cli: through the library's public calls, waiting for the answer as
 * long as they do (10 ms). One line per message shows how many answers arrived in
 * time, later (so that guest_cli would take them for the next one), or not at all, how
 * many of them answer something else, and the code of the last one, with its values
 * for vCPUs.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#if __has_include(<rte_power_cpufreq.h>) /* since DPDK 24.11 */
#include <rte_power_cpufreq.h>
#else
#include <rte_power.h>
#endif
#include <rte_power_guest_channel.h>

#define LCORE 0
#define OTHER_VCPU 1
#define ABSENT_VCPU 7
#define DRAIN_TRIES 200 /* of 10 ms each, for a late answer */

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

struct message {
	const char *name;
	uint32_t command;
	uint64_t vcpu;
	uint32_t unit;
	size_t answer_bytes;
};

#define ACK_BYTES sizeof(struct rte_power_channel_packet)
#define FREQ_BYTES sizeof(struct rte_power_channel_packet_freq_list)
#define CAPS_BYTES sizeof(struct rte_power_channel_packet_caps_list)

static const struct message messages[] = {
	{ "scale_min", RTE_POWER_CPU_POWER, LCORE, RTE_POWER_SCALE_MIN, ACK_BYTES },
	{ "scale_other", RTE_POWER_CPU_POWER, OTHER_VCPU, RTE_POWER_DISABLE_TURBO,
	  ACK_BYTES },
	{ "query_freq", RTE_POWER_QUERY_FREQ, LCORE, 0, FREQ_BYTES },
	{ "query_other", RTE_POWER_QUERY_FREQ, OTHER_VCPU, 0, FREQ_BYTES },
	{ "query_freq_list", RTE_POWER_QUERY_FREQ_LIST, 0, 0, FREQ_BYTES },
	{ "query_caps", RTE_POWER_QUERY_CAPS, LCORE, 0, CAPS_BYTES },
	{ "query_caps_list", RTE_POWER_QUERY_CAPS_LIST, 0, 0, CAPS_BYTES },
	{ "absent_scale", RTE_POWER_CPU_POWER, ABSENT_VCPU, RTE_POWER_SCALE_MAX,
	  ACK_BYTES },
	{ "absent_freq", RTE_POWER_QUERY_FREQ, ABSENT_VCPU, 0, FREQ_BYTES },
	{ "absent_caps", RTE_POWER_QUERY_CAPS, ABSENT_VCPU, 0, CAPS_BYTES },
	{ "policy", RTE_POWER_PKT_POLICY, 0, 0, ACK_BYTES },
	/* No host answers this; anything that arrives is counted as an answer. */
	{ "policy_remove", RTE_POWER_PKT_POLICY_REMOVE, 0, 0, ACK_BYTES },
};

struct tally {
	unsigned int in_time, late, none, out_of_step;
	uint64_t worst_us;
	uint32_t answer;	   /* ACK, NACK, FREQ_LIST or CAPS_LIST */
	uint64_t values[RTE_POWER_MAX_VCPU_PER_VM]; /* frequencies in kHz, or turbo */
	unsigned int vcpus;
};

union answer {
	struct rte_power_channel_packet ack;
	struct rte_power_channel_packet_freq_list freqs;
	struct rte_power_channel_packet_caps_list caps;
};

static void fill_packet(struct rte_power_channel_packet *packet,
			const struct message *message)
{
	static unsigned int number;
	memset(packet, 0, sizeof *packet);
	/* Answers return the name, which shows what they answer. */
	snprintf(packet->vm_name, sizeof packet->vm_name, "m%u", number++);
	packet->resource_id = message->vcpu;
	packet->unit = message->unit;
	packet->command = message->command;
	packet->core_type = RTE_POWER_CORE_TYPE_VIRTUAL;
	if (message->command == RTE_POWER_PKT_POLICY) {
		packet->policy_to_use = RTE_POWER_POLICY_WORKLOAD;
		packet->workload = RTE_POWER_WL_LOW;
		packet->vcpu_to_control[0] = LCORE;
		packet->num_vcpu = 1;
	}
}

/* guest_cli only checks the command; this checks that the answer is to this message. */
static int is_in_step(const struct rte_power_channel_packet *sent,
		      const union answer *answer, size_t bytes)
{
	uint32_t command = answer->ack.command;
	if (bytes == ACK_BYTES) {
		struct rte_power_channel_packet echo = answer->ack;
		echo.command = sent->command;
		return (command == RTE_POWER_CMD_ACK || command == RTE_POWER_CMD_NACK) &&
		       memcmp(&echo, sent, sizeof echo) == 0;
	}
	if (strcmp(answer->ack.vm_name, sent->vm_name) != 0)
		return 0; /* at the same offset as in an echo */
	return command == RTE_POWER_CMD_NACK ||
	       command == (bytes == FREQ_BYTES ? RTE_POWER_FREQ_LIST :
					      RTE_POWER_CAPS_LIST);
}

static void note(struct tally *tally, const union answer *answer, size_t bytes)
{
	tally->answer = answer->ack.command;
	if (bytes == ACK_BYTES)
		return;
	tally->vcpus = bytes == FREQ_BYTES ? answer->freqs.num_vcpu :
					     answer->caps.num_vcpu;
	for (size_t i = 0; i < RTE_DIM(tally->values); i++)
		tally->values[i] = bytes == FREQ_BYTES ? answer->freqs.freq_list[i] :
							 answer->caps.turbo[i];
}

static void exchange(const struct message *message, struct tally *tally)
{
	struct rte_power_channel_packet packet;
	union answer answer;
	size_t bytes = message->answer_bytes;
	uint64_t began = rte_get_timer_cycles();
	int most = message->command == RTE_POWER_PKT_POLICY_REMOVE ? 1 : DRAIN_TRIES;
	int tries = 0, got;

	fill_packet(&packet, message);
	memset(&answer, 0, sizeof answer);
	if (rte_power_guest_channel_send_msg(&packet, LCORE) != 0) {
		tally->none++;
		return;
	}
	do
		got = rte_power_guest_channel_receive_msg(&answer, bytes, LCORE);
	while (got != 0 && ++tries < most);
	uint64_t took_us = (rte_get_timer_cycles() - began) * 1000000 /
			   rte_get_timer_hz();
	if (got != 0) {
		tally->none++;
		return;
	}
	tally->in_time += tries == 0;
	tally->late += tries > 0;
	tally->out_of_step += !is_in_step(&packet, &answer, bytes);
	if (took_us > tally->worst_us)
		tally->worst_us = took_us;
	note(tally, &answer, bytes);
}

static void talk(unsigned int dialogues, unsigned int spacing_ms)
{
	struct tally tallies[RTE_DIM(messages)] = { 0 };
	union answer answer;
	/* The library's own calls do not read their answers: discard them. */
	while (rte_power_guest_channel_receive_msg(&answer, ACK_BYTES, LCORE) == 0)
		;
	for (unsigned int round = 0; round < dialogues; round++)
		for (size_t i = 0; i < RTE_DIM(messages); i++) {
			exchange(&messages[i], &tallies[i]);
			rte_delay_us_sleep(spacing_ms * 1000);
		}
	for (size_t i = 0; i < RTE_DIM(messages); i++) {
		const struct tally *t = &tallies[i];
		printf("dialogue: %s in_time=%u late=%u none=%u out_of_step=%u "
		       "worst_us=%" PRIu64 " answer=%u vcpus=%u values=",
		       messages[i].name, t->in_time, t->late, t->none,
		       t->out_of_step, t->worst_us, t->answer, t->vcpus);
		for (size_t vcpu = 0; vcpu < RTE_DIM(t->values); vcpu++)
			printf("%s%" PRIu64, vcpu ? "," : "", t->values[vcpu]);
		printf("\n");
	}
}

static unsigned int number_from(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);
	return text && *text ? (unsigned int)atoi(text) : otherwise;
}

int main(int argc, char **argv)
{
	unsigned int spacing_ms = number_from("spacing", 100);
	unsigned int rounds = number_from("rounds", 1);
	unsigned int dialogues = number_from("dialogues", 0);

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
	talk(dialogues, spacing_ms);
	printf("client: exit result=%d\n", rte_power_exit(LCORE));
	return 0;
}
