/* measure COMMAND [ARGUMENT...]
 *
 * Runs a command without input and output and prints: seconds until it ended, CPU seconds of all its
 * processes, peak resident KiB of the largest of them, exit status.
 *
 * In C, since a process inherits the peak of the one that started it: ru_maxrss survives execve(2).
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double seconds(struct timeval time)
{
    return time.tv_sec + time.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    /* Processes that the command does not wait for count too: they are reaped here. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    double begin = now();
    pid_t command = fork();
    if (command == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    int status;
    waitpid(command, &status, 0);
    double wall = now() - begin;
    while (wait(NULL) > 0)
        ;
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("%.6f %.6f %ld %d\n", wall, seconds(usage.ru_utime) + seconds(usage.ru_stime),
           usage.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return 0;
}
