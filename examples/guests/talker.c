/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted guest: executes statements, most of them on poweragent ports.
 *
 * Statements come from the arguments, then line by line from the virtio-serial port
 * named vmpower.rig, if the domain has one. The result of each is printed on standard
 * output and on that port, as "= STATEMENT: RESULT". ';' separates statements, ':' the
 * words of a statement.
 *
 *   open:N                 open channel N (waits 20 s for the port to appear)
 *   close:N                close it again
 *   connect:N              send CONNECT; all other fields are random bytes, as with DPDK
 *   send:N:UNIT[:CORE]     send a request for vCPU CORE (default N), read no answer
 *   ask:N:UNIT[:CORE]      the same, and wait 1 s for the answer: ack, nack or none
 *   burst:N:UNITS          one request per digit of UNITS, in a single write
 *   raw:N:HEX[:TIMES]      send these bytes unchanged
 *   drain:N                read the pending answers, then stats
 *   flood:N:RATE[:UNITS]   in the background: RATE requests per second, UNITS in turn
 *                          (default 43: lowest, highest), reading the answers
 *   stats:N                print counters and latencies of channel N
 *   stop:N                 stop the flood, wait 1 s for missing answers, then stats
 *   spin:MS                busy-loop for MS milliseconds
 *   sleep:MS  say:TEXT  poweroff  reboot  crash
 *   loop                   restart with the first statement of the arguments
 *
 * Source of the packet: DPDK's rte_power_guest_channel.h (464 bytes since v18.11).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CHANNELS 256
#define PACKET_BYTES 464
#define AGENT_PORT "virtio.serial.port.poweragent."
#define RIG_PORT "vmpower.rig"
#define PENDING 4096   /* requests whose send time is kept */
#define SAMPLES 65536  /* latencies kept; later ones overwrite the first */
#define LATE_US 10000  /* librte_power's receive call gives up after 10 ms */

enum { CPU_POWER = 1, CPU_POWER_CONNECT = 2 };

struct channel {
	int fd;
	pthread_t thread;
	atomic_int is_flooding;
	double rate;
	char units[32];
	uint8_t partial[PACKET_BYTES];
	size_t partial_bytes;
	uint64_t sent, acks, nacks, others, refused, late;
	uint64_t sent_at[PENDING];
	uint32_t samples[SAMPLES];
	pthread_mutex_t lock;
};

static struct channel channels[CHANNELS];
static int rig_fd = -1;

static uint64_t now_us(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static void sleep_us(uint64_t microseconds)
{
	struct timespec span = { microseconds / 1000000,
				 (microseconds % 1000000) * 1000 };
	nanosleep(&span, NULL);
}

static void write_all(int fd, const char *text, size_t left)
{
	while (left > 0) {
		ssize_t done = write(fd, text, left);
		if (done < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (done < 0)
			sleep_us(1000);
		else
			text += done, left -= done;
	}
}

static void report(const char *format, ...)
{
	char line[1024];
	va_list values;
	va_start(values, format);
	int length = vsnprintf(line, sizeof line - 1, format, values);
	va_end(values);
	if (length > (int)sizeof line - 2)
		length = sizeof line - 2;
	line[length++] = '\n';
	write_all(STDOUT_FILENO, line, length);
	struct pollfd rig = { rig_fd, POLLOUT, 0 };
	/* While the host's end is closed, the write would block forever. */
	if (rig_fd >= 0 && poll(&rig, 1, 0) >= 0 && !(rig.revents & POLLHUP))
		write_all(rig_fd, line, length);
}

/* Without udev: look the port up by name in sysfs. */
static int open_named(const char *wanted, int flags)
{
	char path[300], name[128] = "";
	int fd = -1;
	DIR *ports = opendir("/sys/class/virtio-ports");
	for (struct dirent *port; ports && fd < 0 && (port = readdir(ports));) {
		snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name",
			 port->d_name);
		FILE *file = fopen(path, "r");
		if (!file)
			continue;
		name[0] = 0;
		if (fgets(name, sizeof name, file))
			name[strcspn(name, "\n")] = 0;
		fclose(file);
		if (strcmp(name, wanted) == 0) {
			snprintf(path, sizeof path, "/dev/%s", port->d_name);
			fd = open(path, flags);
		}
	}
	if (ports)
		closedir(ports);
	return fd;
}

static int open_with_timeout(const char *name, int flags, int timeout_ms)
{
	for (int waited = 0;; waited += 20) {
		int fd = open_named(name, flags);
		if (fd >= 0 || waited >= timeout_ms)
			return fd;
		sleep_us(20000);
	}
}

static void fill_request(uint8_t *packet, uint64_t core, uint32_t unit)
{
	uint32_t command = CPU_POWER;
	memset(packet, 0, PACKET_BYTES);
	memcpy(packet, &core, 8);
	memcpy(packet + 8, &unit, 4);
	memcpy(packet + 12, &command, 4);
}

static int write_once(int fd, const void *data, size_t size)
{
	ssize_t done;
	do
		done = write(fd, data, size);
	while (done < 0 && errno == EINTR);
	return done == (ssize_t)size ? 0 : done < 0 ? errno : EIO;
}

static int send_request(struct channel *c, uint64_t core, uint32_t unit)
{
	uint8_t packet[PACKET_BYTES];
	fill_request(packet, core, unit);
	c->sent_at[c->sent % PENDING] = now_us();
	int error = write_once(c->fd, packet, sizeof packet);
	if (error)
		c->refused++;
	else
		c->sent++;
	return error;
}

static void count_answer(struct channel *c)
{
	uint32_t command;
	memcpy(&command, c->partial + 12, 4);
	uint64_t number = c->acks + c->nacks + c->others;
	uint64_t taken = now_us() - c->sent_at[number % PENDING];
	c->samples[number % SAMPLES] = taken > UINT32_MAX ? UINT32_MAX : taken;
	c->late += taken > LATE_US;
	if (command == 1)
		c->acks++;
	else if (command == 2)
		c->nacks++;
	else
		c->others++;
}

/* Answers arrive in the order of requests: the n-th answers the n-th request. */
static void read_answers(struct channel *c)
{
	for (;;) {
		ssize_t got = read(c->fd, c->partial + c->partial_bytes,
				   PACKET_BYTES - c->partial_bytes);
		if (got <= 0)
			return;
		c->partial_bytes += got;
		if (c->partial_bytes == PACKET_BYTES) {
			c->partial_bytes = 0;
			count_answer(c);
		}
	}
}

static uint64_t answered(const struct channel *c)
{
	return c->acks + c->nacks + c->others;
}

static void wait_readable(struct channel *c, uint64_t until_us)
{
	uint64_t now = now_us();
	struct pollfd ready = { c->fd, POLLIN, 0 };
	struct timespec span = { 0, 0 };
	if (until_us > now) {
		span.tv_sec = (until_us - now) / 1000000;
		span.tv_nsec = (until_us - now) % 1000000 * 1000;
	}
	ppoll(&ready, 1, &span, NULL);
	if (ready.revents & POLLHUP && until_us > now)
		sleep_us(1000); /* the host's end is closed: poll returns at once */
}

static void await_answers(struct channel *c, uint64_t count, uint64_t timeout_us)
{
	uint64_t end = now_us() + timeout_us;
	pthread_mutex_lock(&c->lock);
	read_answers(c);
	while (answered(c) < count && now_us() < end) {
		wait_readable(c, end);
		read_answers(c);
	}
	pthread_mutex_unlock(&c->lock);
}

static void *flood(void *argument)
{
	struct channel *c = argument;
	uint64_t core = c - channels, turn = 0, period = 1000000 / c->rate;
	uint64_t next = now_us();
	while (c->is_flooding) {
		pthread_mutex_lock(&c->lock);
		send_request(c, core, c->units[turn++ % strlen(c->units)] - '0');
		next += period;
		if (now_us() > next + 100000)
			next = now_us(); /* too slow: do not catch up */
		do {
			wait_readable(c, next);
			read_answers(c);
		} while (now_us() < next && c->is_flooding);
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	return (a > b) - (a < b);
}

static void report_stats(const char *statement, struct channel *c)
{
	static uint32_t sorted[SAMPLES];
	pthread_mutex_lock(&c->lock);
	size_t count = answered(c) < SAMPLES ? answered(c) : SAMPLES;
	memcpy(sorted, c->samples, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, compare);
	uint32_t p50 = count ? sorted[count / 2] : 0;
	uint32_t p99 = count ? sorted[count * 99 / 100] : 0;
	uint32_t most = count ? sorted[count - 1] : 0;
	report("= %s: sent=%lu acks=%lu nacks=%lu others=%lu refused=%lu late=%lu "
	       "p50_us=%u p99_us=%u max_us=%u", statement, c->sent, c->acks,
	       c->nacks, c->others, c->refused, c->late, p50, p99, most);
	pthread_mutex_unlock(&c->lock);
}

static void stop_flood(struct channel *c)
{
	if (c->is_flooding) {
		c->is_flooding = 0;
		pthread_join(c->thread, NULL);
	}
}

static const char *close_channel(struct channel *c)
{
	if (c->fd < 0)
		return "not open";
	stop_flood(c);
	close(c->fd);
	c->fd = -1;
	return "ok";
}

static const char *open_channel(struct channel *c)
{
	char name[64];
	if (c->fd >= 0)
		return "already open";
	snprintf(name, sizeof name, AGENT_PORT "%ld", (long)(c - channels));
	c->fd = open_with_timeout(name, O_RDWR | O_NONBLOCK | O_CLOEXEC, 20000);
	if (c->fd < 0)
		return strerror(errno);
	c->partial_bytes = 0;
	c->sent = c->acks = c->nacks = c->others = c->refused = c->late = 0;
	return "ok";
}

static const char *result_text(int error)
{
	return error ? strerrorname_np(error) : "ok";
}

static const char *send_connect(struct channel *c)
{
	uint8_t packet[PACKET_BYTES];
	uint32_t command = CPU_POWER_CONNECT;
	for (size_t i = 0; i < sizeof packet; i++)
		packet[i] = rand();
	memcpy(packet + 12, &command, 4);
	return result_text(write_once(c->fd, packet, sizeof packet));
}

static const char *send_burst(struct channel *c, const char *units)
{
	static uint8_t packets[64 * PACKET_BYTES];
	size_t count = strlen(units) < 64 ? strlen(units) : 64;
	uint64_t now = now_us();
	for (size_t i = 0; i < count; i++) {
		fill_request(packets + i * PACKET_BYTES, c - channels,
			     units[i] - '0');
		c->sent_at[(c->sent + i) % PENDING] = now;
	}
	int error = write_once(c->fd, packets, count * PACKET_BYTES);
	if (!error)
		c->sent += count;
	return result_text(error);
}

static const char *send_raw(struct channel *c, const char *hex, long times)
{
	static uint8_t bytes[32768];
	size_t length = 0, once = strlen(hex) / 2;
	for (long turn = 0; turn < times; turn++)
		for (size_t i = 0; i < once && length < sizeof bytes; i++) {
			char digits[3] = { hex[2 * i], hex[2 * i + 1], 0 };
			bytes[length++] = strtoul(digits, NULL, 16);
		}
	return result_text(write_once(c->fd, bytes, length));
}

static void send_and_wait(const char *statement, struct channel *c, uint64_t core,
			  uint32_t unit)
{
	read_answers(c); /* discard answers to earlier "send" statements */
	uint64_t acks = c->acks, nacks = c->nacks, before = answered(c);
	/* Unanswered requests would shift the pairing for good. */
	c->sent = before;
	int error = send_request(c, core, unit);
	if (error) {
		report("= %s: %s", statement, result_text(error));
		return;
	}
	await_answers(c, before + 1, 1000000);
	const char *word = c->acks > acks   ? "ack" :
			   c->nacks > nacks ? "nack" :
					      "none";
	report("= %s: %s %u us", statement, word,
	       answered(c) > before ? c->samples[before % SAMPLES] : 0);
}

static void start_flood(const char *statement, struct channel *c, char **words)
{
	stop_flood(c);
	c->rate = words[2] && atof(words[2]) > 0 ? atof(words[2]) : 1;
	snprintf(c->units, sizeof c->units, "%s", words[3] ? words[3] : "43");
	c->sent = c->acks = c->nacks = c->others = c->refused = c->late = 0;
	c->is_flooding = 1;
	int error = pthread_create(&c->thread, NULL, flood, c);
	if (error)
		c->is_flooding = 0;
	report("= %s: %s", statement, result_text(error));
}

static void do_on_channel(const char *statement, struct channel *c, char **words)
{
	const char *verb = words[0];
	uint32_t unit = words[2] ? atoi(words[2]) : 0;
	uint64_t core = words[2] && words[3] ? strtoull(words[3], NULL, 10) :
					       (uint64_t)(c - channels);
	if (strcmp(verb, "connect") == 0)
		report("= %s: %s", statement, send_connect(c));
	else if (strcmp(verb, "send") == 0)
		report("= %s: %s", statement, result_text(send_request(c, core, unit)));
	else if (strcmp(verb, "ask") == 0)
		send_and_wait(statement, c, core, unit);
	else if (strcmp(verb, "burst") == 0 && words[2])
		report("= %s: %s", statement, send_burst(c, words[2]));
	else if (strcmp(verb, "raw") == 0 && words[2])
		report("= %s: %s", statement,
		       send_raw(c, words[2], words[3] ? atol(words[3]) : 1));
	else if (strcmp(verb, "drain") == 0)
		await_answers(c, 0, 0), report_stats(statement, c);
	else if (strcmp(verb, "flood") == 0)
		start_flood(statement, c, words);
	else if (strcmp(verb, "stats") == 0)
		report_stats(statement, c);
	else if (strcmp(verb, "stop") == 0) {
		stop_flood(c);
		await_answers(c, c->sent, 1000000);
		report_stats(statement, c);
	} else
		report("= %s: unknown", statement);
}

static void halt(int how)
{
	tcdrain(STDOUT_FILENO); /* the last line must reach the console */
	sync();
	reboot(how);
}

static void spin_ms(uint64_t ms)
{
	uint64_t end = now_us() + ms * 1000;
	while (now_us() < end)
		;
}

/* Execute a statement without a channel; return 0 if it is not one. */
static int do_without_channel(const char *statement, char **words)
{
	const char *verb = words[0];
	if (strcmp(verb, "say") == 0)
		report("= say: %s", words[1] ? words[1] : "");
	else if (strcmp(verb, "sleep") == 0 && words[1])
		sleep_us(strtoull(words[1], NULL, 10) * 1000),
			report("= %s: ok", statement);
	else if (strcmp(verb, "spin") == 0 && words[1])
		spin_ms(strtoull(words[1], NULL, 10)), report("= %s: ok", statement);
	else if (strcmp(verb, "poweroff") == 0)
		report("= poweroff: ok"), halt(RB_POWER_OFF);
	else if (strcmp(verb, "reboot") == 0)
		report("= reboot: ok"), halt(RB_AUTOBOOT);
	else if (strcmp(verb, "crash") == 0) {
		int trigger = open("/proc/sysrq-trigger", O_WRONLY);
		report("= crash: ok");
		tcdrain(STDOUT_FILENO);
		write_all(trigger, "c", 1);
	} else
		return 0;
	return 1;
}

static void do_statement(const char *statement)
{
	char copy[8192], *words[5] = { 0 }, *rest = copy;
	snprintf(copy, sizeof copy, "%s", statement);
	for (int i = 0; i < 4 && rest; i++)
		words[i] = strsep(&rest, ":");
	if (!words[0] || !*words[0] || do_without_channel(statement, words))
		return;
	long number = words[1] ? atol(words[1]) : -1;
	if (number < 0 || number >= CHANNELS) {
		report("= %s: unknown", statement);
		return;
	}
	struct channel *c = &channels[number];
	if (strcmp(words[0], "open") == 0)
		report("= %s: %s", statement, open_channel(c));
	else if (strcmp(words[0], "close") == 0)
		report("= %s: %s", statement, close_channel(c));
	else if (c->fd < 0)
		report("= %s: not open", statement);
	else
		do_on_channel(statement, c, words);
}

static int do_text(const char *text)
{
	char copy[16384], *rest = copy, *statement;
	snprintf(copy, sizeof copy, "%s", text);
	while ((statement = strsep(&rest, ";"))) {
		if (strcmp(statement, "loop") == 0)
			return 1;
		do_statement(statement);
	}
	return 0;
}

static void serve_rig(void)
{
	static char line[16384];
	size_t length = 0;
	report("= ready");
	for (;;) {
		char byte;
		ssize_t got = read(rig_fd, &byte, 1);
		if (got <= 0) {
			sleep_us(10000); /* the host's end is not connected */
			continue;
		}
		if (byte != '\n' && length < sizeof line - 1) {
			line[length++] = byte;
			continue;
		}
		line[length] = 0;
		length = 0;
		do_text(line);
	}
}

int main(int argc, char **argv)
{
	srand(now_us());
	for (int i = 0; i < CHANNELS; i++) {
		channels[i].fd = -1;
		pthread_mutex_init(&channels[i].lock, NULL);
	}
	rig_fd = open_with_timeout(RIG_PORT, O_RDWR | O_CLOEXEC, 0);
	for (int i = 1; i < argc; i++)
		while (do_text(argv[i]))
			;
	if (rig_fd < 0)
		/* The kernel finds one port after another: 30 of them take seconds. */
		rig_fd = open_with_timeout(RIG_PORT, O_RDWR | O_CLOEXEC, 60000);
	if (rig_fd >= 0)
		serve_rig();
	report("= done");
	for (;;)
		pause();
}
