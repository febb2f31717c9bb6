/* A libcuda for a GPU that is not there: memory is that of the host, and kernels run as C (translate.py, blocks.h).

   It has what numba-cuda, cuda-core and CuPy ask for when arrays are copied and kernels started. "Machine code" is the
   path of a library with a translated kernel. There are two GPUs. Of the environment, EMULATED_TRACE=1 says what is asked
   for, EMULATED_CAPABILITY=75 is another generation than 9.0, EMULATED_SEED=1 is another order of threads and blocks; with
   EMULATED_ERRORS=1 estimates are as wrong as they may be. */
#include "blocks.h"
#include <dlfcn.h>

typedef void *Handle;
enum { GPUS = 2 };
static char contexts[GPUS];
static Handle now, under[64];
static int depth;
static int traced(void) { static int is = -1; if (is < 0) is = getenv("EMULATED_TRACE") != 0; return is; }
#define TRACE(...) do { if (traced()) fprintf(stderr, "cu: " __VA_ARGS__), fputc('\n', stderr); } while (0)

/* -- memory: between bytes that nobody may touch ----------------------------------------------------------------------- */

typedef struct { char *at; size_t bytes; int gpu; } Memory;
static Memory memory[1 << 16];
static int pieces;
enum { AROUND = 512 };

static Memory *memory_at(uint64_t address) {
    static int last;
    if (last < pieces && address - (uint64_t)memory[last].at < memory[last].bytes) return &memory[last];
    for (int i = pieces; i--;)
        if (address - (uint64_t)memory[i].at < memory[i].bytes) return last = i, &memory[i];
    return 0;
}
static int allocated(uint64_t address, int bytes) {
    Memory *m = memory_at(address);
    return m && address + bytes <= (uint64_t)m->at + m->bytes;
}
int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    char *at = aligned_alloc(AROUND, 2 * AROUND + bytes + AROUND - bytes % AROUND);
    if (!at || pieces == sizeof memory / sizeof *memory) return 2;
    memset(at, 255, 2 * AROUND + bytes);
    memory[pieces++] = (Memory){at + AROUND, bytes ? bytes : 1, now ? (int)((char *)now - contexts) : 0};
    *address = (uint64_t)at + AROUND;
    TRACE("allocate %zu", bytes);
    return failed;
}
int cuMemFree_v2(uint64_t address) {
    for (int i = 0; i < pieces; i++)
        if (memory[i].at == (char *)address) {
            free(memory[i].at - AROUND);
            memory[i] = memory[--pieces];
            return 0;
        }
    return 1;
}
static int copied(void *to, const void *from, size_t bytes) { memmove(to, from, bytes); return failed; }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t n) { return copied((void *)to, from, n); }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t n) { return copied(to, (void *)from, n); }
int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t n) { return copied((void *)to, (void *)from, n); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t n, Handle s) { return copied((void *)to, from, n); }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, Handle s) { return copied(to, (void *)from, n); }
int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t n) { memset((void *)to, value, n); return 0; }
int cuMemGetInfo_v2(size_t *unused, size_t *all) { *unused = *all = (size_t)1 << 37; return 0; }
int cuMemGetAddressRange_v2(uint64_t *first, size_t *bytes, uint64_t address) {
    Memory *m = memory_at(address);
    if (m) *first = (uint64_t)m->at, *bytes = m->bytes;
    return m ? 0 : 1;
}
int cuPointerGetAttribute(void *value, int attribute, uint64_t address) {
    Memory *m = memory_at(address);
    if (!m) return 1;
    switch (attribute) {
    case 1: *(Handle *)value = &contexts[m->gpu]; return 0;
    case 2: *(int *)value = 2; return 0;                  /* the GPU's memory */
    case 3: *(uint64_t *)value = address; return 0;
    case 8: *(int *)value = 0; return 0;                  /* not managed */
    case 9: *(int *)value = m->gpu; return 0;
    }
    return 801;
}
int cuPointerGetAttributes(unsigned n, int *attributes, void **values, uint64_t address) {
    for (unsigned i = 0; i < n; i++) {
        int error = cuPointerGetAttribute(values[i], attributes[i], address);
        if (error) return error;
    }
    return 0;
}

/* -- GPUs and contexts -------------------------------------------------------------------------------------------------- */

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *n) { *n = GPUS; return 0; }
int cuDeviceGet(int *gpu, int i) { *gpu = i; return i < GPUS ? 0 : 101; }
int cuDeviceGetName(char *name, int n, int gpu) { snprintf(name, n, "emulated GPU %d", gpu); return 0; }
int cuDeviceGetUuid_v2(char *uuid, int gpu) { memset(uuid, gpu + 1, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int gpu) { *bytes = (size_t)1 << 37; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int gpu) {
    const char *capability = getenv("EMULATED_CAPABILITY");
    int number = capability ? atoi(capability) : 90;
    *value = attribute == 75 ? number / 10 : attribute == 76 ? number % 10 : attribute == 16 ? 132
           : attribute == 10 ? 32 : attribute == 1 ? 1024 : 1;
    return 0;
}
int cuDevicePrimaryCtxRetain(Handle *context, int gpu) { *context = &contexts[gpu]; return 0; }
int cuDevicePrimaryCtxRelease_v2(int gpu) { return 0; }
int cuDevicePrimaryCtxGetState(int gpu, unsigned *flags, int *active) { *flags = 0, *active = 1; return 0; }
int cuCtxGetCurrent(Handle *context) { *context = now; return 0; }
int cuCtxSetCurrent(Handle context) { now = context; return 0; }
int cuCtxPushCurrent_v2(Handle context) { under[depth++] = now, now = context; return 0; }
int cuCtxPopCurrent_v2(Handle *context) { if (context) *context = now; now = depth ? under[--depth] : 0; return 0; }
int cuCtxGetDevice(int *gpu) { if (!now) return 201; *gpu = (int)((char *)now - contexts); return 0; }
int cuCtxSynchronize(void) { return failed; }

/* -- streams and events: what is started has ended when the call returns ------------------------------------------------ */

int cuStreamCreate(Handle *stream, unsigned flags) { *stream = malloc(1); return 0; }
int cuStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) { *stream = malloc(1); return 0; }
int cuStreamDestroy_v2(Handle stream) { free(stream); return 0; }
int cuStreamSynchronize(Handle stream) { TRACE("wait for stream %p", stream); return failed; }
int cuStreamQuery(Handle stream) { return failed; }
int cuStreamWaitEvent(Handle stream, Handle event, unsigned flags) {
    TRACE("stream %p waits for event %p", stream, event);
    return 0;
}
int cuEventCreate(Handle *event, unsigned flags) { *event = malloc(1); return 0; }
int cuEventRecord(Handle event, Handle stream) { TRACE("event %p on stream %p", event, stream); return 0; }
int cuEventSynchronize(Handle event) { return failed; }
int cuEventQuery(Handle event) { return failed; }
int cuEventElapsedTime_v2(float *ms, Handle from, Handle to) { *ms = 0; return 0; }
int cuEventDestroy_v2(Handle event) { free(event); return 0; }

/* -- kernels ------------------------------------------------------------------------------------------------------------ */

int cuLibraryLoadData(Handle *library, const void *path, int *a, void **b, unsigned c, int *d, void **e, unsigned f) {
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*library) fprintf(stderr, "emulated GPU: %s\n", dlerror());
    return *library ? 0 : 200;
}
int cuLibraryUnload(Handle library) { return 0; }
int cuLibraryGetKernel(Handle *found, Handle library, const char *name) {
    *found = dlsym(library, "kernel");
    return *found ? 0 : 500;
}
/* What a CUlaunchConfig is. */
typedef struct { uint32_t grid[3], block[3], shared; Handle stream, attributes; uint32_t count; } Config;

int cuOccupancyMaxActiveClusters(int *clusters, const Kernel *function, const Config *config) {
    if (!now) return 201;
    if (config->grid[0] % function->cluster || config->count || config->shared || config->stream) return 1;
    if (config->block[0] * config->block[1] * config->block[2] > function->most_threads) return 1;
    *clusters = 16;
    return 0;
}
int cuLaunchKernel(Handle function, uint32_t x, uint32_t y, uint32_t z, uint32_t threads_x, uint32_t threads_y,
                   uint32_t threads_z, uint32_t shared, Handle stream, void **parameters, void **extra) {
    TRACE("start %u blocks of %u by %u on stream %p of GPU %d", x, threads_x, threads_y, stream,
          now ? (int)((char *)now - contexts) : -1);
    if (failed || !now) return failed ? failed : 201;
    static const char *order;
    if (!order && (order = getenv("EMULATED_SEED"))) seed = (uint32_t)atoi(order) * 2654435769u | 1;
    return run_grid(function, (uint32_t[]){x, y, z}, (uint32_t[]){threads_x, threads_y, threads_z}, parameters);
}
int cuGetErrorName(int error, const char **name) {
    *name = error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : error == 716 ? "CUDA_ERROR_MISALIGNED_ADDRESS"
          : error == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_OF_THE_EMULATED_GPU";
    return 0;
}
int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

/* -- by their names ----------------------------------------------------------------------------------------------------- */

static int missing(void) {
    fputs("emulated GPU: a function of the driver was called that there is not\n", stderr);
    return 801;
}
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    static Handle self;
    char versioned[128];
    if (!self) {
        Dl_info info;
        dladdr((void *)cuGetProcAddress_v2, &info);
        self = dlopen(info.dli_fname, RTLD_NOW);
    }
    snprintf(versioned, sizeof versioned, "%s_v2", name);
    *function = dlsym(self, versioned);
    if (!*function) *function = dlsym(self, name);
    if (!*function) *function = (void *)missing;
    if (status) *status = 0;
    return 0;
}
int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, 0);
}
