/* What the modes of the load generator share: the bytes that are sent and expected,
 * the clock, and the CPU time of the server. */
#ifndef LOAD_H
#define LOAD_H

#include "block.h"

enum { PATTERN = 1 << 20, PIECE = 1 << 16 };

/* PATTERN bytes of chance, and its first PIECE again, so that a piece never wraps. */
extern unsigned char pattern[PATTERN + PIECE];

/* Where a stream's bytes begin in the pattern: another place for each stream. */
static inline const unsigned char *expected(uint32_t stream, uint64_t position)
{
    return pattern + ((stream * 9973u + position) & (PATTERN - 1));
}

/* Ends the program when LEN bytes at POSITION of STREAM are not what was sent. */
void verify(uint32_t stream, uint64_t position, const unsigned char *bytes, size_t len);

double now(void);

/* utime + stime of the process, in seconds, with the threads that have ended. */
double cpu_seconds(int pid);

/* A connected socket, TCP_NODELAY set. */
int dial(const struct block *block, int index);

struct run {
    int pid;
    struct block block;
    int count, size, depth;
    double seconds;
};

void run_stream(const struct run *run);
void run_rate(const struct run *run);
void run_hold(const struct run *run);
void run_sweep(const struct run *run);
void run_touch(const struct run *run);
void run_lone(const struct run *run);
void run_udp(const struct run *run);

#endif
