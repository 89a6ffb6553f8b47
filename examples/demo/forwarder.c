/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that forwards packets and requests the frequency that its queue needs.
 *
 *     forwarder PROFILE SECONDS STEPS_MHZ
 *
 * One thread per vCPU, each with a queue, the poweragent channel of its number and a
 * traffic pattern: slow waves, pauses, and bursts from a seeded generator, so that two
 * runs get the same traffic. Packets are simulated: a queue is only a number, drained as
 * fast as a CPU would that needs CYCLES per packet and runs at the frequency that the
 * host has acknowledged. The channel, the requests, the answers and their latencies are
 * real.
 *
 * Four times a second each vCPU prints a line, which the host parses:
 *
 *     @ vcpu=0 ms=12250 queue=731 arrived=8411 served=8377 lost=0 mhz=1800
 *       sent=81 acks=81 nacks=0 none=0 late=0 rtt_us=612,588,701        (in one line)
 *
 * All counters are totals since the start; rtt_us lists the round trips since the
 * previous line. "@ done" follows after SECONDS.
 *
 * Source of the packet: DPDK's rte_power_guest_channel.h (464 bytes since v18.11).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PACKET_BYTES 464
#define PORT "/dev/virtio-ports/virtio.serial.port.poweragent.%d"
#define MAX_VCPUS 16
#define MAX_STEPS 64
#define SAMPLES 64 /* round trips per line; further ones are counted, not listed */

#define TICK_US 10000      /* interval between checks of the queue */
#define REPORT_US 250000
#define ANSWER_MS 10       /* wait for an answer, as long as librte_power does */
#define LINGER_S 20        /* power off then if the host has not stopped the guest */

#define CYCLES 15000.0     /* per packet: 200 000 packets/s at 3 GHz */
#define QUEUE_PACKETS 8192 /* packets beyond it are lost */
#define LONG_QUEUE 4096    /* request the maximum */
#define RISING_QUEUE 1024  /* request a step up */
#define SHORT_QUEUE 64     /* request a step down */
#define UP_EVERY_US 30000
#define DOWN_EVERY_US 100000 /* l3fwd-power's timer */
#define IDLE_AFTER_US 300000

enum unit { UNIT_NONE, UNIT_UP = 1, UNIT_DOWN = 2, UNIT_MAX = 3, UNIT_MIN = 4 };
enum command { COMMAND_POWER = 1, COMMAND_CONNECT = 2 };
enum answer { ANSWER_NONE = 0, ANSWER_ACK = 1, ANSWER_NACK = 2 };

/* Loads are shares of the capacity at the nominal frequency (the step below turbo).
 * Their sum never exceeds 1: packets are lost only if the frequency rises too late. */
struct profile {
	const char *name;
	double low, high, period_s;   /* a wave between two loads, */
	double shift_s;               /* delayed by this for each vCPU */
	double pause_s;               /* no arrivals at the end of each period */
	double burst, burst_every_s;  /* additional load, and mean interval */
};

static const struct profile profiles[] = {
	{ "waves", 0.20, 0.62, 11, 3.5, 0, 0.35, 6 },
	{ "pauses", 0.15, 0.45, 7, 2.0, 2.5, 0.50, 5 },
};

struct vcpu {
	int number, fd, step;
	pthread_t thread;
	uint32_t seed;
	double queue, arrived, served, lost, burst_until_s, burst_from_s;
	uint64_t sent, acks, nacks, none, late;
	enum unit unanswered; /* the last request, if its answer timed out */
	uint64_t raised_us, short_since_us, empty_since_us;
	uint32_t rtt_us[SAMPLES];
	int rtts;
};

static const struct profile *profile;
static double steps_mhz[MAX_STEPS];
static int steps, duration_s;
static uint64_t start_us;

static uint64_t now_us(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static double random_share(struct vcpu *v)
{
	/* xorshift: the same on every C library. */
	v->seed ^= v->seed << 13;
	v->seed ^= v->seed >> 17;
	v->seed ^= v->seed << 5;
	return v->seed / 4294967296.0;
}

/* Traffic */

static double nominal_mhz(void)
{
	return steps > 1 && steps_mhz[0] - steps_mhz[1] <= 1 ? steps_mhz[1] :
							      steps_mhz[0];
}

static double packets_per_s(double mhz)
{
	return mhz * 1e6 / CYCLES;
}

static double load_at(struct vcpu *v, double at_s)
{
	double in_period_s = at_s + v->number * profile->shift_s;
	while (in_period_s >= profile->period_s)
		in_period_s -= profile->period_s;
	double up = 2 * in_period_s / profile->period_s;
	double slope = up < 1 ? up : 2 - up;
	double wave = slope * slope * (3 - 2 * slope);
	double load = profile->low + (profile->high - profile->low) * wave;
	if (in_period_s > profile->period_s - profile->pause_s)
		load = 0;
	if (at_s > v->burst_until_s) {
		v->burst_from_s = at_s + 2 * profile->burst_every_s * random_share(v);
		v->burst_until_s = v->burst_from_s + 0.15 + 0.35 * random_share(v);
	}
	return load > 0 && at_s > v->burst_from_s ? load + profile->burst : load;
}

static void forward(struct vcpu *v, double at_s, double elapsed_s)
{
	double arriving = load_at(v, at_s) * packets_per_s(nominal_mhz()) * elapsed_s;
	double able = packets_per_s(steps_mhz[v->step]) * elapsed_s;
	v->arrived += arriving;
	v->queue += arriving;
	double served = v->queue < able ? v->queue : able;
	v->queue -= served;
	v->served += served;
	if (v->queue > QUEUE_PACKETS) {
		v->lost += v->queue - QUEUE_PACKETS;
		v->queue = QUEUE_PACKETS;
	}
}

/* Channel */

static int write_packet(struct vcpu *v, uint32_t unit, uint32_t command)
{
	uint8_t packet[PACKET_BYTES] = { 0 };
	uint64_t core = v->number;
	memcpy(packet, &core, sizeof core);
	memcpy(packet + 8, &unit, sizeof unit);
	memcpy(packet + 12, &command, sizeof command);
	ssize_t done = write(v->fd, packet, sizeof packet);
	return done == sizeof packet ? 0 : -1;
}

/* Read one answer; ANSWER_NONE on timeout. */
static enum answer read_answer(struct vcpu *v, int timeout_ms)
{
	uint8_t packet[PACKET_BYTES];
	size_t have = 0;
	uint64_t end_us = now_us() + timeout_ms * 1000ULL;
	struct pollfd ready = { v->fd, POLLIN, 0 };
	do {
		/* In slices: an emulated CPU sometimes misses an interrupt, which
		 * would count as a late answer of the host. */
		if (poll(&ready, 1, timeout_ms ? 1 : 0) <= 0)
			continue;
		ssize_t got = read(v->fd, packet + have, sizeof packet - have);
		have += got > 0 ? got : 0;
	} while (have < sizeof packet && now_us() < end_us);
	uint32_t answer = ANSWER_NONE;
	if (have == sizeof packet)
		memcpy(&answer, packet + 12, sizeof answer);
	return answer;
}

static void take_step(struct vcpu *v, enum unit unit)
{
	if (unit == UNIT_MAX)
		v->step = 0;
	else if (unit == UNIT_MIN)
		v->step = steps - 1;
	else if (unit == UNIT_UP && v->step > 0)
		v->step--;
	else if (unit == UNIT_DOWN && v->step < steps - 1)
		v->step++;
}

/* A late answer must not be taken for the answer to the next request. */
static void read_late_answers(struct vcpu *v)
{
	enum answer answer;
	while ((answer = read_answer(v, 0)) != ANSWER_NONE) {
		v->late++;
		if (answer == ANSWER_ACK)
			take_step(v, v->unanswered);
		v->unanswered = UNIT_NONE;
	}
}

static void request(struct vcpu *v, enum unit unit)
{
	read_late_answers(v);
	uint64_t sent_us = now_us();
	if (write_packet(v, unit, COMMAND_POWER) < 0)
		return;
	v->sent++;
	enum answer answer = read_answer(v, ANSWER_MS);
	uint32_t taken_us = now_us() - sent_us;
	v->unanswered = answer == ANSWER_NONE ? unit : UNIT_NONE;
	if (answer == ANSWER_NONE) {
		v->none++;
		return;
	}
	if (v->rtts < SAMPLES)
		v->rtt_us[v->rtts++] = taken_us;
	if (answer == ANSWER_ACK) {
		v->acks++;
		take_step(v, unit);
	} else {
		v->nacks++;
	}
}

static void control(struct vcpu *v, uint64_t now)
{
	if (v->queue >= 1)
		v->empty_since_us = now;
	if (v->queue >= SHORT_QUEUE)
		v->short_since_us = now;
	if (v->queue >= LONG_QUEUE && v->step > 0) {
		request(v, UNIT_MAX);
	} else if (v->queue >= RISING_QUEUE && now - v->raised_us >= UP_EVERY_US) {
		v->raised_us = now;
		request(v, UNIT_UP);
	} else if (now - v->empty_since_us >= IDLE_AFTER_US && v->step < steps - 1) {
		request(v, UNIT_MIN);
	} else if (now - v->short_since_us >= DOWN_EVERY_US) {
		v->short_since_us = now;
		request(v, UNIT_DOWN);
	}
}

/* Threads */

static void report(struct vcpu *v, uint64_t now)
{
	char line[1024];
	int length = snprintf(
		line, sizeof line,
		"@ vcpu=%d ms=%lu queue=%.0f arrived=%.0f served=%.0f lost=%.0f "
		"mhz=%.0f sent=%lu acks=%lu nacks=%lu none=%lu late=%lu rtt_us=",
		v->number, (now - start_us) / 1000, v->queue, v->arrived, v->served,
		v->lost, steps_mhz[v->step], v->sent, v->acks, v->nacks, v->none,
		v->late);
	for (int i = 0; i < v->rtts; i++)
		length += snprintf(line + length, sizeof line - length, "%s%u",
				   i ? "," : "", v->rtt_us[i]);
	line[length++] = '\n';
	v->rtts = 0;
	/* One write per line, so that lines of two vCPUs do not mix. */
	if (write(STDOUT_FILENO, line, length) < 0)
		perror("console");
}

static void pin_to_cpu(int number)
{
	cpu_set_t here;
	CPU_ZERO(&here);
	CPU_SET(number, &here);
	sched_setaffinity(0, sizeof here, &here);
}

static void *run_vcpu(void *argument)
{
	struct vcpu *v = argument;
	pin_to_cpu(v->number);
	write_packet(v, 0, COMMAND_CONNECT);
	uint64_t end_us = start_us + duration_s * 1000000ULL, last_us = now_us();
	uint64_t next_us = last_us, report_us = last_us + REPORT_US;
	v->empty_since_us = v->short_since_us = last_us;
	for (uint64_t now = last_us; now < end_us; now = now_us()) {
		forward(v, (now - start_us) / 1e6, (now - last_us) / 1e6);
		last_us = now;
		control(v, now);
		if (now >= report_us) {
			report(v, now);
			report_us = now + REPORT_US;
		}
		next_us = next_us + TICK_US > now ? next_us + TICK_US : now + TICK_US;
		struct timespec at = { next_us / 1000000, next_us % 1000000 * 1000 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
	report(v, now_us());
	return NULL;
}

static int open_channel(int number)
{
	char path[128];
	snprintf(path, sizeof path, PORT, number);
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void read_arguments(char **arguments)
{
	for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
		if (strcmp(profiles[i].name, arguments[1]) == 0)
			profile = &profiles[i];
	duration_s = atoi(arguments[2]);
	for (char *word = strtok(arguments[3], ","); word && steps < MAX_STEPS;
	     word = strtok(NULL, ","))
		steps_mhz[steps++] = atof(word);
}

int main(int count, char **arguments)
{
	static struct vcpu vcpus[MAX_VCPUS];
	int online = sysconf(_SC_NPROCESSORS_ONLN);
	if (count == 4)
		read_arguments(arguments);
	if (!profile || steps == 0 || online > MAX_VCPUS) {
		puts("usage: forwarder waves|pauses SECONDS MHZ,MHZ,...");
		return 1;
	}
	start_us = now_us();
	for (int i = 0; i < online; i++) {
		vcpus[i].number = i;
		vcpus[i].seed = 0x9e3779b9u * (i + 1) + (profile - profiles);
		vcpus[i].fd = open_channel(i);
	}
	for (int i = 0; i < online; i++)
		if (pthread_create(&vcpus[i].thread, NULL, run_vcpu, &vcpus[i]))
			return 1;
	for (int i = 0; i < online; i++)
		pthread_join(vcpus[i].thread, NULL);
	puts("@ done");
	fflush(stdout);
	/* Keep the channels open: the host reads its counters before it stops the guest. */
	sleep(LINGER_S);
	return 0;
}
