// SPDX-License-Identifier: Apache-2.0
//
// Preloaded into vmpowerd, its monitor process and vmpower: counts their system calls on
// watched files and on the socket between the two processes, and stops the process at
// one of them, or lets that call fail. tests/reliability/faults.py maps the same struct.
//
// Stopping is SIGSTOP to the calling thread, which stops all threads before the call
// returns. So a test can kill the process, another one, or both, exactly there.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum process { NONE, MAIN, MONITOR };
// FAIL_ONWARDS: this call and all later ones of its kind fail; only files are counted.
enum fault { RECORD, STOP_BEFORE, STOP_AFTER, FAIL, FAIL_ONWARDS };

struct control {
    uint32_t process;     // whose calls count; set last
    uint32_t at;          // the call at which the fault happens, from 1
    uint32_t fault;
    uint32_t error;       // errno of calls that fail
    uint32_t calls;       // counted so far
    uint32_t is_reached;
    uint32_t monitor_pid; // the last one that was started
    uint32_t trace_bytes;
    uint32_t activity;    // calls that would count, of both processes, armed or not
    char failing[16];     // kind of call that fails from now on
    char watched[256];    // directory whose files count
    char trace[1 << 16];  // a line for each counted call
};

static struct control *control;
static enum process self = MAIN;

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int is_monitor(void)
{
    char text[4096];
    int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY);
    ssize_t size = syscall(SYS_read, fd, text, sizeof text);
    syscall(SYS_close, fd);
    return size > 0 && memmem(text, size, "monitor/process/", 16) != NULL;
}

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("VMPOWER_TEST_FAULTS");
    int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED)
        return;
    control = mapped;
    if (is_monitor()) {
        self = MONITOR;
        control->monitor_pid = getpid();
    }
}

static int is_watched(const char *path)
{
    size_t length = strlen(control->watched);
    return length && strncmp(path, control->watched, length) == 0;
}

// The path of a descriptor, or "handoff" for the socket between the processes.
static int name_of(int fd, char *name, size_t size)
{
    int type = 0;
    socklen_t type_size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0) {
        snprintf(name, size, "handoff");
        return type == SOCK_SEQPACKET && control->fault != FAIL_ONWARDS;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, size - 1);
    if (length < 0)
        return 0;
    name[length] = 0;
    return is_watched(name);
}

static void record(const char *call, const char *name)
{
    char line[512];
    int length = snprintf(line, sizeof line, "%s %s\n", call, name);
    uint32_t start = __atomic_fetch_add(&control->trace_bytes, length, __ATOMIC_SEQ_CST);
    if (start + length < sizeof control->trace)
        memcpy(control->trace + start, line, length);
}

static void stop(void)
{
    int error = errno;
    __atomic_store_n(&control->is_reached, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSTOP);
    errno = error;
}

static enum fault fail(void)
{
    errno = control->error;
    __atomic_store_n(&control->is_reached, 1, __ATOMIC_SEQ_CST);
    return FAIL;
}

// Count a call; return what is to happen to it.
static enum fault begin(const char *call, const char *name)
{
    record(call, name);
    uint32_t number = __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
    if (strcmp(control->failing, call) == 0)
        return fail();
    if (number != control->at)
        return RECORD;
    if (control->fault == FAIL_ONWARDS)
        strncpy(control->failing, call, sizeof control->failing - 1);
    if (control->fault >= FAIL)
        return fail();
    if (control->fault == STOP_BEFORE)
        stop();
    return control->fault;
}

static int is_counted(void)
{
    __atomic_add_fetch(&control->activity, 1, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&control->process, __ATOMIC_SEQ_CST) == self;
}

static enum fault begin_path(const char *call, int directory, const char *path)
{
    char whole[4096];
    if (!control)
        return RECORD;
    if (path[0] == '/' || directory == AT_FDCWD) {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t length = readlink(link, whole, 2048);
        if (length < 0)
            return RECORD;
        snprintf(whole + length, sizeof whole - length, "/%s", path);
    }
    return is_watched(whole) && is_counted() ? begin(call, whole) : RECORD;
}

static enum fault begin_fd(const char *call, int fd)
{
    char name[4096];
    if (!control)
        return RECORD;
    int error = errno;
    int is_known = name_of(fd, name, sizeof name);
    errno = error;
    return is_known && is_counted() ? begin(call, name) : RECORD;
}

// Make the call `name`, unless `begun`, what is to happen to it, is its failure.
#define CALL(type, name, begun, signature, ...)                                          \
    ({                                                                                   \
        enum fault fault_ = (begun);                                                     \
        type result_ = -1;                                                               \
        if (fault_ != FAIL)                                                              \
            result_ = ((type(*) signature)real(name))(__VA_ARGS__);                      \
        if (fault_ == STOP_AFTER)                                                        \
            stop();                                                                      \
        result_;                                                                         \
    })

// Python, which is built for large files, calls the names that end in 64.
#define BOTH(name) __attribute__((alias(name)))

static mode_t mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return CALL(int, "open64", begin_path("open", AT_FDCWD, path),
                (const char *, int, mode_t), path, flags, mode);
}
int open(const char *path, int flags, ...) BOTH("open64");

int openat64(int directory, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return CALL(int, "openat64", begin_path("openat", directory, path),
                (int, const char *, int, mode_t), directory, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) BOTH("openat64");

ssize_t pread64(int fd, void *data, size_t size, off64_t at)
{
    return CALL(ssize_t, "pread64", begin_fd("pread", fd),
                (int, void *, size_t, off64_t), fd, data, size, at);
}
ssize_t pread(int fd, void *data, size_t size, off_t at) BOTH("pread64");

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return CALL(ssize_t, "pwrite64", begin_fd("pwrite", fd),
                (int, const void *, size_t, off64_t), fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) BOTH("pwrite64");

ssize_t read(int fd, void *data, size_t size)
{
    return CALL(ssize_t, "read", begin_fd("read", fd), (int, void *, size_t), fd, data,
                size);
}

ssize_t write(int fd, const void *data, size_t size)
{
    return CALL(ssize_t, "write", begin_fd("write", fd), (int, const void *, size_t), fd,
                data, size);
}

int ftruncate64(int fd, off64_t size)
{
    return CALL(int, "ftruncate64", begin_fd("ftruncate", fd), (int, off64_t), fd, size);
}
int ftruncate(int fd, off_t size) BOTH("ftruncate64");

int fsync(int fd)
{
    return CALL(int, "fsync", begin_fd("fsync", fd), (int), fd);
}

int rename(const char *old, const char *new)
{
    return CALL(int, "rename", begin_path("rename", AT_FDCWD, old),
                (const char *, const char *), old, new);
}

int unlink(const char *path)
{
    return CALL(int, "unlink", begin_path("unlink", AT_FDCWD, path), (const char *), path);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return CALL(ssize_t, "sendmsg", begin_fd("sendmsg", fd),
                (int, const struct msghdr *, int), fd, message, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return CALL(ssize_t, "recvmsg", begin_fd("recvmsg", fd), (int, struct msghdr *, int),
                fd, message, flags);
}
