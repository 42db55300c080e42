/* Prototype: a TCP echo on io_uring(7), one thread: multishot accept, multishot recv into
 * a ring of provided buffers, one send in flight a session, so that order is kept.
 * Measured to know whether it would pay; IPCow does not use it.
 * Usage: uring_echo ADDRESS ADDRS PORT PORTS. Says "ready" when all listen. */
#include "block.h"

#include <liburing.h>

enum { ENTRIES = 8192, BUFFERS = 4096, SIZE = 16384, GROUP = 1, FILES = 1 << 17 };
enum { ACCEPT, RECV, SEND };

/* What a session has received and not sent: a queue of buffers, the first being sent. */
struct session {
    int first, last, starved, ended, receiving;
    unsigned sent;
};

static struct io_uring ring;
static struct io_uring_buf_ring *provided;
static char *memory;
static int next_of[BUFFERS];
static unsigned length_of[BUFFERS];
static struct session sessions[FILES];
static int hungry[FILES], hungry_count;

static struct io_uring_sqe *entry(int what, int fd)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
        if (!sqe) die("io_uring_get_sqe");
    }
    sqe->user_data = (uint64_t)what << 32 | (uint32_t)fd;
    return sqe;
}

/* The prep functions clear user_data in some versions: it is set after them. */
static void tag(struct io_uring_sqe *sqe, int what, int fd)
{
    sqe->user_data = (uint64_t)what << 32 | (uint32_t)fd;
}

static void accept_on(int listener)
{
    struct io_uring_sqe *sqe = entry(ACCEPT, listener);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    tag(sqe, ACCEPT, listener);
}

static void receive_on(int fd)
{
    struct io_uring_sqe *sqe = entry(RECV, fd);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    tag(sqe, RECV, fd);
    sessions[fd].receiving = 1;
}

static void send_first(int fd)
{
    struct session *session = &sessions[fd];
    struct io_uring_sqe *sqe = entry(SEND, fd);
    int buffer = session->first;
    io_uring_prep_send(sqe, fd, memory + (size_t)buffer * SIZE + session->sent,
                       length_of[buffer] - session->sent, MSG_NOSIGNAL);
    tag(sqe, SEND, fd);
}

static void give_back(int buffer)
{
    io_uring_buf_ring_add(provided, memory + (size_t)buffer * SIZE, SIZE, (unsigned short)buffer,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(provided, 1);
    while (hungry_count) {
        int fd = hungry[--hungry_count];
        sessions[fd].starved = 0;
        receive_on(fd);
    }
}

static void end_if_done(int fd)
{
    struct session *session = &sessions[fd];
    if (session->ended && session->first < 0 && !session->receiving && !session->starved) close(fd);
}

static void received(int fd, const struct io_uring_cqe *cqe)
{
    struct session *session = &sessions[fd];
    if (!(cqe->flags & IORING_CQE_F_MORE)) session->receiving = 0;
    if (cqe->res > 0) {
        int buffer = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        length_of[buffer] = (unsigned)cqe->res;
        next_of[buffer] = -1;
        if (session->first < 0) {
            session->first = session->last = buffer;
            session->sent = 0;
            send_first(fd);
        } else {
            next_of[session->last] = buffer;
            session->last = buffer;
        }
    } else if (cqe->res == -ENOBUFS) {
        session->starved = 1;
        hungry[hungry_count++] = fd;
        return;
    } else {
        session->ended = 1;
    }
    if (!session->receiving && !session->ended) receive_on(fd);
    end_if_done(fd);
}

static void sent(int fd, int result)
{
    struct session *session = &sessions[fd];
    int buffer = session->first;
    if (result > 0) session->sent += (unsigned)result;
    if (result > 0 && session->sent < length_of[buffer]) return send_first(fd);
    if (result <= 0) session->ended = 1;
    session->first = next_of[buffer];
    session->sent = 0;
    give_back(buffer);
    if (session->first >= 0) send_first(fd);
    end_if_done(fd);
}

static void accepted(int fd)
{
    if (fd < 0 || fd >= FILES) return;
    on(fd, IPPROTO_TCP, TCP_NODELAY);
    sessions[fd] = (struct session){.first = -1, .last = -1};
    receive_on(fd);
}

static void open_all(struct block block)
{
    for (int index = 0; index < block_len(&block); index++) {
        struct sockaddr_in at = block_at(&block, index);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) die("socket");
        on(fd, SOL_SOCKET, SO_REUSEADDR);
        if (bind(fd, (void *)&at, sizeof at)) die("bind");
        if (listen(fd, 4096)) die("listen");
        accept_on(fd);
    }
}

static void set_up(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = 4 * ENTRIES};
    errno = -io_uring_queue_init_params(ENTRIES, &ring, &params);
    if (errno) die("io_uring_queue_init_params");
    memory = malloc((size_t)BUFFERS * SIZE);
    if (!memory || posix_memalign((void **)&provided, 4096, BUFFERS * sizeof(struct io_uring_buf)))
        die("malloc");
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)provided, .ring_entries = BUFFERS, .bgid = GROUP};
    errno = -io_uring_register_buf_ring(&ring, &reg, 0);
    if (errno) die("io_uring_register_buf_ring");
    io_uring_buf_ring_init(provided);
    for (int buffer = 0; buffer < BUFFERS; buffer++) give_back(buffer);
}

int main(int argc, char **argv)
{
    if (argc != 5) return 2;
    raise_nofile();
    set_up();
    open_all(block_parse(argv + 1));
    io_uring_submit(&ring);
    puts("ready");
    fflush(stdout);
    for (;;) {
        io_uring_submit_and_wait(&ring, 1);
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            int fd = (int)(uint32_t)cqe->user_data;
            switch (cqe->user_data >> 32) {
            case ACCEPT:
                accepted(cqe->res);
                if (!(cqe->flags & IORING_CQE_F_MORE)) accept_on(fd);
                break;
            case RECV: received(fd, cqe); break;
            case SEND: sent(fd, cqe->res); break;
            }
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}
