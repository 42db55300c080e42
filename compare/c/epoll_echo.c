/* Peer: a TCP echo on raw epoll, one thread, one 64 KiB buffer for all sessions.
 * Level-triggered; what a client does not take at once is kept for it until it does.
 * Usage: epoll_echo ADDRESS ADDRS PORT PORTS. Says "ready" when all listen. */
#include "block.h"

#include <sys/uio.h>

enum { MOST = 65536, EVENTS = 256, FILES = 1 << 17 };

struct unsent {
    size_t len, sent;
    char bytes[];
};

static struct unsent *unsent[FILES];
static char is_listener[FILES];
static char buffer[MOST];
static int poller;

static void watch(int fd, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event)) die("epoll_ctl");
}

static void end(int fd)
{
    free(unsent[fd]);
    unsent[fd] = NULL;
    close(fd);
}

static void keep(int fd, size_t sent, size_t len)
{
    struct unsent *rest = malloc(sizeof *rest + len - sent);
    if (!rest) die("malloc");
    *rest = (struct unsent){.len = len - sent};
    memcpy(rest->bytes, buffer + sent, len - sent);
    unsent[fd] = rest;
    watch(fd, EPOLLOUT, EPOLL_CTL_MOD);
}

static void flush(int fd)
{
    struct unsent *rest = unsent[fd];
    ssize_t sent = send(fd, rest->bytes + rest->sent, rest->len - rest->sent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) end(fd);
        return;
    }
    rest->sent += (size_t)sent;
    if (rest->sent == rest->len) {
        free(rest);
        unsent[fd] = NULL;
        watch(fd, EPOLLIN, EPOLL_CTL_MOD);
    }
}

static void echo(int fd)
{
    ssize_t len = recv(fd, buffer, MOST, 0);
    if (len <= 0) {
        if (len == 0 || errno != EAGAIN) end(fd);
        return;
    }
    ssize_t sent = send(fd, buffer, (size_t)len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return end(fd);
    if (sent < len) keep(fd, sent < 0 ? 0 : (size_t)sent, (size_t)len);
}

static void take(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        on(fd, IPPROTO_TCP, TCP_NODELAY);
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) die("accept4");
}

static void open_all(struct block block)
{
    for (int index = 0; index < block_len(&block); index++) {
        struct sockaddr_in at = block_at(&block, index);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || fd >= FILES) die("socket");
        on(fd, SOL_SOCKET, SO_REUSEADDR);
        if (bind(fd, (void *)&at, sizeof at)) die("bind");
        if (listen(fd, 4096)) die("listen");
        is_listener[fd] = 1;
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) return 2;
    raise_nofile();
    poller = epoll_create1(EPOLL_CLOEXEC);
    open_all(block_parse(argv + 1));
    puts("ready");
    fflush(stdout);
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int index = 0; index < count; index++) {
            int fd = events[index].data.fd;
            if (is_listener[fd]) take(fd);
            else if (unsent[fd]) flush(fd);
            else echo(fd);
        }
    }
}
