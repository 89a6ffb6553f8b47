/* SPDX-License-Identifier: Apache-2.0 */
/* Sends IPv4 frames over a network interface until it is killed.
 *
 * Usage: frames INTERFACE. The addresses are those of a route of DPDK's l3fwd
 * examples (1.1.1.0/24). An interface that does not exist, or is down, is an error.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FRAME_BYTES 64
#define IP_WORDS (sizeof(struct iphdr) / sizeof(uint16_t))

static uint16_t checksum(const struct iphdr *header)
{
	uint16_t words[IP_WORDS];
	uint32_t sum = 0;
	memcpy(words, header, sizeof words);
	for (size_t i = 0; i < IP_WORDS; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static void build(unsigned char *frame)
{
	struct ether_header ethernet = {
		.ether_dhost = { 2, 0, 0, 0, 0, 1 },
		.ether_shost = { 2, 0, 0, 0, 0, 2 },
		.ether_type = htons(ETHERTYPE_IP),
	};
	struct iphdr ip = {
		.version = 4,
		.ihl = sizeof ip / 4,
		.tot_len = htons(FRAME_BYTES - sizeof ethernet),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = inet_addr("2.2.2.2"),
		.daddr = inet_addr("1.1.1.1"),
	};
	ip.check = checksum(&ip);
	memset(frame, 0, FRAME_BYTES);
	memcpy(frame, &ethernet, sizeof ethernet);
	memcpy(frame + sizeof ethernet, &ip, sizeof ip);
}

int main(int count, char **arguments)
{
	unsigned char frame[FRAME_BYTES];
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = count == 2 ? if_nametoindex(arguments[1]) : 0,
	};
	int port = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));

	build(frame);
	while (sendto(port, frame, sizeof frame, 0, (void *)&address, sizeof address) ==
	       sizeof frame)
		continue;
	perror("frames");
	return 1;
}
