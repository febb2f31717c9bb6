/* What kernels are translated to (translate.py): registers are the 64 bits of their content, whatever its type. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint32_t tid[3], ntid[3], ctaid[3], nctaid[3], lane;
    char *shared;
    void **parameters;
} Thread;

/* What a thread cannot do alone; "at" numbers the places in a kernel where it is called. */
typedef struct {
    void (*block)(Thread *, int at);
    void (*warp)(Thread *, uint32_t mask, int at);
    uint32_t (*shuffle)(Thread *, uint32_t value, uint32_t lane, uint32_t mask, int at);
    void (*global)(Thread *, uint64_t address, int bytes, int writes);
    void (*shared)(Thread *, uint64_t address, int bytes);
    void (*arrive)(Thread *, int at); /* at the barrier of the cluster, and wait for the others there */
    void (*wait)(Thread *, int at);
    uint64_t (*mapped)(Thread *, uint64_t address, uint32_t rank); /* the same place in another block's shared memory */
    void (*in_cluster)(Thread *, uint64_t address, int bytes);
} Gpu;

typedef struct {
    void (*run)(Thread *, const Gpu *);
    uint32_t shared_bytes, most_threads, cluster;
} Kernel;

static inline float as_f32(uint64_t bits) { uint32_t low = (uint32_t)bits; float x; memcpy(&x, &low, 4); return x; }
static inline double as_f64(uint64_t bits) { double x; memcpy(&x, &bits, 8); return x; }
static inline uint64_t of_f32(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }
static inline uint64_t of_f64(double x) { uint64_t bits; memcpy(&bits, &x, 8); return bits; }

/* ".ftz": a subnormal number counts as a zero of its sign. */
static inline float ftz(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x; }

/* The larger, of one number and NaN the number; zeros by their signs. */
static inline double larger(double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? NAN : isnan(a) ? b : a;
    return a == b ? (signbit(a) ? b : a) : a > b ? a : b;
}
static inline double smaller(double a, double b) { return -larger(-a, -b); }

/* Estimates: as exact as they can be or, where ERRORS is 1, with the error that is allowed: 2 units in the last place,
   1 for a reciprocal, up or down by what the number's bits are. Powers of 2 are exact: NVIDIA's tanh of float64 is made
   of them. Of float64 20 bits are right. */
static inline float off(float y, float x, int units) {
    float to = (uint32_t)of_f32(x) * 2654435761u >> 31 ? INFINITY : 0;
    if (ERRORS && x && isfinite(x) && isfinite(y)) while (units--) y = nextafterf(y, to);
    return ftz(y);
}
static inline float ex2(float x) { x = ftz(x); return off((float)exp2(x), x, x == rintf(x) ? 0 : 2); }
static inline float lg2(float x) { x = ftz(x); return off((float)log2(x), x, 2); }
static inline float rcp32(float x) { x = ftz(x); return off((float)(1 / (double)x), x, 1); }
static inline double rcp64(double x) {
    double high = as_f64(of_f64(x) & 0xffffffff00000000u);
    if (fpclassify(high) == FP_SUBNORMAL) high = copysign(0, high);
    double y = 1 / high;
    if (fpclassify(y) == FP_SUBNORMAL) y = copysign(0, y);
    return isnan(y) ? y : as_f64(of_f64(y) & 0xffffffff00000000u);
}

/* Half types: nearest, ties to even. */
static inline float from_f16(uint32_t h) {
    uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
    float x = exponent == 31 ? (mantissa ? NAN : INFINITY)
            : exponent ? ldexpf((float)(1024 + mantissa), (int)exponent - 25) : ldexpf((float)mantissa, -24);
    return h & 0x8000 ? -x : x;
}
static inline uint32_t to_f16(float x) {
    uint32_t sign = signbit(x) ? 0x8000 : 0;
    double a = fabs((double)x);
    if (isnan(x)) return 0x7fff;
    if (a >= 65520) return sign | 0x7c00;
    if (a < 0x1p-14) return sign | (uint32_t)rint(ldexp(a, 24));
    int exponent;
    frexp(a, &exponent);
    return sign | (((uint32_t)(exponent + 13) << 10) + (uint32_t)rint(ldexp(a, 11 - exponent)));
}
static inline float from_bf16(uint32_t h) { return as_f32((uint64_t)(h & 0xffff) << 16); }
static inline uint32_t to_bf16(float x) {
    uint32_t bits = (uint32_t)of_f32(x);
    if (isnan(x)) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline uint64_t larger_f16x2(uint64_t a, uint64_t b) {
    uint32_t low = to_f16((float)larger(from_f16(a & 0xffff), from_f16(b & 0xffff)));
    return (uint32_t)(low | to_f16((float)larger(from_f16(a >> 16 & 0xffff), from_f16(b >> 16 & 0xffff))) << 16);
}
static inline uint64_t larger_bf16x2(uint64_t a, uint64_t b) {
    uint32_t low = to_bf16((float)larger(from_bf16(a), from_bf16(b)));
    return (uint32_t)(low | to_bf16((float)larger(from_bf16(a >> 16), from_bf16(b >> 16))) << 16);
}

/* The end of the range for what is beyond it, 0 for NaN. */
static inline int64_t to_s64(double x) {
    return isnan(x) ? 0 : x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}
static inline int32_t to_s32(double x) {
    return isnan(x) ? 0 : x >= 0x1p31 ? INT32_MAX : x <= -0x1p31 ? INT32_MIN : (int32_t)x;
}

/* A shift by more than the bits there are leaves none, or copies of the sign. */
static inline uint64_t left(uint64_t x, uint32_t by, int bits) { return by >= (uint32_t)bits ? 0 : x << by; }
static inline uint64_t right(uint64_t x, uint32_t by, int bits) { return by >= (uint32_t)bits ? 0 : x >> by; }
static inline int64_t right_signed(int64_t x, uint32_t by, int bits) { return x >> (by >= (uint32_t)bits ? bits - 1 : by); }

static inline uint32_t bytes_of(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t chosen = selector >> 4 * i & 15, byte = (uint32_t)(both >> 8 * (chosen & 7)) & 255;
        if (chosen & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}
static inline uint64_t inserted(uint64_t a, uint64_t b, uint32_t first, uint32_t n) {
    uint64_t mask = left(n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1, first & 255, 64);
    return (b & ~mask) | (left(a, first & 255, 64) & mask);
}
static inline uint32_t bits_of(uint32_t a, uint32_t first, uint32_t n) {
    return n == 0 ? 0 : (uint32_t)(right(a, first & 255, 32) & (left(1, n & 255, 32) - 1));
}
