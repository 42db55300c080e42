/* Peer: a UDP echo with recvmmsg and sendmmsg, up to 64 datagrams a call, one thread.
 * Usage: udp_echo ADDRESS ADDRS PORT PORTS. Says "ready" when all are bound. */
#include "block.h"

enum { BATCH = 64, MOST = 65536, EVENTS = 256 };

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in sources[BATCH];
static char buffers[BATCH][MOST];

static void echo(int fd)
{
    for (int index = 0; index < BATCH; index++) {
        parts[index] = (struct iovec){buffers[index], MOST};
        messages[index].msg_hdr = (struct msghdr){.msg_name = &sources[index],
                                                  .msg_namelen = sizeof sources[index],
                                                  .msg_iov = &parts[index],
                                                  .msg_iovlen = 1};
    }
    int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    for (int index = 0; index < count; index++) parts[index].iov_len = messages[index].msg_len;
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(fd, messages + sent, (unsigned)(count - sent), MSG_DONTWAIT);
        /* A datagram that cannot go now is dropped, as IPCow drops it. */
        sent += more > 0 ? more : 1;
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) return 2;
    raise_nofile();
    struct block block = block_parse(argv + 1);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (int index = 0; index < block_len(&block); index++) {
        struct sockaddr_in at = block_at(&block, index);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (void *)&at, sizeof at)) die("bind");
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
    }
    puts("ready");
    fflush(stdout);
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int index = 0; index < count; index++) echo(events[index].data.fd);
    }
}
