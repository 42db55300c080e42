/* A block of endpoints: ADDRS addresses in a row, COUNT ports in a row on each.
 * Shared by peers and load generator. Opens nothing by itself. */
#ifndef BLOCK_H
#define BLOCK_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct block {
    uint32_t first; /* host byte order */
    int addrs, port, ports;
};

static inline void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* Only loopback, so that no run ever leaves the machine. */
static inline struct block block_parse(char **words)
{
    struct in_addr first;
    if (inet_pton(AF_INET, words[0], &first) != 1) die("address");
    struct block block = {ntohl(first.s_addr), atoi(words[1]), atoi(words[2]), atoi(words[3])};
    if (block.first >> 24 != 127 || block.addrs < 1 || block.ports < 1 || block.port < 1024 ||
        block.port + block.ports > 65536) {
        errno = EINVAL;
        die("block");
    }
    return block;
}

static inline int block_len(const struct block *block) { return block->addrs * block->ports; }

static inline struct sockaddr_in block_at(const struct block *block, int index)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(block->first + (uint32_t)(index / block->ports));
    at.sin_port = htons((uint16_t)(block->port + index % block->ports));
    return at;
}

static inline void raise_nofile(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit)) die("setrlimit");
}

static inline void on(int fd, int level, int name)
{
    int one = 1;
    if (setsockopt(fd, level, name, &one, sizeof one)) die("setsockopt");
}
#endif
