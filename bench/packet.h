/* SPDX-License-Identifier: Apache-2.0 */
/* DPDK's packet, and what the load and the reference have in common.
 *
 * Source: DPDK's rte_power_guest_channel.h (464 bytes on 64-bit guests); an ACK is
 * byte for byte the request, because command CPU_POWER and answer ACK are both 1.
 */
#ifndef BENCH_PACKET_H
#define BENCH_PACKET_H

#define _GNU_SOURCE /* accept4 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PACKET_BYTES = 464, UNIT_AT = 8, COMMAND_AT = 12 };
enum { CPU_POWER = 1, CONNECT = 2, NACK = 2 };
enum { SCALE_MAX = 3, SCALE_MIN = 4 };
enum { BUFFER_BYTES = 65536, READY_AT_ONCE = 64 };

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...)
{
	va_list arguments;
	int number = errno;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, " (%s)\n", strerror(number));
	exit(1);
}

static inline uint32_t field(const uint8_t *packet, int offset)
{
	uint32_t value;

	memcpy(&value, packet + offset, sizeof value);
	return value;
}

/* Address of the listener of channel number `channel`. */
static inline struct sockaddr_un address_of(const char *directory, int channel)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/%d", directory,
			    channel);

	if (size < 0 || (size_t)size >= sizeof address.sun_path)
		fail("the path of %s/%d is too long", directory, channel);
	return address;
}

static inline void watch(int poller, int fd, uint64_t mark)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = mark };

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
}

/* No process outlives the benchmark, even if that is killed. */
static inline void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

#endif
