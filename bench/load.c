/* Many guests in one process: sends requests over all channels and checks each answer.
 *
 *   load DIRECTORY CHANNELS CHANNELS_PER_DOMAIN [spin]
 *
 * Listens, as QEMU does, at DIRECTORY/0, DIRECTORY/1, ...; each has one client at a
 * time. Each channel alternates SCALE_MAX and SCALE_MIN of its own vCPU (its number
 * inside its domain), so that every request means another clock. `spin`: never sleeps
 * while it measures. Commands come on standard input, one line each; the answer is one
 * line of JSON. Times "at" are CLOCK_MONOTONIC.
 *
 *   greet SECONDS            wait for all channels to be connected and to obey
 *   roundtrip SECONDS        one request outstanding per channel
 *   pipeline SECONDS WINDOW  WINDOW requests outstanding per channel
 *   units                    the last unit that each channel asked for
 */
#include <time.h>

#include "packet.h"

enum { WINDOW_MAX = 127, RESEND_MS = 20, QUIET_MS = 100, SILENCE_MS = 1000, TICK_MS = 100 };
enum { SAMPLES_MAX = 1 << 23 };

struct channel {
	int listener;              /* -1: somebody is connected */
	int fd;                    /* -1: nobody is connected */
	const uint8_t *pattern;    /* MAX, MIN, MAX, ... of its vCPU */
	int sent, expected;        /* which packet of the pattern comes next: 0 or 1 */
	int outstanding;
	int overdue;               /* answers that were given up, and may still come */
	int is_obeyed;
	int kept;                  /* bytes of an answer that is not whole yet */
	uint8_t rest[PACKET_BYTES];
	int64_t sent_at_ns, heard_at_ns;
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
		fail("channel %d does not take a request", (int)(channel - channels));
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
		/* The one before it never came. */
		channel->expected = 1 - channel->expected;
		channel->outstanding--;
		tally.lost++;
	} else
		tally.wrong++;
}

/* Read what there is, at most a buffer full; returns how many answers it holds. */
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
	channel->heard_at_ns = now_ns();
	size += channel->kept;
	for (; size >= PACKET_BYTES; size -= PACKET_BYTES, answer += PACKET_BYTES, number++)
		check(channel, answer);
	channel->kept = (int)size;
	memcpy(channel->rest, answer, (size_t)size);
	return number;
}

/* Greeting */

static void check_greeting(struct channel *channel, const uint8_t *answer)
{
	channel->overdue--;
	if (!memcmp(answer, channel->pattern, PACKET_BYTES))
		channel->is_obeyed = 1;
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

/* A guest gives up after 10 ms and asks again. */
static void ask_again(void)
{
	int64_t now = now_ns();
	int number;

	for (number = 0; number < total; number++) {
		struct channel *channel = &channels[number];

		if (channel->fd < 0 || channel->is_obeyed ||
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
			receive(&channels[ready[left].data.u64], check_greeting);
}

static void greet(double seconds)
{
	struct epoll_event ready[READY_AT_ONCE];
	int64_t deadline = now_ns() + (int64_t)(seconds * 1e9);
	int64_t accepted_at = 0, obeyed_at = 0;
	int accepted = 0, obeyed = 0, number;

	while (obeyed < total && now_ns() < deadline) {
		int left = epoll_wait(poller, ready, READY_AT_ONCE, RESEND_MS);

		while (left-- > 0) {
			struct channel *channel = &channels[ready[left].data.u64];
			int was_obeyed = channel->is_obeyed;

			if (channel->fd < 0) {
				accept_client(channel, (int)ready[left].data.u64);
				accepted++;
				accepted_at = now_ns();
				continue;
			}
			receive(channel, check_greeting);
			if (channel->is_obeyed && !was_obeyed) {
				obeyed++;
				obeyed_at = now_ns();
			}
		}
		ask_again();
	}
	await_quiet();
	for (number = 0; number < total; number++)
		/* All were asked for the highest clock. */
		channels[number].sent = channels[number].expected = 1;
	printf("{\"accepted\": %d, \"obeyed\": %d, \"accepted_at_ns\": %lld,"
	       " \"obeyed_at_ns\": %lld}\n",
	       accepted, obeyed, (long long)accepted_at, (long long)obeyed_at);
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
	int64_t took = channel->heard_at_ns - channel->sent_at_ns;

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

/* Of what has not come within a second is not known whether it will. */
static void give_up(int window)
{
	int64_t now = now_ns();
	int number;

	for (number = 0; number < total; number++) {
		struct channel *channel = &channels[number];

		if (!channel->outstanding ||
		    now - channel->heard_at_ns < SILENCE_MS * 1000000LL)
			continue;
		give_up_answers(channel);
		channel->heard_at_ns = channel->sent_at_ns = now;
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

		channel->sent_at_ns = channel->heard_at_ns = now_ns();
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
			channel->sent_at_ns = channel->heard_at_ns;
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
		fail("at least one channel, please");
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

		if (sscanf(line, "greet %lf", &seconds) == 1)
			greet(seconds);
		else if (sscanf(line, "roundtrip %lf", &seconds) == 1)
			exchange(seconds, 1);
		else if (sscanf(line, "pipeline %lf %d", &seconds, &window) == 2 &&
			 window >= 1 && window <= WINDOW_MAX)
			exchange(seconds, window);
		else if (!strcmp(line, "units\n"))
			print_units();
		else
			fail("what is '%s'?", line);
	}
	return 0;
}
