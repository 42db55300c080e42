/* Mode "stream": a closed loop over long connections. After the measured time nothing
 * new is sent, and all that is in flight must still come back, then the FIN. */
#include "load.h"

enum { EVENTS = 256, WARM_UP_MS = 300 };

struct stream {
    int fd;
    uint64_t sent, received, wanted; /* bytes; `wanted` is what may be sent until now */
};

static struct stream *streams;
static unsigned char buffer[4 * PIECE];
static uint64_t messages;
static int poller, is_stopping;

static void watch(uint32_t number, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.u32 = number};
    if (epoll_ctl(poller, operation, streams[number].fd, &event)) die("epoll_ctl");
}

static void push(uint32_t number)
{
    struct stream *stream = &streams[number];
    while (stream->sent < stream->wanted) {
        uint64_t left = stream->wanted - stream->sent;
        ssize_t sent = send(stream->fd, expected(number, stream->sent),
                            left < PIECE ? left : PIECE, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) die("send");
            return watch(number, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        }
        stream->sent += (uint64_t)sent;
    }
}

static void pull(uint32_t number, uint64_t size)
{
    struct stream *stream = &streams[number];
    ssize_t len = recv(stream->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (len < 0 && errno == EAGAIN) return;
    if (len <= 0) die("a session ended early");
    verify(number, stream->received, buffer, (size_t)len);
    uint64_t before = stream->received / size;
    stream->received += (uint64_t)len;
    if (stream->received > stream->sent) die("more bytes came than were sent");
    uint64_t whole = stream->received / size - before;
    messages += whole;
    if (!is_stopping && whole > 0) {
        stream->wanted += whole * size;
        push(number);
    }
}

static void turn(uint64_t size)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, 1000);
    for (int index = 0; index < count; index++) {
        uint32_t number = events[index].data.u32;
        if (events[index].events & EPOLLOUT) {
            watch(number, EPOLLIN, EPOLL_CTL_MOD);
            push(number);
        }
        if (events[index].events & ~(uint32_t)EPOLLOUT) pull(number, size);
    }
}

static void finish(const struct run *run)
{
    double latest = now() + 10;
    is_stopping = 1;
    for (int number = 0; number < run->count; number++) {
        while (streams[number].received < streams[number].wanted) {
            if (now() > latest) die("echo is missing");
            turn((uint64_t)run->size);
        }
    }
    for (int number = 0; number < run->count; number++) {
        int fd = streams[number].fd;
        if (shutdown(fd, SHUT_WR) || recv(fd, buffer, 1, 0) != 0) die("no clean end");
        close(fd);
    }
}

void run_stream(const struct run *run)
{
    streams = calloc((size_t)run->count, sizeof *streams);
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int number = 0; number < run->count; number++) {
        streams[number].fd = dial(&run->block, number);
        streams[number].wanted = (uint64_t)run->size * (uint64_t)run->depth;
        watch((uint32_t)number, EPOLLIN, EPOLL_CTL_ADD);
    }
    for (int number = 0; number < run->count; number++) push((uint32_t)number);
    double begin = now() + WARM_UP_MS / 1e3;
    while (now() < begin) turn((uint64_t)run->size);

    double cpu = cpu_seconds(run->pid);
    begin = now();
    uint64_t before = messages;
    while (now() < begin + run->seconds) turn((uint64_t)run->size);
    double seconds = now() - begin;
    uint64_t counted = messages - before;
    cpu = cpu_seconds(run->pid) - cpu;
    finish(run);
    printf("{\"messages\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n",
           (unsigned long long)counted, seconds, cpu);
}
