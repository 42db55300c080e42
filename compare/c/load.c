/* The load generator. Every byte that comes back is compared with what was sent; a
 * difference, a loss on TCP or an early end is exit code 1 and no figure.
 *
 * load MODE PID ADDRESS ADDRS PORT PORTS COUNT SIZE DEPTH SECONDS
 *   stream  COUNT connections keep DEPTH messages of SIZE bytes in flight each
 *   rate    COUNT at a time: connect, echo SIZE bytes, half-close, await the end
 *   hold    COUNT sessions echo once, then idle until stdin ends, then echo again
 *   sweep   a session on each endpoint of the block, one message on all at once
 *   touch   connects to each endpoint of the block once, and closes
 *   lone    one connection, one message at a time: latencies
 *   udp     COUNT sockets keep DEPTH datagrams of SIZE bytes in flight each
 * PID is the server's (0: its CPU time is not read). One JSON line on stdout. */
#include "load.h"

unsigned char pattern[PATTERN + PIECE];

static void fill_pattern(void)
{
    static const char ends[] = "!!quit!!"; /* IPCow's default termination sequence */
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (size_t at = 0; at < PATTERN; at++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        pattern[at] = (unsigned char)(state >> 32);
    }
    memcpy(pattern + PATTERN, pattern, PIECE);
    if (memmem(pattern, sizeof pattern, ends, sizeof ends - 1)) {
        errno = EINVAL;
        die("the pattern holds the termination sequence");
    }
}

void verify(uint32_t stream, uint64_t position, const unsigned char *bytes, size_t len)
{
    while (len > 0) {
        size_t piece = len < PIECE ? len : PIECE;
        if (memcmp(bytes, expected(stream, position), piece)) {
            fprintf(stderr, "stream %u: wrong bytes after %llu\n", stream,
                    (unsigned long long)position);
            exit(1);
        }
        position += piece, bytes += piece, len -= piece;
    }
}

double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

double cpu_seconds(int pid)
{
    clockid_t clock;
    struct timespec used;
    if (pid == 0) return 0;
    /* The sum that /proc/PID/stat rounds to ticks of 10 ms, in nanoseconds. */
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used)) die("clock of the server");
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

int dial(const struct block *block, int index)
{
    struct sockaddr_in at = block_at(block, index % block_len(block));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    on(fd, IPPROTO_TCP, TCP_NODELAY);
    if (connect(fd, (void *)&at, sizeof at)) die("connect");
    return fd;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const struct run *);
    } modes[] = {{"stream", run_stream}, {"rate", run_rate}, {"hold", run_hold},
                 {"sweep", run_sweep},   {"touch", run_touch}, {"lone", run_lone},
                 {"udp", run_udp}};
    if (argc != 11) return 2;
    struct run run = {.pid = atoi(argv[2]),
                      .block = block_parse(argv + 3),
                      .count = atoi(argv[7]),
                      .size = atoi(argv[8]),
                      .depth = atoi(argv[9]),
                      .seconds = atof(argv[10])};
    if (run.size < 16 || run.size > PIECE || run.depth < 1 || run.depth > 1024 ||
        run.count < 1 || run.count > 20000 || run.seconds > 60)
        return 2;
    raise_nofile();
    fill_pattern();
    for (size_t index = 0; index < sizeof modes / sizeof *modes; index++) {
        if (strcmp(argv[1], modes[index].name) == 0) {
            modes[index].run(&run);
            return 0;
        }
    }
    return 2;
}
