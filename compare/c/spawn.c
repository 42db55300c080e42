/* Runs a program and says on stderr how long it took and how much memory it had at most.
 * A small parent of its own, because the figure of wait4(2) begins with what the process
 * was before exec(2). Usage: spawn PROGRAM ARGUMENTS… */
#include "block.h"

#include <sys/wait.h>

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct rusage used;
    int status;
    if (argc < 2) return 2;
    double began = now();
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
        execv(argv[1], argv + 1);
        die(argv[1]);
    }
    if (wait4(child, &status, 0, &used) != child) die("wait4");
    fprintf(stderr, "{\"seconds\":%.6f,\"most_kib\":%ld}\n", now() - began, used.ru_maxrss);
    return WIFEXITED(status) ? 0 : 1;
}
