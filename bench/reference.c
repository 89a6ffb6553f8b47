/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal server for the channels, which vmpowerd is compared with.
 *
 *   reference unbatched|batched DIRECTORY CHANNELS CPU_DIR
 *
 * Connects to DIRECTORY/0, DIRECTORY/1, ..., and carries out SCALE_MAX and SCALE_MIN of
 * channel N by writing the frequency of policyN. It does nothing else: no vCPUs, votes,
 * limits, counters or restoring; one request is one comparison and one pwrite.
 *
 * unbatched: one packet per turn: recv, pwrite, send.
 * batched:   up to 64 KB per turn: one recv, one pwrite per change, one send.
 */
#include "packet.h"

struct channel {
	int fd;
	int setspeed_fd;
	uint32_t unit;             /* of the last change */
	int kept;                  /* bytes of an incomplete packet */
	uint8_t rest[PACKET_BYTES];
};

static struct channel *channels;
static char frequencies[2][16];         /* for SCALE_MAX and SCALE_MIN, with newline */
static size_t frequency_sizes[2];
static uint8_t buffer[BUFFER_BYTES];
static uint8_t answers[BUFFER_BYTES];

static int open_attribute(const char *cpu_dir, int policy, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/cpufreq/policy%d/%s", cpu_dir, policy, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		fail("%s", path);
	return fd;
}

static void read_frequency(const char *cpu_dir, const char *name, int which)
{
	int fd = open_attribute(cpu_dir, 0, name, O_RDONLY);
	ssize_t size = read(fd, frequencies[which], sizeof frequencies[which]);

	if (size <= 0)
		fail("%s", name);
	frequency_sizes[which] = (size_t)size;
	close(fd);
}

static void open_channel(const char *directory, int number, const char *cpu_dir)
{
	struct channel *channel = &channels[number];
	struct sockaddr_un address = address_of(directory, number);

	channel->setspeed_fd = open_attribute(cpu_dir, number, "scaling_setspeed", O_RDWR);
	channel->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(channel->fd, (struct sockaddr *)&address, sizeof address) < 0)
		fail("cannot connect to %s", address.sun_path);
	if (fcntl(channel->fd, F_SETFL, O_NONBLOCK) < 0)
		fail("fcntl");
}

/* Carry out one packet; returns whether it is answered. */
static inline int execute(struct channel *channel, const uint8_t *packet)
{
	uint32_t unit = field(packet, UNIT_AT);

	if (field(packet, COMMAND_AT) != CPU_POWER)
		return 0;
	if (unit != channel->unit) {
		int which = unit != SCALE_MAX;

		if (pwrite(channel->setspeed_fd, frequencies[which], frequency_sizes[which], 0) < 0)
			fail("pwrite");
		channel->unit = unit;
	}
	return 1;
}

static void answer(struct channel *channel, const uint8_t *data, size_t size)
{
	if (size && send(channel->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		fail("send");
}

/* Returns 0 when the other side has hung up. */
static int serve_one(struct channel *channel)
{
	ssize_t size = recv(channel->fd, channel->rest + channel->kept,
			    (size_t)(PACKET_BYTES - channel->kept), 0);

	if (size <= 0)
		return size < 0 && errno == EAGAIN;
	channel->kept += (int)size;
	if (channel->kept == PACKET_BYTES) {
		channel->kept = 0;
		if (execute(channel, channel->rest))
			answer(channel, channel->rest, PACKET_BYTES);
	}
	return 1;
}

static int serve_all(struct channel *channel)
{
	const uint8_t *packet = buffer;
	size_t answered = 0;
	ssize_t size;

	memcpy(buffer, channel->rest, (size_t)channel->kept);
	size = recv(channel->fd, buffer + channel->kept,
		    sizeof buffer - (size_t)channel->kept, 0);
	if (size <= 0)
		return size < 0 && errno == EAGAIN;
	size += channel->kept;
	for (; size >= PACKET_BYTES; size -= PACKET_BYTES, packet += PACKET_BYTES) {
		if (!execute(channel, packet))
			continue;
		memcpy(answers + answered, packet, PACKET_BYTES);
		answered += PACKET_BYTES;
	}
	channel->kept = (int)size;
	memcpy(channel->rest, packet, (size_t)size);
	answer(channel, answers, answered);
	return 1;
}

int main(int count, char **arguments)
{
	struct epoll_event ready[READY_AT_ONCE];
	int (*serve)(struct channel *);
	int poller, number, total;

	if (count != 5)
		fail("usage: reference unbatched|batched DIRECTORY CHANNELS CPU_DIR");
	die_with_parent();
	serve = strcmp(arguments[1], "batched") ? serve_one : serve_all;
	total = atoi(arguments[3]);
	channels = calloc((size_t)total, sizeof *channels);
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (!channels || poller < 0)
		fail("start");
	read_frequency(arguments[4], "cpuinfo_max_freq", 0);
	read_frequency(arguments[4], "cpuinfo_min_freq", 1);
	for (number = 0; number < total; number++) {
		open_channel(arguments[2], number, arguments[4]);
		watch(poller, channels[number].fd, (uint64_t)number);
	}
	for (;;) {
		int left = epoll_wait(poller, ready, READY_AT_ONCE, -1);

		while (left-- > 0)
			if (!serve(&channels[ready[left].data.u64]))
				return 0;
	}
}
