/* The threads that help a call: one team a process, started on first need.
 *
 *     caller:  fc_team_run -> publish the job -> work on it -> close it -> wait for who is inside
 *     helper:  wait, first awake, then asleep -> take a seat -> work on it -> leave
 *
 * A job is work that any number of threads can do together: each that takes a seat calls it once,
 * and who finds nothing left to do returns. So a caller waits for helpers only while they are inside:
 * one that the system gave no processor in time costs nothing, where the barrier at the end of an
 * OpenMP region waits for it. On a machine with other work that is ten times as long as the region.
 */
#ifndef FC_TEAM_H
#define FC_TEAM_H

typedef void (*fc_job)(void *context, int seat);

#if defined(_WIN32)
enum { FC_TEAM = 0 };
static void fc_team_run(fc_job job, void *context, int count) {
    (void)count;
    job(context, 0);
}
#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

/* Jobs that can be open at once: calls beyond them run alone. Seats of a job, the caller's aside. */
enum { FC_TEAM = 1, FC_JOBS = 16, FC_SEATS = 63 };
/* How long a helper stays awake after its last job, and a caller before it gives way to others. */
static const int64_t FC_AWAKE = 300000, FC_PATIENCE = 20000;

typedef struct {
    uint64_t seats; /* bit s - 1: seat s is free; none: closed */
    int inside;     /* helpers that look at the job, or for a seat */
    int taken;      /* by a caller */
    fc_job job;
    void *context;
} __attribute__((aligned(64))) fc_slot;

static struct {
    fc_slot slot[FC_JOBS];
    int posted __attribute__((aligned(64))); /* counts jobs */
    int asleep, helpers, processors;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} fc_team = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void fc_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t fc_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* A free seat, a helper's own where it can be: what it worked on in the run before is in its cache.
 * 0 where there is none. */
static int fc_take_seat(fc_slot *slot, int own) {
    for (;;) {
        const uint64_t free = __atomic_load_n(&slot->seats, __ATOMIC_ACQUIRE);
        if (!free) return 0;
        const int seat = own <= FC_SEATS && (free >> (own - 1) & 1) ? own : __builtin_ctzll(free) + 1;
        const uint64_t bit = UINT64_C(1) << (seat - 1);
        if (__atomic_fetch_and(&slot->seats, ~bit, __ATOMIC_ACQ_REL) & bit) return seat;
    }
}

/* Help wherever a seat is free. */
static void fc_help(int own) {
    for (int i = 0; i < FC_JOBS; i++) {
        fc_slot *slot = &fc_team.slot[i];
        if (!__atomic_load_n(&slot->seats, __ATOMIC_RELAXED)) continue;
        /* In before the seat is taken: the caller, who closes first, then sees it. */
        __atomic_fetch_add(&slot->inside, 1, __ATOMIC_SEQ_CST);
        const int seat = fc_take_seat(slot, own);
        if (seat) slot->job(slot->context, seat);
        __atomic_fetch_sub(&slot->inside, 1, __ATOMIC_SEQ_CST);
    }
}

/* Wait until there are more jobs than `seen`. Who has no processor to itself takes none to wait. */
static int fc_wait_for_job(int seen, int own) {
    const int64_t until = fc_nanoseconds() + (own < fc_team.processors ? FC_AWAKE : 0);
    do {
        for (int i = 0; i < 64; i++) {
            const int posted = __atomic_load_n(&fc_team.posted, __ATOMIC_ACQUIRE);
            if (posted != seen) return posted;
            fc_relax();
        }
    } while (fc_nanoseconds() < until);
    pthread_mutex_lock(&fc_team.lock);
    __atomic_fetch_add(&fc_team.asleep, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&fc_team.posted, __ATOMIC_SEQ_CST) == seen)
        pthread_cond_wait(&fc_team.wake, &fc_team.lock);
    __atomic_fetch_sub(&fc_team.asleep, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&fc_team.lock);
    return __atomic_load_n(&fc_team.posted, __ATOMIC_ACQUIRE);
}

static void *fc_helper(void *number) {
    int seen = 0;
    for (;;) {
        seen = fc_wait_for_job(seen, (int)(intptr_t)number);
        fc_help((int)(intptr_t)number);
    }
    return NULL;
}

/* Have so many helpers, if the system allows; signals are for the threads that Python knows. */
static void fc_hire(int count) {
    sigset_t all, before;
    pthread_mutex_lock(&fc_team.lock);
    fc_team.processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (fc_team.helpers < count) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, fc_helper, (void *)(intptr_t)(fc_team.helpers + 1))) break;
        pthread_detach(thread);
        __atomic_fetch_add(&fc_team.helpers, 1, __ATOMIC_RELEASE);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_unlock(&fc_team.lock);
}

static fc_slot *fc_free_slot(void) {
    for (int i = 0; i < FC_JOBS; i++) {
        int no = 0;
        if (__atomic_compare_exchange_n(&fc_team.slot[i].taken, &no, 1, 0, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return &fc_team.slot[i];
    }
    return NULL;
}

static void fc_wait_for_leaving(const fc_slot *slot) {
    const int64_t until = fc_nanoseconds() + FC_PATIENCE;
    while (__atomic_load_n(&slot->inside, __ATOMIC_SEQ_CST)) {
        if (fc_nanoseconds() < until) fc_relax();
        else sched_yield();
    }
}

/* Let up to `count` threads, the caller in seat 0, work on a job; back when all have left it. */
static void fc_team_run(fc_job job, void *context, int count) {
    const int helpers = count - 1 < FC_SEATS ? count - 1 : FC_SEATS;
    fc_slot *slot = helpers > 0 ? fc_free_slot() : NULL;
    if (!slot) {
        job(context, 0);
        return;
    }
    if (__atomic_load_n(&fc_team.helpers, __ATOMIC_ACQUIRE) < helpers) fc_hire(helpers);
    slot->job = job;
    slot->context = context;
    __atomic_store_n(&slot->seats, ~UINT64_C(0) >> (64 - helpers), __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&fc_team.posted, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&fc_team.asleep, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&fc_team.lock);
        pthread_cond_broadcast(&fc_team.wake);
        pthread_mutex_unlock(&fc_team.lock);
    }
    job(context, 0);
    __atomic_store_n(&slot->seats, 0, __ATOMIC_SEQ_CST);
    fc_wait_for_leaving(slot);
    __atomic_store_n(&slot->taken, 0, __ATOMIC_RELEASE);
}
#endif
#endif
