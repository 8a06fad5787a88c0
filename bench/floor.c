/* The floor of the machine: a raw file over NBD with nothing around it, one process a connection.
 *
 * Whoever asks for NBD_OPT_GO or NBD_OPT_EXPORT_NAME gets the file; reads only. Replies are structured
 * for clients that ask for that, unless they are to be simple, which costs such a client a call less.
 * Requests that have arrived together are answered together. Written for the benchmark, for no
 * other use: what a client sends is hardly checked.
 *
 *     cc -O2 -o floor floor.c && ./floor SOCKET FILE [simple]
 */
#define _GNU_SOURCE
#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_READ (32u << 20)
#define ROOM (MOST_READ + (2u << 20))
#define REQUEST_BYTES 28

static int fd;
static uint64_t size;
static int simple, structured;

static void put16(char *at, uint16_t v) { v = htobe16(v); memcpy(at, &v, 2); }
static void put32(char *at, uint32_t v) { v = htobe32(v); memcpy(at, &v, 4); }
static void put64(char *at, uint64_t v) { v = htobe64(v); memcpy(at, &v, 8); }
static uint32_t get32(const char *at) { uint32_t v; memcpy(&v, at, 4); return be32toh(v); }
static uint64_t get64(const char *at) { uint64_t v; memcpy(&v, at, 8); return be64toh(v); }

static void all(int s, const char *data, size_t length)
{
    while (length) {
        ssize_t n = send(s, data, length, MSG_NOSIGNAL);
        if (n <= 0) _exit(1);
        data += n;
        length -= n;
    }
}

static void exactly(int s, char *data, size_t length)
{
    if (length && recv(s, data, length, MSG_WAITALL) != (ssize_t)length) _exit(0);
}

static void reply(int s, uint32_t option, uint32_t kind, const char *data, uint32_t length)
{
    char head[20];
    put64(head, 0x0003e889045565a9ull);
    put32(head + 8, option);
    put32(head + 12, kind);
    put32(head + 16, length);
    all(s, head, sizeof head);
    all(s, data, length);
}

static void haggle(int s)
{
    static char data[1 << 16];
    char greeting[18], info[12];
    int with_zeroes;

    put64(greeting, 0x4e42444d41474943ull);
    put64(greeting + 8, 0x49484156454f5054ull);
    put16(greeting + 16, 3);
    all(s, greeting, sizeof greeting);
    exactly(s, data, 4);
    with_zeroes = !(get32(data) & 2);
    for (;;) {
        uint32_t option, length;
        exactly(s, data, 16);
        option = get32(data + 8);
        length = get32(data + 12);
        if (length > sizeof data) _exit(1);
        exactly(s, data, length);
        put16(info, 0);
        put64(info + 2, size);
        put16(info + 10, 0x103); /* HAS_FLAGS, READ_ONLY, CAN_MULTI_CONN */
        if (option == 1) {
            static char zeroes[124];
            all(s, info + 2, 10);
            if (with_zeroes) all(s, zeroes, sizeof zeroes);
            return;
        }
        if (option == 6 || option == 7) {
            reply(s, option, 3, info, sizeof info);
            reply(s, option, 1, "", 0);
            if (option == 7) return;
        } else if (option == 8 && !simple) {
            structured = 1;
            reply(s, option, 1, "", 0);
        } else if (option == 2) {
            _exit(0);
        } else {
            reply(s, option, 0x80000001u, "", 0);
        }
    }
}

/* The head of a reply; how long it is. */
static size_t head(char *out, const char *request, uint32_t length, uint32_t error)
{
    if (!structured) {
        put32(out, 0x67446698u);
        put32(out + 4, error);
        memcpy(out + 8, request + 8, 8);
        return 16;
    }
    put32(out, 0x668e33efu);
    put16(out + 4, 1); /* DONE */
    put16(out + 6, error ? 0x8001 : 1); /* ERROR, OFFSET_DATA */
    memcpy(out + 8, request + 8, 8);
    put32(out + 16, error ? 6 : length + 8);
    if (error) {
        put32(out + 20, error);
        put16(out + 24, 0);
        return 26;
    }
    memcpy(out + 20, request + 16, 8);
    return 28;
}

static void transmit(int s)
{
    static char in[1 << 16];
    char *out = malloc(ROOM);
    size_t filled = 0, ready = 0, at;

    for (;;) {
        ssize_t n = recv(s, in + filled, sizeof in - filled, 0);
        if (n <= 0) _exit(0);
        filled += n;
        for (at = 0; at + REQUEST_BYTES <= filled; at += REQUEST_BYTES) {
            const char *request = in + at;
            uint32_t length = get32(request + 24);
            uint32_t command = get32(request + 4) & 0xffff;
            if (command == 2) _exit(0);
            uint32_t error = command || length > MOST_READ ? 22 : 0;
            if (ready + 28 + length > ROOM || ready > (1u << 20)) {
                all(s, out, ready);
                ready = 0;
            }
            ready += head(out + ready, request, length, error);
            if (error) continue;
            if (pread(fd, out + ready, length, get64(request + 16)) != (ssize_t)length) _exit(1);
            ready += length;
        }
        memmove(in, in + at, filled - at);
        filled -= at;
        all(s, out, ready);
        ready = 0;
    }
}

int main(int count, char **words)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);

    if (count != 3 && count != 4) return 2;
    simple = count == 4;
    fd = open(words[2], O_RDONLY);
    if (fd < 0 || fstat(fd, &status)) return 1;
    size = status.st_size;
    strncpy(address.sun_path, words[1], sizeof address.sun_path - 1);
    if (bind(listening, (void *)&address, sizeof address) || listen(listening, 64)) return 1;
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int s = accept(listening, NULL, NULL);
        if (s >= 0 && !fork()) {
            close(listening);
            haggle(s);
            transmit(s);
        }
        close(s);
    }
}
