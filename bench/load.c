/* SPDX-License-Identifier: Apache-2.0 */
/* Many guests in one process: sends requests over all channels and checks each answer.
 *
 *   load DIRECTORY CHANNELS CHANNELS_PER_DOMAIN [spin]
 *
 * Listens, like QEMU, at DIRECTORY/0, DIRECTORY/1, ...; each has one client at a time.
 * Each channel alternates SCALE_MAX and SCALE_MIN of its own vCPU (its number inside
 * its domain), so that every request changes the frequency. `spin`: never sleeps while
 * it measures. Commands are read from standard input, one per line; the answer is one
 * line of JSON. Times "at" are CLOCK_MONOTONIC.
 *
 *   wait SECONDS             wait for all channels to be connected and served
 *   roundtrip SECONDS        one request outstanding per channel
 *   pipeline SECONDS WINDOW  WINDOW requests outstanding per channel
 *   units                    the last unit that each channel requested
 */
#include "packet.h"

#include <time.h>

enum { WINDOW_MAX = 127, RESEND_MS = 20, QUIET_MS = 100, SILENCE_MS = 1000, TICK_MS = 100 };
enum { SAMPLES_MAX = 1 << 23 };

struct channel {
	int listener;              /* -1: a client is connected */
	int fd;                    /* -1: no client is connected */
	const uint8_t *pattern;    /* MAX, MIN, MAX, ... of its vCPU */
	int sent, expected;        /* the next packet of the pattern: 0 or 1 */
	int outstanding;
	int overdue;               /* abandoned answers that may still arrive */
	int is_served;
	int kept;                  /* bytes of an incomplete answer */
	uint8_t rest[PACKET_BYTES];
	int64_t sent_at_ns, received_at_ns;
};

struct tally {
	int64_t requests, answers, lost, nacks, wrong;
};

static const char *directory;
static struct channel *channels;
static int total, per_domain, is_spinning, poller;
static uint8_t *patterns;
static uint8_t buffer[BUFFER_BYTES];
static uint32_t *samples;
static size_t sample_count;
static struct tally tally;

static int64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Preparation */

static uint8_t *pattern_of(int vcpu)
{
	return patterns + (size_t)vcpu * (WINDOW_MAX + 1) * PACKET_BYTES;
}

static void fill_patterns(void)
{
	int vcpu, number;

	for (vcpu = 0; vcpu < per_domain; vcpu++)
		for (number = 0; number <= WINDOW_MAX; number++) {
			uint8_t *packet = pattern_of(vcpu) + number * PACKET_BYTES;
			uint32_t unit = number % 2 ? SCALE_MIN : SCALE_MAX;
			uint32_t command = CPU_POWER;

			memcpy(packet, &vcpu, sizeof vcpu);
			memcpy(packet + UNIT_AT, &unit, sizeof unit);
			memcpy(packet + COMMAND_AT, &command, sizeof command);
		}
}

static void listen_at(int number)
{
	struct channel *channel = &channels[number];
	struct sockaddr_un address = address_of(directory, number);

	channel->fd = -1;
	channel->pattern = pattern_of(number % per_domain);
	channel->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(channel->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
	    listen(channel->listener, 1) < 0)
		fail("cannot listen at %s", address.sun_path);
	watch(poller, channel->listener, (uint64_t)number);
}

/* Packets */

static void send_bytes(struct channel *channel, const uint8_t *data, size_t size)
{
	if (send(channel->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		fail("channel %d does not accept a request", (int)(channel - channels));
}

static void send_requests(struct channel *channel, int number)
{
	send_bytes(channel, channel->pattern + channel->sent * PACKET_BYTES,
		   (size_t)number * PACKET_BYTES);
	channel->sent = (channel->sent + number) % 2;
	channel->outstanding += number;
	tally.requests += number;
}

static void check_answer(struct channel *channel, const uint8_t *answer)
{
	const uint8_t *due = channel->pattern + channel->expected * PACKET_BYTES;
	const uint8_t *next = channel->pattern + (1 - channel->expected) * PACKET_BYTES;

	if (channel->overdue && !memcmp(answer, next, PACKET_BYTES)) {
		channel->overdue--;
		return;
	}
	channel->expected = 1 - channel->expected;
	channel->outstanding--;
	tally.answers++;
	if (!memcmp(answer, due, PACKET_BYTES))
		return;
	if (field(answer, COMMAND_AT) == NACK)
		tally.nacks++;
	else if (channel->outstanding > 0 && !memcmp(answer, next, PACKET_BYTES)) {
		/* The one before it is lost. */
		channel->expected = 1 - channel->expected;
		channel->outstanding--;
		tally.lost++;
	} else
		tally.wrong++;
}

/* Read at most a buffer full; returns the number of complete answers. */
static int receive(struct channel *channel, void (*check)(struct channel *, const uint8_t *))
{
	const uint8_t *answer = buffer;
	ssize_t size;
	int number = 0;

	memcpy(buffer, channel->rest, (size_t)channel->kept);
	size = recv(channel->fd, buffer + channel->kept,
		    sizeof buffer - (size_t)channel->kept, 0);
	if (size < 0 && errno == EAGAIN)
		return 0;
	if (size <= 0)
		fail("channel %d was closed by the server", (int)(channel - channels));
	channel->received_at_ns = now_ns();
	size += channel->kept;
	for (; size >= PACKET_BYTES; size -= PACKET_BYTES, answer += PACKET_BYTES, number++)
		check(channel, answer);
	channel->kept = (int)size;
	memcpy(channel->rest, answer, (size_t)size);
	return number;
}

/* Connecting */

static void check_first_answer(struct channel *channel, const uint8_t *answer)
{
	channel->overdue--;
	if (!memcmp(answer, channel->pattern, PACKET_BYTES))
		channel->is_served = 1;
}

static void accept_client(struct channel *channel, int number)
{
	uint8_t hello[2 * PACKET_BYTES] = { 0 };
	uint32_t command = CONNECT;
	int fd = accept4(channel->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		fail("accept");
	close(channel->listener);
	channel->listener = -1;
	channel->fd = fd;
	watch(poller, fd, (uint64_t)number);
	memcpy(hello + COMMAND_AT, &command, sizeof command);
	memcpy(hello + PACKET_BYTES, channel->pattern, PACKET_BYTES);
	send_bytes(channel, hello, sizeof hello);
	channel->overdue = 1;
	channel->sent_at_ns = now_ns();
}

/* A guest stops waiting after 10 ms and repeats its request. */
static void resend(void)
{
	int64_t now = now_ns();
	int number;

	for (number = 0; number < total; number++) {
		struct channel *channel = &channels[number];

		if (channel->fd < 0 || channel->is_served ||
		    now - channel->sent_at_ns < RESEND_MS * 1000000)
			continue;
		send_bytes(channel, channel->pattern, PACKET_BYTES);
		channel->overdue++;
		channel->sent_at_ns = now;
	}
}

static void await_quiet(void)
{
	struct epoll_event ready[READY_AT_ONCE];
	int left;

	while ((left = epoll_wait(poller, ready, READY_AT_ONCE, QUIET_MS)) > 0)
		while (left-- > 0)
			receive(&channels[ready[left].data.u64], check_first_answer);
}

static void wait_until_served(double seconds)
{
	struct epoll_event ready[READY_AT_ONCE];
	int64_t deadline = now_ns() + (int64_t)(seconds * 1e9);
	int64_t accepted_at = 0, served_at = 0;
	int accepted = 0, served = 0, number;

	while (served < total && now_ns() < deadline) {
		int left = epoll_wait(poller, ready, READY_AT_ONCE, RESEND_MS);

		while (left-- > 0) {
			struct channel *channel = &channels[ready[left].data.u64];
			int was_served = channel->is_served;

			if (channel->fd < 0) {
				accept_client(channel, (int)ready[left].data.u64);
				accepted++;
				accepted_at = now_ns();
				continue;
			}
			receive(channel, check_first_answer);
			if (channel->is_served && !was_served) {
				served++;
				served_at = now_ns();
			}
		}
		resend();
	}
	await_quiet();
	for (number = 0; number < total; number++)
		/* All have requested the highest frequency. */
		channels[number].sent = channels[number].expected = 1;
	printf("{\"accepted\": %d, \"served\": %d, \"accepted_at_ns\": %lld,"
	       " \"served_at_ns\": %lld}\n",
	       accepted, served, (long long)accepted_at, (long long)served_at);
}

/* Measuring */

static int by_size(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static uint32_t quantile(double share)
{
	if (!sample_count)
		return 0;
	return samples[(size_t)(share * (double)(sample_count - 1))];
}

static void take_sample(const struct channel *channel)
{
	int64_t took = channel->received_at_ns - channel->sent_at_ns;

	if (sample_count < SAMPLES_MAX)
		samples[sample_count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static void give_up_answers(struct channel *channel)
{
	tally.lost += channel->outstanding;
	channel->overdue = channel->outstanding;
	channel->outstanding = 0;
	channel->expected = channel->sent;
}

/* An answer that has not arrived within a second may never arrive. */
static void give_up(int window)
{
	int64_t now = now_ns();
	int number;

	for (number = 0; number < total; number++) {
		struct channel *channel = &channels[number];

		if (!channel->outstanding ||
		    now - channel->received_at_ns < SILENCE_MS * 1000000LL)
			continue;
		give_up_answers(channel);
		channel->received_at_ns = channel->sent_at_ns = now;
		if (window)
			send_requests(channel, window);
	}
}

static void drain(void)
{
	struct epoll_event ready[READY_AT_ONCE];
	int64_t deadline = now_ns() + SILENCE_MS * 1000000LL;
	int outstanding, number;

	do {
		int left = epoll_wait(poller, ready, READY_AT_ONCE, TICK_MS);

		while (left-- > 0)
			receive(&channels[ready[left].data.u64], check_answer);
		for (outstanding = number = 0; number < total; number++)
			outstanding += channels[number].outstanding;
	} while (outstanding > 0 && now_ns() < deadline);
	for (number = 0; number < total; number++)
		give_up_answers(&channels[number]);
}

static void start(int window)
{
	int number;

	memset(&tally, 0, sizeof tally);
	sample_count = 0;
	for (number = 0; number < total; number++) {
		struct channel *channel = &channels[number];

		channel->sent_at_ns = channel->received_at_ns = now_ns();
		send_requests(channel, window);
	}
}

static void exchange(double seconds, int window)
{
	struct epoll_event ready[READY_AT_ONCE];
	int64_t began, end, ticked, now;
	int64_t answers;

	began = ticked = now = now_ns();
	end = began + (int64_t)(seconds * 1e9);
	start(window);
	while (now < end) {
		int left = epoll_wait(poller, ready, READY_AT_ONCE, is_spinning ? 0 : TICK_MS);

		while (left-- > 0) {
			struct channel *channel = &channels[ready[left].data.u64];
			int number = receive(channel, check_answer);

			if (!number || channel->outstanding == window)
				continue;
			if (window == 1)
				take_sample(channel);
			channel->sent_at_ns = channel->received_at_ns;
			send_requests(channel, window - channel->outstanding);
		}
		now = now_ns();
		if (now - ticked > TICK_MS * 1000000LL) {
			ticked = now;
			give_up(window);
		}
	}
	answers = tally.answers;
	drain();
	qsort(samples, sample_count, sizeof *samples, by_size);
	printf("{\"seconds\": %.9f, \"answers\": %lld, \"requests\": %lld, \"lost\": %lld,"
	       " \"nacks\": %lld, \"wrong\": %lld, \"p50_ns\": %u, \"p99_ns\": %u,"
	       " \"p999_ns\": %u}\n",
	       (double)(now - began) / 1e9, (long long)answers, (long long)tally.requests,
	       (long long)tally.lost, (long long)tally.nacks, (long long)tally.wrong,
	       quantile(0.5), quantile(0.99), quantile(0.999));
}

static void print_units(void)
{
	int number;

	printf("{\"units\": [");
	for (number = 0; number < total; number++)
		printf("%s%d", number ? ", " : "", channels[number].sent ? SCALE_MAX : SCALE_MIN);
	printf("]}\n");
}

static void prepare(int count, char **arguments)
{
	int number;

	directory = arguments[1];
	total = atoi(arguments[2]);
	per_domain = atoi(arguments[3]);
	is_spinning = count == 5 && !strcmp(arguments[4], "spin");
	if (total < 1 || per_domain < 1)
		fail("at least one channel is required");
	channels = calloc((size_t)total, sizeof *channels);
	patterns = calloc((size_t)per_domain * (WINDOW_MAX + 1), PACKET_BYTES);
	samples = malloc(SAMPLES_MAX * sizeof *samples);
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (!channels || !patterns || !samples || poller < 0)
		fail("start");
	fill_patterns();
	for (number = 0; number < total; number++)
		listen_at(number);
}

int main(int count, char **arguments)
{
	char line[128];

	if (count < 4)
		fail("usage: load DIRECTORY CHANNELS CHANNELS_PER_DOMAIN [spin]");
	die_with_parent();
	setvbuf(stdout, NULL, _IOLBF, 0);
	prepare(count, arguments);
	printf("{\"listening\": %d}\n", total);
	while (fgets(line, sizeof line, stdin)) {
		double seconds;
		int window;

		if (sscanf(line, "wait %lf", &seconds) == 1)
			wait_until_served(seconds);
		else if (sscanf(line, "roundtrip %lf", &seconds) == 1)
			exchange(seconds, 1);
		else if (sscanf(line, "pipeline %lf %d", &seconds, &window) == 2 &&
			 window >= 1 && window <= WINDOW_MAX)
			exchange(seconds, window);
		else if (!strcmp(line, "units\n"))
			print_units();
		else
			fail("unknown command '%s'", line);
	}
	return 0;
}
