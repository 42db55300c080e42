/* Modes about sessions rather than bytes: rate, hold, sweep, touch and lone. */
#include "load.h"

#include <poll.h>

enum { EVENTS = 256, MOST_CONNECTIONS = 12000, LATENCIES = 1 << 21 };

static unsigned char buffer[PIECE];

static void say(int fd, uint32_t stream, int size)
{
    if (send(fd, expected(stream, 0), (size_t)size, MSG_NOSIGNAL) != size) die("send");
}

static void hear(int fd, uint32_t stream, int size)
{
    ssize_t len = recv(fd, buffer, (size_t)size, MSG_WAITALL);
    if (len != size) die("echo is missing");
    verify(stream, 0, buffer, (size_t)len);
}

struct call {
    int fd, heard;
    uint32_t stream;
};

static void call(const struct run *run, struct call *calls, int slot, int poller, uint32_t stream)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)slot};
    calls[slot] = (struct call){.fd = dial(&run->block, (int)stream), .stream = stream};
    say(calls[slot].fd, stream, run->size);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, calls[slot].fd, &event)) die("epoll_ctl");
}

/* True when the session is over: all came back, and the server ended its side. */
static int answer(const struct run *run, struct call *call)
{
    ssize_t len = recv(call->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (len < 0 && errno == EAGAIN) return 0;
    if (len < 0 || (len == 0) != (call->heard == run->size)) die("a session ended wrongly");
    if (len == 0) {
        close(call->fd);
        return 1;
    }
    verify(call->stream, (uint64_t)call->heard, buffer, (size_t)len);
    call->heard += (int)len;
    if (call->heard == run->size && shutdown(call->fd, SHUT_WR)) die("shutdown");
    return 0;
}

void run_rate(const struct run *run)
{
    struct call *calls = calloc((size_t)run->count, sizeof *calls);
    int poller = epoll_create1(EPOLL_CLOEXEC), open = run->count, over = 0;
    uint32_t stream = 0;
    double cpu = cpu_seconds(run->pid), begin = now();
    for (int slot = 0; slot < run->count; slot++) call(run, calls, slot, poller, stream++);
    while (open > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, 5000);
        if (count <= 0) die("nobody answers");
        int more = stream < MOST_CONNECTIONS && now() < begin + run->seconds;
        for (int index = 0; index < count; index++) {
            int slot = (int)events[index].data.u32;
            if (!answer(run, &calls[slot])) continue;
            over++;
            if (more) call(run, calls, slot, poller, stream++);
            else open--;
        }
    }
    double seconds = now() - begin;
    printf("{\"messages\":%d,\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n", over, seconds,
           cpu_seconds(run->pid) - cpu);
}

static int *dial_all(const struct run *run, int count)
{
    int *files = calloc((size_t)count, sizeof *files);
    for (int index = 0; index < count; index++) files[index] = dial(&run->block, index);
    return files;
}

static void echo_all(const int *files, int count, int size)
{
    for (int index = 0; index < count; index++) say(files[index], (uint32_t)index, size);
    for (int index = 0; index < count; index++) hear(files[index], (uint32_t)index, size);
}

void run_hold(const struct run *run)
{
    int *files = dial_all(run, run->count);
    echo_all(files, run->count, run->size);
    puts("held");
    fflush(stdout);
    while (getchar() != EOF) continue;
    echo_all(files, run->count, run->size);
    printf("{\"sessions\":%d}\n", run->count);
}

void run_sweep(const struct run *run)
{
    int count = block_len(&run->block);
    double cpu = cpu_seconds(run->pid), begin = now();
    int *files = dial_all(run, count);
    double dialled = now();
    echo_all(files, count, run->size);
    double seconds = now() - dialled;
    for (int index = 0; index < count; index++) {
        if (shutdown(files[index], SHUT_WR) || recv(files[index], buffer, 1, 0) != 0)
            die("no clean end");
        close(files[index]);
    }
    printf("{\"messages\":%d,\"seconds\":%.6f,\"dial_seconds\":%.6f,\"cpu_seconds\":%.6f}\n", count,
           seconds, dialled - begin, cpu_seconds(run->pid) - cpu);
}

void run_touch(const struct run *run)
{
    int count = block_len(&run->block);
    for (int index = 0; index < count; index++) close(dial(&run->block, index));
    printf("{\"endpoints\":%d}\n", count);
}

static int by_value(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

void run_lone(const struct run *run)
{
    float *taken = malloc(LATENCIES * sizeof *taken);
    int fd = dial(&run->block, 0), count = 0;
    double begin = now(), last = begin;
    while (last < begin + run->seconds && count < LATENCIES) {
        say(fd, (uint32_t)count, run->size);
        hear(fd, (uint32_t)count, run->size);
        double next = now();
        taken[count++] = (float)((next - last) * 1e6);
        last = next;
    }
    qsort(taken, (size_t)count, sizeof *taken, by_value);
    printf("{\"messages\":%d,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n", count,
           (double)taken[count / 2], (double)taken[(size_t)count * 99 / 100],
           (double)taken[count - 1]);
}
