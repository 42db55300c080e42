/* Mode "udp": a closed loop of datagrams. Each begins with its socket's number and its own,
 * the rest follows from both, so that a foreign, changed or doubled one is seen. One
 * that is not back after 200 ms of silence counts as lost and is replaced. */
#include "load.h"

enum { EVENTS = 64, BATCH = 64, RING = 4096, WARM_UP_MS = 300, SILENCE_MS = 200 };

struct head {
    uint32_t socket, pad;
    uint64_t number;
};

struct flow {
    int fd, in_flight;
    uint64_t next;
    double heard;
    unsigned char is_out[RING];
};

static struct flow *flows;
static unsigned char out[BATCH][PIECE], in[BATCH][PIECE];
static uint64_t received, lost;

static void send_some(uint32_t socket, int count, int size)
{
    struct flow *flow = &flows[socket];
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    for (int index = 0; index < count; index++) {
        struct head head = {.socket = socket, .number = flow->next};
        memcpy(out[index], &head, sizeof head);
        memcpy(out[index] + sizeof head, expected(socket, flow->next * 64),
               (size_t)size - sizeof head);
        parts[index] = (struct iovec){out[index], (size_t)size};
        messages[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
        flow->is_out[flow->next++ % RING] = 1;
    }
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(flow->fd, messages + sent, (unsigned)(count - sent), 0);
        if (more <= 0) die("sendmmsg");
        sent += more;
    }
    flow->in_flight += count;
    flow->heard = now();
}

static void check(struct flow *flow, uint32_t socket, const unsigned char *bytes, size_t len,
                  size_t size)
{
    struct head head;
    memcpy(&head, bytes, sizeof head);
    if (len != size || head.socket != socket || head.number >= flow->next ||
        flow->next - head.number > RING || !flow->is_out[head.number % RING]) {
        fprintf(stderr, "socket %u: a datagram that was not sent, or twice\n", socket);
        exit(1);
    }
    flow->is_out[head.number % RING] = 0;
    verify(socket, head.number * 64, bytes + sizeof head, len - sizeof head);
}

static void receive(uint32_t socket, int size, int is_stopping)
{
    struct flow *flow = &flows[socket];
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    for (int index = 0; index < BATCH; index++) {
        parts[index] = (struct iovec){in[index], PIECE};
        messages[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
    }
    int count = recvmmsg(flow->fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) die("recvmmsg");
    for (int index = 0; index < count; index++)
        check(flow, socket, in[index], messages[index].msg_len, (size_t)size);
    received += (uint64_t)count;
    flow->in_flight -= count;
    if (!is_stopping) send_some(socket, count, size);
}

static void replace_lost(const struct run *run, double at)
{
    for (int socket = 0; socket < run->count; socket++) {
        struct flow *flow = &flows[socket];
        if (flow->in_flight == 0 || at < flow->heard + SILENCE_MS / 1e3) continue;
        lost += (uint64_t)flow->in_flight;
        flow->in_flight = 0;
        send_some((uint32_t)socket, run->depth, run->size);
    }
}

static void serve(const struct run *run, int poller, double seconds, int is_stopping)
{
    double latest = now() + seconds, looked = now();
    while (now() < latest) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, 50);
        for (int index = 0; index < count; index++)
            receive(events[index].data.u32, run->size, is_stopping);
        if (!is_stopping && now() > looked + SILENCE_MS / 1e3) replace_lost(run, looked = now());
    }
}

void run_udp(const struct run *run)
{
    if (run->depth > BATCH) {
        errno = EINVAL;
        die("more than one batch in flight");
    }
    int poller = epoll_create1(EPOLL_CLOEXEC);
    flows = calloc((size_t)run->count, sizeof *flows);
    for (int socket_number = 0; socket_number < run->count; socket_number++) {
        struct sockaddr_in at = block_at(&run->block, socket_number % block_len(&run->block));
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)socket_number};
        if (fd < 0 || connect(fd, (void *)&at, sizeof at)) die("connect");
        flows[socket_number].fd = fd;
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
        send_some((uint32_t)socket_number, run->depth, run->size);
    }
    serve(run, poller, WARM_UP_MS / 1e3, 0);
    double cpu = cpu_seconds(run->pid), begin = now();
    uint64_t before = received;
    serve(run, poller, run->seconds, 0);
    double seconds = now() - begin;
    uint64_t counted = received - before;
    cpu = cpu_seconds(run->pid) - cpu;
    serve(run, poller, 0.2, 1);
    for (int index = 0; index < run->count; index++) lost += (uint64_t)flows[index].in_flight;
    printf("{\"messages\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"lost\":%llu}\n",
           (unsigned long long)counted, seconds, cpu, (unsigned long long)lost);
}
