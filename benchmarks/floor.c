/* floor PROCESSES
 *
 * The least that a look at every port of 127.0.0.1 costs: one connect per TCP port, a datagram and a
 * look at the error queue per UDP port, the ports shared out among so many processes. Not a scanner:
 * it takes its own sockets for services.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORTS 65536

static struct sockaddr_in local(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* A TCP socket with a source port of its own choice, since the kernel takes its choice back at the
 * first refusal. */
static int connecting(int *source)
{
    struct sockaddr_in address = local(0);
    socklen_t length = sizeof address;
    int choosing = socket(AF_INET, SOCK_STREAM, 0), made = socket(AF_INET, SOCK_STREAM, 0);
    bind(choosing, (struct sockaddr *)&address, sizeof address);
    getsockname(choosing, (struct sockaddr *)&address, &length);
    close(choosing);
    *source = ntohs(address.sin_port);
    if (bind(made, (struct sockaddr *)&address, sizeof address))
        perror("bind"), exit(1);
    return made;
}

static int sweep_tcp(int first, int last)
{
    int source, found = 0, connection = connecting(&source);
    for (int port = first; port < last; port++) {
        struct sockaddr_in address = local(port);
        if (port == source)
            continue; /* it would connect to itself */
        if (connect(connection, (struct sockaddr *)&address, sizeof address) == 0 ||
            errno != ECONNREFUSED) {
            found++;
            close(connection);
            connection = connecting(&source);
        }
    }
    return found;
}

static int sweep_udp(int first, int last)
{
    int found = 0, on = 1, connection = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    char byte;
    setsockopt(connection, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    for (int port = first; port < last; port++) {
        struct sockaddr_in address = local(port);
        sendto(connection, "", 0, 0, (struct sockaddr *)&address, sizeof address);
        if (recv(connection, &byte, 1, MSG_ERRQUEUE) < 0)
            found++;
    }
    return found;
}

int main(int argc, char **argv)
{
    int processes = argc > 1 ? atoi(argv[1]) : 1;
    for (int number = 0; number < processes; number++)
        if (fork() == 0) {
            int first = PORTS * number / processes, last = PORTS * (number + 1) / processes;
            printf("%d TCP", sweep_tcp(first, last));
            printf(" and %d UDP ports of %d to %d did not refuse\n",
                   sweep_udp(first ? first : 1, last), first, last - 1);
            exit(0);
        }
    while (wait(NULL) > 0)
        ;
    return 0;
}
