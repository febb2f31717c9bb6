/* Runs the blocks of a kernel, each thread as a fiber, in an order that is another in each turn.

   The blocks of a cluster run together. A thread runs until it waits. Lanes that exchange must be at one place, and all
   that are named: what a GPU leaves undefined is an error here, and so are accesses outside of what was allocated, or
   not aligned. */
#define _GNU_SOURCE
#include "gpu.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { CLUSTER = 8, MOST = 4096, STACK = 1 << 18 };
enum { READY, AT_BLOCK, AT_WARP, AT_CLUSTER, ENDED };

static ucontext_t scheduler, fibers[MOST];
static Thread threads[MOST];
static int states[MOST], places[MOST], count, per_block, running;
static int arrived[MOST], waited[MOST], arrivals[MOST]; /* how often, at the barrier of the cluster, and where */
static uint32_t masks[MOST], words[MOST];
static char *stacks, *shared_of[CLUSTER];
static uint32_t shared_bytes;
static const Kernel *kernel;
static int failed; /* an error of the driver, 0 for none */
static uint32_t seed = 1;

static uint32_t chance(void) { seed ^= seed << 13; seed ^= seed >> 17; seed ^= seed << 5; return seed; }

static void fail(int error, const char *text, ...) {
    va_list arguments;
    va_start(arguments, text);
    fprintf(stderr, "emulated GPU: thread %d of block %u: ", running % per_block, threads[running].ctaid[0]);
    vfprintf(stderr, text, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    failed = error;
}

static void wait_at(Thread *t, int state, uint32_t mask, int at) {
    int i = (int)(t - threads);
    states[i] = state, masks[i] = mask, places[i] = at;
    swapcontext(&fibers[i], &scheduler);
}

static void at_block(Thread *t, int at) { wait_at(t, AT_BLOCK, 0, at); }
static void at_warp(Thread *t, uint32_t mask, int at) { wait_at(t, AT_WARP, mask, at); }

static uint32_t shuffled(Thread *t, uint32_t value, uint32_t lane, uint32_t mask, int at) {
    int first = (int)(t - threads) / 32 * 32;
    words[t - threads] = value;
    wait_at(t, AT_WARP, mask, 2 * at);
    uint32_t found = words[first + lane];
    wait_at(t, AT_WARP, mask, 2 * at + 1); /* before the words are written to again */
    return found;
}

/* Does not return where it fails. */
static void stopped(Thread *t) { for (;;) wait_at(t, ENDED, 0, 0); }

static void in_shared(Thread *t, uint64_t address, int bytes) {
    uint64_t offset = address - (uint64_t)t->shared;
    if (offset > shared_bytes || offset + bytes > shared_bytes || address % bytes) {
        fail(700, "%d bytes at %ld of %u of shared memory", bytes, (long)offset, shared_bytes);
        stopped(t);
    }
}

static int allocated(uint64_t address, int bytes);
static void in_global(Thread *t, uint64_t address, int bytes, int writes) {
    if (address % bytes || !allocated(address, bytes)) {
        const char *what = writes ? "written" : "read";
        fail(address % bytes ? 716 : 700, "%d bytes at %lx are %s, which %s", bytes, (long)address, what,
             address % bytes ? "is not aligned" : "were not allocated");
        stopped(t);
    }
}

static void arrive(Thread *t, int at) {
    int i = (int)(t - threads);
    if (arrived[i] == waited[i]) arrived[i]++, arrivals[i] = at;
    else fail(719, "arrives at the cluster's barrier again"), stopped(t);
}

static void wait_for_cluster(Thread *t, int at) {
    int i = (int)(t - threads);
    if (arrived[i] != ++waited[i]) fail(719, "waits for the cluster, and has not arrived"), stopped(t);
    wait_at(t, AT_CLUSTER, 0, at);
}

static uint64_t mapped(Thread *t, uint64_t address, uint32_t rank) {
    in_shared(t, address, 1);
    if (rank >= (uint32_t)(count / per_block)) fail(700, "block %u of a cluster of %d", rank, count / per_block), stopped(t);
    return (uint64_t)shared_of[rank] + address - (uint64_t)t->shared;
}

static void in_cluster(Thread *t, uint64_t address, int bytes) {
    for (int rank = 0; rank < count / per_block; rank++) {
        uint64_t offset = address - (uint64_t)shared_of[rank];
        if (offset >= shared_bytes) continue;
        int ended = 0;
        for (int i = rank * per_block; i < (rank + 1) * per_block; i++) ended += states[i] == ENDED;
        if (offset + bytes <= shared_bytes && address % bytes == 0 && ended < per_block) return;
        if (ended == per_block) fail(719, "reads the shared memory of block %d of its cluster, which has ended", rank);
    }
    if (!failed) fail(700, "%d bytes outside of the cluster's shared memory", bytes);
    stopped(t);
}

static const Gpu gpu = {at_block, at_warp, shuffled, in_global, in_shared, arrive, wait_for_cluster, mapped, in_cluster};

static void begin(int i) {
    kernel->run(&threads[i], &gpu);
    states[i] = ENDED;
    swapcontext(&fibers[i], &scheduler);
}

/* Lets go on who has waited for each other; returns whether anyone has. */
static int released(void) {
    int any = 0;
    for (int first = 0; first < count; first += 32) {
        int lanes = count - first < 32 ? count - first : 32, ready = 1, waiting = -1;
        for (int i = first; i < first + lanes; i++) {
            if (states[i] == AT_WARP && waiting < 0) waiting = i;
            if (states[i] == READY) ready = 0;
        }
        if (waiting < 0 || !ready) continue;
        for (int i = first; i < first + lanes; i++) {
            if (!(masks[waiting] >> (i - first) & 1)) continue;
            if (states[i] != AT_WARP || places[i] != places[waiting] || masks[i] != masks[waiting]) {
                running = i;
                fail(719, "is not where lane %d waits for it (place %d)", waiting - first, places[waiting]);
                return 0;
            }
        }
        if (lanes < 32 && masks[waiting] >> lanes) {
            running = waiting;
            fail(719, "waits for lanes that there are not: %x", masks[waiting]);
            return 0;
        }
        for (int i = first; i < first + lanes; i++)
            if (masks[waiting] >> (i - first) & 1) states[i] = READY, any = 1;
    }
    for (int first = 0; first < count; first += per_block) {
        int alive = 0, at_barrier = 0;
        for (int i = first; i < first + per_block; i++) alive += states[i] != ENDED, at_barrier += states[i] == AT_BLOCK;
        if (!alive || at_barrier < alive) continue;
        if (alive != per_block) {
            running = first;
            fail(719, "%d of %d threads have ended before a barrier of the block", per_block - alive, per_block);
            return 0;
        }
        for (int i = first; i < first + per_block; i++) states[i] = READY;
        any = 1;
    }
    if (any) return 1; /* a block goes on as far as it can before another one leaves the cluster's barrier */
    int least = 0x7fffffff; /* who has ended counts as arrived */
    for (int i = 0; i < count; i++) if (states[i] != ENDED && arrived[i] < least) least = arrived[i];
    for (int n = 0, next = (int)(chance() % CLUSTER); n < CLUSTER && !any; n++) {
        int first = (next + n) % CLUSTER * per_block;
        for (int i = first; i < first + per_block && i < count; i++) {
            int lane_0 = i / 32 * 32;
            if (states[i] != AT_CLUSTER || waited[i] > least) continue;
            if (places[i] != places[lane_0] || arrivals[i] != arrivals[lane_0]) {
                running = i;
                fail(719, "is not at the cluster's barrier where lane 0 is");
                return 0;
            }
            states[i] = READY, any = 1;
        }
    }
    return any;
}

static void run_cluster(void) {
    for (int rank = 0; rank < count / per_block; rank++) memset(shared_of[rank], 255, shared_bytes);
    memset(arrived, 0, sizeof arrived), memset(waited, 0, sizeof waited);
    for (int i = 0; i < count; i++) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = stacks + (size_t)i * STACK;
        fibers[i].uc_stack.ss_size = STACK;
        makecontext(&fibers[i], (void (*)(void))begin, 1, i);
        states[i] = READY;
    }
    do {
        uint32_t from = chance() % count, step = chance() & 1 ? 1 : count - 1;
        for (int n = 0; n < count && !failed; n++, from = (from + step) % count)
            if (states[from] == READY) running = from, swapcontext(&scheduler, &fibers[from]);
    } while (!failed && released());
    for (int i = 0; i < count && !failed; i++)
        if (states[i] != ENDED) running = i, fail(719, "waits for ever");
}

static uint32_t common_factor(uint32_t a, uint32_t b) { return b ? common_factor(b, a % b) : a; }

static int run_grid(const Kernel *given, const uint32_t grid[3], const uint32_t block[3], void **parameters) {
    uint32_t blocks = given->cluster, clusters = grid[0] / blocks;
    kernel = given, per_block = (int)(block[0] * block[1] * block[2]), count = per_block * (int)blocks;
    if (!per_block || per_block > (int)kernel->most_threads || count > MOST || blocks > CLUSTER) return 1;
    if (!clusters || grid[0] % blocks || grid[1] != 1 || grid[2] != 1 || (blocks > 1 && per_block % 32)) return 1;
    if (!stacks) stacks = mmap(0, (size_t)MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared_bytes = kernel->shared_bytes;
    for (uint32_t rank = 0; rank < blocks; rank++)
        shared_of[rank] = aligned_alloc(256, shared_bytes + 256 - shared_bytes % 256);
    uint64_t number = chance() % clusters, step = chance() % clusters + 1;
    while (common_factor(step, clusters) != 1) step--; /* so that every cluster has its turn */
    for (uint32_t n = 0; n < clusters && !failed; n++, number = (number + step) % clusters) {
        for (int i = 0; i < count; i++) {
            uint32_t rank = i / per_block, in_block = i % per_block;
            uint32_t x = in_block % block[0], y = in_block / block[0] % block[1], z = in_block / block[0] / block[1];
            threads[i] = (Thread){{x, y, z}, {block[0], block[1], block[2]}, {(uint32_t)number * blocks + rank, 0, 0},
                                  {grid[0], 1, 1}, in_block % 32, shared_of[rank], parameters};
        }
        run_cluster();
    }
    for (uint32_t rank = 0; rank < blocks; rank++) free(shared_of[rank]);
    return failed;
}
